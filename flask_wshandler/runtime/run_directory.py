"""The directory in which the processes of an app find one another.

Where it is (`run_place`) depends on the user and the environment of the process that asks, so it is
found out at the first use, and again when the process has become another user's.

Invariant: it and the one above it are real directories (no symbolic links) that belong to this
user and that nobody else may enter; otherwise they are not used. Every member is a Unix socket in
it; its name ends with a random number and is never used again. What is no member lies beside it, in
files that begin with its name. A directory that holds nothing may be removed at any moment, by any
process of its user.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from . import process_sockets
from .private_paths import (
    UnsafeDirectory,
    check_directory,
    check_file,
    make_directory,
    open_locked,
    write_new,
)
from .run_place import UNFINISHED, OtherPlace, other_places, own_user_id, top_for

_UNFINISHED_FOR_S = 60.0

_SIGN_OF_USE_S = 3600.0

_TICK_NS = 50_000_000
"""More than a clock tick of any kernel (10 ms at the most), by which times of files are rounded."""

_ATTEMPTS = 100
"""To make a directory that others remove because they find it empty."""

_MOST_CLEARED = 1000

Made = TypeVar("Made")


class RunDirectory:
    """The run directory of one app, for the user of this process."""

    def __init__(self, app_name: str, kind: int = socket.SOCK_STREAM) -> None:
        """Touches nothing, and looks at nothing yet. `kind` is that of its members' sockets."""
        self._kind = kind
        # The name itself can be long, or "..".
        #: Its own, in the directory for all apps.
        self.name = hashlib.sha256(app_name.encode(errors="surrogatepass")).hexdigest()[:16]
        self._found: tuple[int, Path] | None = None

    @property
    def path(self) -> Path:
        """Where it is, or would be.

        Raises `UnsafeDirectory` if there is no place for it, and OSError if that can't be seen at
        this moment.
        """
        user_id = own_user_id()
        found = self._found
        if found is None or found[0] != user_id:
            found = self._found = user_id, top_for(user_id) / self.name
        return found[1]

    def version(self) -> tuple[int, int] | None:
        """Something that changes when members come or go, or the directory; None without one.

        The time is as coarse as the kernel's clock tick: see `is_settled`. Raises OSError where it
        can't be known.
        """
        try:
            found = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_ino, found.st_mtime_ns

    @staticmethod
    def is_settled(version: tuple[int, int] | None) -> bool:
        """Whether a change from now on would change the version."""
        return version is None or time.time_ns() - version[1] > _TICK_NS

    def make(self) -> None:
        """Make the directories. Raises `UnsafeDirectory` or OSError."""
        path = self.path
        try:
            for each in (path.parent, path):
                make_directory(each)
            self.check()
        except FileNotFoundError:
            # What it was in is gone, as XDG_RUNTIME_DIR when its user has logged out.
            self._found = None
            raise

    def check(self) -> None:
        """Raise `UnsafeDirectory` if somebody else could be behind one of the directories."""
        for path in (self.path.parent, self.path):
            check_directory(path)

    def members(self) -> list[str]:
        """The names of the sockets, also of those whose processes are gone."""
        names = []
        for name in os.listdir(self.path):
            if name.startswith(UNFINISHED):
                self._remove_if_left_over(name)
            else:
                names.append(name)
        return names

    @staticmethod
    def new_name() -> str:
        """A name for a socket of this process."""
        return process_sockets.new_name()

    def listen(self, name: str) -> socket.socket:
        """Become a member: make the directories, and a socket that listens under `name`.

        Raises `UnsafeDirectory` or OSError.
        """
        return self._with_directories(lambda: self._listen(name))

    def _with_directories(self, use: Callable[[], Made]) -> Made:
        for _ in range(_ATTEMPTS - 1):
            # Not found: somebody has removed a directory between its making and its use.
            with contextlib.suppress(FileNotFoundError):
                self.make()
                return use()
        self.make()
        return use()

    def _listen(self, name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, self._kind)
        unfinished = self.path / (UNFINISHED + name)
        try:
            listener.setblocking(False)
            self.remove(unfinished.name)  # of an attempt that has failed
            # A socket must be found listening: else it would be taken for a dead process's.
            listener.bind(os.fspath(unfinished))
            os.chmod(unfinished, 0o600)  # an umask may keep the own user out
            listener.listen(512)
            os.rename(unfinished, self.path / name)
        except BaseException:
            listener.close()
            self.remove(unfinished.name)
            raise
        return listener

    def has(self, name: str) -> bool:
        """Whether a member's socket is still there for others to find, as far as can be seen."""
        try:
            os.lstat(self.path / name)
        except (FileNotFoundError, NotADirectoryError, UnsafeDirectory):
            return False
        except OSError:
            return True
        return True

    def keep(self, name: str) -> bool:
        """The same, and have the socket look used to what removes old files.

        systemd-tmpfiles spares sockets that somebody listens on, but not where they were renamed,
        nor of containers; XDG_RUNTIME_DIR asks for a sign of use every six hours.
        """
        if not self.has(name):
            return False
        with contextlib.suppress(OSError, UnsafeDirectory):
            path = self.path / name
            if abs(time.time() - os.lstat(path).st_mtime) > _SIGN_OF_USE_S:
                os.utime(path, follow_symlinks=False)
        return True

    def address(self, name: str) -> str:
        """The address of a member's socket."""
        return os.path.join(self.path, name)

    def remove(self, name: str) -> None:
        """A member has gone, or its process has."""
        with contextlib.suppress(OSError, UnsafeDirectory):
            os.unlink(self.path / name)

    def write_beside(self, name: str, data: bytes) -> None:
        """Write a new file for this user alone, beside the directory of members.

        Raises `UnsafeDirectory` or OSError.
        """
        self._with_directories(lambda: write_new(self.path.with_name(name), data))

    def read_beside(self, name: str) -> bytes:
        """The content of such a file. Raises `UnsafeDirectory` or OSError."""
        check_directory(self.path.parent)
        return self.path.with_name(name).read_bytes()

    def path_beside(self, name: str) -> Path:
        """Where such a file is, or would be. Raises `UnsafeDirectory` or OSError."""
        return self.path.with_name(name)

    def check_beside(self, name: str) -> bool:
        """Whether there is such a file.

        Raises `UnsafeDirectory` if it could be somebody else's, or others may read it, or OSError.
        """
        check_directory(self.path.parent)
        return check_file(self.path.with_name(name))

    def make_beside(self, name: str) -> None:
        """Make such a file, for this user alone, with nothing in it. Raises OSError if it exists.

        It is opened and closed, which lets go of the POSIX locks that this process has on it; but
        it is new.
        """
        self.write_beside(name, b"")

    @contextlib.contextmanager
    def locked_beside(self, until_s: float) -> Iterator[None]:
        """Make the directories; no other process is in such a block of this user meanwhile.

        For what takes a moment. Raises TimeoutError at `until_s` of the monotonic clock,
        `UnsafeDirectory` or OSError.
        """
        descriptor = self._with_directories(lambda: open_locked(self.path.parent, until_s))
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def remove_beside(self, name: str) -> None:
        """Remove such a file if it is there."""
        with contextlib.suppress(OSError, UnsafeDirectory):
            self.path.with_name(name).unlink()

    def remove_if_empty(self) -> None:
        """Remove the directories that nobody is in, of this app and of all.

        Whoever is about to come makes them anew.
        """
        with contextlib.suppress(OSError, UnsafeDirectory):
            self.check()
            os.rmdir(self.path)  # fails unless it is empty, in one step
            os.rmdir(self.path.parent)

    def clear_dead(self) -> None:
        """Remove the sockets of members whose processes were killed. Wakes nobody who lives."""
        with contextlib.suppress(OSError, UnsafeDirectory):
            self.check()
            for name in self.members()[:_MOST_CLEARED]:
                if process_sockets.is_dead(name, self.address(name)):
                    self.remove(name)

    def clear_others(self) -> None:
        """Remove what processes of this user's other apps have left that were killed."""
        with contextlib.suppress(OSError, UnsafeDirectory):
            self.check()
            with os.scandir(self.path.parent) as found:
                for entry in itertools.islice(found, _MOST_CLEARED):
                    if entry.name != self.name and entry.is_dir(follow_symlinks=False):
                        with contextlib.suppress(OSError):
                            process_sockets.clear(entry.path)

    def other_places(self) -> list[OtherPlace]:
        """Run directories on this machine that processes of another user, or with another
        XDG_RUNTIME_DIR, may have used."""
        try:
            own = self.path.parent
        except (OSError, UnsafeDirectory):
            own = None
        return other_places(own, self.name)

    def _remove_if_left_over(self, name: str) -> None:
        """Its process was killed within a few microseconds, or is within them."""
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(self.path / name).st_mtime > _UNFINISHED_FOR_S:
                os.unlink(self.path / name)
