"""The directory in which the processes of an app find one another.

It is in the first of these that its user may write to, and whose path is short enough for Unix
sockets: XDG_RUNTIME_DIR, the temporary directory, /dev/shm. Where that is depends on the user and
the environment of the process that asks, so it is found out at the first use, and again when the
process has become another user's.

Invariant: it and the one above it are real directories (no symbolic links) that belong to this
user and that nobody else may enter; otherwise they are not used. Every member is a Unix socket in
it; its name ends with a random number and is never used again. What is no member lies beside it, in
files that begin with its name. A directory that holds nothing may be removed at any moment, by any
process of its user.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_MAX_PATH_BYTES = 103
"""Of a Unix socket's address: 107 on Linux, 103 elsewhere."""

_UNFINISHED = "."
"""Begins the names of sockets that do not listen yet."""

_UNFINISHED_FOR_S = 60.0

_LONGEST_NAME = f"{_UNFINISHED}01234567-{2**22}-01234567"
"""Of a socket: its server, in the figures' directory; the process; a random number."""

_TOP = "flask-wshandler"

_ATTEMPTS = 100
"""To make a directory that others remove because they find it empty."""

_LOOK_AGAIN_S = 0.002
"""For a lock that another process has for a moment."""

_MOST_CLEARED = 1000
_MOST_SOCKETS = 100


Made = TypeVar("Made")


class UnsafeDirectory(Exception):
    """The directory can't be used; the message says why and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class OtherPlace:
    """A run directory that is not the one of this process."""

    #: That of all apps of its user.
    top: Path
    user_id: int
    #: Whether this app has been there; None: this user may not look.
    has_app: bool | None


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
        user_id = _own_user_id()
        found = self._found
        if found is None or found[0] != user_id:
            found = self._found = user_id, _top_for(user_id) / self.name
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
                _make_private(each)
            self.check()
        except FileNotFoundError:
            # What it was in is gone, as XDG_RUNTIME_DIR when its user has logged out.
            self._found = None
            raise

    def check(self) -> None:
        """Raise `UnsafeDirectory` if somebody else could be behind one of the directories."""
        for path in (self.path.parent, self.path):
            _check(path)

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
        return f"{os.getpid()}-{os.urandom(4).hex()}"

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
        unfinished = self.path / (_UNFINISHED + name)
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
        self._with_directories(lambda: _write_new(self.path.with_name(name), data))

    def read_beside(self, name: str) -> bytes:
        """The content of such a file. Raises `UnsafeDirectory` or OSError."""
        _check(self.path.parent)
        return self.path.with_name(name).read_bytes()

    def path_beside(self, name: str) -> Path:
        """Where such a file is, or would be. Raises `UnsafeDirectory` or OSError."""
        return self.path.with_name(name)

    def check_beside(self, name: str) -> bool:
        """Whether there is such a file.

        Raises `UnsafeDirectory` if it could be somebody else's, or others may read it, or OSError.
        """
        _check(self.path.parent)
        return _check_file(self.path.with_name(name))

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
        descriptor = self._with_directories(lambda: _open_locked(self.path.parent, until_s))
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
                match = _OF_A_PROCESS.fullmatch(name)
                if match is not None and _is_dead(int(match[1]), self.address(name)):
                    self.remove(name)

    def clear_others(self) -> None:
        """Remove what processes of this user's other apps have left that were killed."""
        with contextlib.suppress(OSError, UnsafeDirectory):
            self.check()
            with os.scandir(self.path.parent) as found:
                for entry in itertools.islice(found, _MOST_CLEARED):
                    if entry.name != self.name and entry.is_dir(follow_symlinks=False):
                        with contextlib.suppress(OSError):
                            _clear(entry.path)

    def other_places(self) -> list[OtherPlace]:
        """Run directories on this machine that processes of another user, or with another
        XDG_RUNTIME_DIR, may have used."""
        try:
            own = self.path.parent
        except (OSError, UnsafeDirectory):
            own = None
        found = []
        for top in _all_tops():
            with contextlib.suppress(OSError):
                status = os.lstat(top)
                if stat.S_ISDIR(status.st_mode) and top != own:
                    found.append(OtherPlace(top, status.st_uid, _has(top, self.name)))
        return found

    def _remove_if_left_over(self, name: str) -> None:
        """Its process was killed within a few microseconds, or is within them."""
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(self.path / name).st_mtime > _UNFINISHED_FOR_S:
                os.unlink(self.path / name)


_SIGN_OF_USE_S = 3600.0

_TICK_NS = 50_000_000
"""More than a clock tick of any kernel (10 ms at the most), by which times of files are rounded."""


# Where it is.


def _top_for(user_id: int) -> Path:
    """The directory for all apps of this user.

    Raises `UnsafeDirectory`, and OSError where what there is can't be seen at this moment.
    """
    refused = []
    for base, is_runtime in _bases():
        # The name has the user in it where others may have been before: root with the variables
        # of another user must not take that one's place.
        is_usable = _is_usable(base)
        try:
            is_own = is_runtime and _owner_of(base) == user_id
            top = base / (_TOP if is_own else f"{_TOP}-{user_id}")
            is_usable = is_usable or _owner_of(top) == user_id
        except OSError:
            if is_usable:
                raise  # for a moment only, after which another place would not be the others'
            top = base
        size = len(os.fsencode(top / ("0" * 16) / _LONGEST_NAME))
        if not is_usable:
            refused.append(f"{base} (not writable)")
        elif size > _MAX_PATH_BYTES and hasattr(socket, "AF_UNIX"):
            refused.append(
                f"{base} (too long: {size} bytes with a socket's name, {_MAX_PATH_BYTES} are "
                "possible)"
            )
        else:
            return top
    raise UnsafeDirectory(
        f"none of these has room for Unix sockets of the user {user_id}: {', '.join(refused)}; "
        "set XDG_RUNTIME_DIR to a short directory that this user may write to"
    )


def _bases() -> Iterator[tuple[Path, bool]]:
    """Where the directory may be, and whether that is XDG_RUNTIME_DIR; the first that can be.

    Not `tempfile.gettempdir()`, which keeps for ever what was right for the user that has asked
    first, and takes the current directory when there is nothing else.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        yield Path(runtime), True
    chosen = tempfile.tempdir
    places = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    if chosen is not None and not _is_current(os.fsdecode(chosen)):
        places.insert(0, os.fsdecode(chosen))
    # Containers and services with a read-only file system have the last one.
    places += ["/tmp", "/var/tmp", "/usr/tmp", "/dev/shm"]  # checked before use
    for place in dict.fromkeys(places):
        if place and os.path.isabs(place):
            yield Path(place), False


def _is_current(directory: str) -> bool:
    try:
        return os.path.abspath(directory) == os.getcwd()
    except OSError:
        return False


def _is_usable(directory: Path) -> bool:
    as_effective_user = os.access in os.supports_effective_ids
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=as_effective_user)


def _own_user_id() -> int:
    """0 on Windows, which has no numbers for users and says that of every file's owner."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _owner_of(path: Path) -> int | None:
    """Whose it is; None if there is none. Raises OSError where that can't be seen."""
    try:
        return os.lstat(path).st_uid
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check(path: Path) -> None:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectory(f"{path} is no directory")
    if not hasattr(os, "geteuid"):
        return  # Windows: a temporary directory is its user's own
    if found.st_uid != os.geteuid():
        raise UnsafeDirectory(f"{path} belongs to the user {found.st_uid}, not to {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsafeDirectory(
            f"{path} has the mode {stat.S_IMODE(found.st_mode):04o}, which lets others in; it must "
            "be 0700"
        )


def _check_file(path: Path) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeDirectory(f"{path} is no regular file")
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise UnsafeDirectory(f"{path} belongs to the user {found.st_uid}, not to {os.geteuid()}")
    if hasattr(os, "geteuid") and stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsafeDirectory(
            f"{path} has the mode {stat.S_IMODE(found.st_mode):04o}, which lets others in; it must "
            "be 0600"
        )
    return True


def _open_locked(directory: Path, until_s: float) -> int | None:
    """A descriptor that has the directory locked; None where there are no such locks."""
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


def _make_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    path.chmod(0o700)  # an umask may keep the own user out


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    path.chmod(0o600)


# What others have there.

_OF_A_PROCESS = re.compile(r"(\d+)-[0-9a-f]{8}")


def _clear(directory: str) -> None:
    """Remove a directory in which there is nothing but sockets of the dead. Raises OSError."""
    with os.scandir(directory) as found:
        entries = list(itertools.islice(found, _MOST_SOCKETS))
    for entry in entries:
        match = _OF_A_PROCESS.fullmatch(entry.name)
        is_socket = stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
        if match is None or not is_socket or not _is_dead(int(match[1]), entry.path):
            return
    for entry in entries:
        os.unlink(entry.path)
    os.rmdir(directory)


def _is_dead(process_id: int, address: str) -> bool:
    """Whether no process listens there."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        pass
    except (OSError, OverflowError):
        return False
    else:
        return False  # and is not woken by a connection
    # It may be in another container, where it has another number. What listens by another kind of
    # socket says so, and is alive.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _all_tops() -> list[Path]:
    bases = [base for base, _ in _bases()]
    for parent in ("/run", "/run/user", "/var/run"):
        bases += _listed(Path(parent))
    tops = [top for base in bases for top in _listed(base) if top.name.startswith(_TOP)]
    return list({os.path.realpath(top): top for top in tops}.values())


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _has(top: Path, name: str) -> bool | None:
    try:
        os.stat(top / name)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True
