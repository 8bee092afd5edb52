"""Directories and files that belong to one user alone: made so, and checked before their use."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOOK_AGAIN_S = 0.002
"""For a lock that another process has for a moment."""


class UnsafeDirectory(Exception):
    """The directory can't be used; the message says why and what to do."""


def check_directory(path: Path) -> None:
    """Raise `UnsafeDirectory` if somebody else could be behind it, or OSError."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectory(f"{path} is no directory")
    _check_owner(path, found, 0o700)


def check_file(path: Path) -> bool:
    """Whether there is a file. Raises `UnsafeDirectory` as for a directory, or OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeDirectory(f"{path} is no regular file")
    _check_owner(path, found, 0o600)
    return True


def _check_owner(path: Path, found: os.stat_result, mode: int) -> None:
    if not hasattr(os, "geteuid"):
        return  # Windows: a temporary directory is its user's own
    if found.st_uid != os.geteuid():
        raise UnsafeDirectory(f"{path} belongs to the user {found.st_uid}, not to {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsafeDirectory(
            f"{path} has the mode {stat.S_IMODE(found.st_mode):04o}, which lets others in; it must "
            f"be {mode:04o}"
        )


def make_directory(path: Path) -> None:
    """Make it if it is not there. Raises OSError."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    path.chmod(0o700)  # an umask may keep the own user out


def write_new(path: Path, data: bytes) -> None:
    """Make a file with this content. Raises OSError if it exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    path.chmod(0o600)


def open_locked(directory: Path, until_s: float) -> int | None:
    """A descriptor that has the directory locked; None where there are no such locks.

    Raises TimeoutError at `until_s` of the monotonic clock, or OSError.
    """
    if fcntl is None:
        return None
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > until_s:
                raise TimeoutError(f"another process has {directory} locked")
            time.sleep(_LOOK_AGAIN_S)
        # Raises FileNotFoundError, after which it is made anew.
        if os.stat(directory).st_ino != os.fstat(descriptor).st_ino:
            raise FileNotFoundError(f"{directory} was replaced")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
