"""The directory in which the processes of an app find one another.

Invariant: it and the one above it are real directories (no symbolic links) that belong to this
user and that nobody else may enter; otherwise they are not used. Every member is a Unix socket in
it; its name ends with a random number and is never used again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
import time
from pathlib import Path

_MAX_PATH_BYTES = 103
"""Of a Unix socket's address: 107 on Linux, 103 elsewhere."""

_UNFINISHED = "."
"""Begins the names of sockets that do not listen yet."""

_UNFINISHED_FOR_S = 60.0


class UnsafeDirectory(Exception):
    """The directory can't be used; the message says why and what to do."""


class RunDirectory:
    """The run directory of one app, for one user."""

    def __init__(self, app_name: str) -> None:
        """Names paths and touches nothing. Raises `UnsafeDirectory` if they are too long."""
        self._top = _top()
        # The name itself can be long, or "..".
        self.path = self._top / hashlib.sha256(app_name.encode()).hexdigest()[:16]
        longest = self.path / f"{_UNFINISHED}{_name_of(2**22)}"
        size = len(os.fsencode(longest))
        if size > _MAX_PATH_BYTES:
            raise UnsafeDirectory(
                f"the path {longest} of a Unix socket has {size} bytes, but {_MAX_PATH_BYTES} are "
                "possible; set XDG_RUNTIME_DIR to a shorter directory"
            )

    def version(self) -> tuple[int, int] | None:
        """Something that changes when members come or go, or the directory; None without one.

        The time is as coarse as the kernel's clock tick: see `is_settled`.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @staticmethod
    def is_settled(version: tuple[int, int] | None) -> bool:
        """Whether a change from now on would change the version."""
        return version is None or time.time_ns() - version[1] > _TICK_NS

    def make(self) -> None:
        """Make the directories. Raises `UnsafeDirectory` or OSError."""
        for path in (self._top, self.path):
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
        self.check()

    def check(self) -> None:
        """Raise `UnsafeDirectory` if somebody else could be behind one of the directories."""
        for path in (self._top, self.path):
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode):
                raise UnsafeDirectory(f"{path} is no directory")
            if found.st_uid != os.geteuid():
                raise UnsafeDirectory(
                    f"{path} belongs to the user {found.st_uid}, not to {os.geteuid()}"
                )
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise UnsafeDirectory(
                    f"{path} has the mode {stat.S_IMODE(found.st_mode):04o}, which lets others "
                    "in; it must be 0700"
                )

    def members(self) -> list[str]:
        """The names of the sockets, also of those whose processes are gone."""
        names = []
        for name in os.listdir(self.path):
            if name.startswith(_UNFINISHED):
                self._remove_if_left_over(name)
            else:
                names.append(name)
        return names

    @staticmethod
    def new_name() -> str:
        """A name for a socket of this process."""
        return _name_of(os.getpid())

    def listen(self, name: str) -> socket.socket:
        """Become a member: a socket that listens under `name`. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            # Who finds a socket must find it listening: else he would take it for a dead one's.
            unfinished = self.path / (_UNFINISHED + name)
            listener.bind(os.fspath(unfinished))
            listener.listen(512)
            os.rename(unfinished, self.path / name)
        except BaseException:
            listener.close()
            raise
        return listener

    def has(self, name: str) -> bool:
        """Whether a member's socket is still there for others to find."""
        return os.path.lexists(self.path / name)

    def address(self, name: str) -> str:
        """The address of a member's socket."""
        return os.path.join(self.path, name)

    def remove(self, name: str) -> None:
        """A member has gone, or its process has."""
        with contextlib.suppress(OSError):
            os.unlink(self.path / name)

    def _remove_if_left_over(self, name: str) -> None:
        """Its process was killed within a few microseconds, or is within them."""
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(self.path / name).st_mtime > _UNFINISHED_FOR_S:
                os.unlink(self.path / name)


_TICK_NS = 50_000_000
"""More than a clock tick of any kernel (10 ms at the most), by which times of files are rounded."""


def _top() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / "flask-wshandler"
    return Path(tempfile.gettempdir()) / f"flask-wshandler-{os.geteuid()}"


def _name_of(pid: int) -> str:
    return f"{pid}-{os.urandom(4).hex()}"
