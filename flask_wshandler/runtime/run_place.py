"""Where the run directories of a user's apps are: in which of the system's places.

That is the first of these that the user may write to, and whose path is short enough for Unix
sockets: XDG_RUNTIME_DIR, the temporary directory, /dev/shm.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .private_paths import UnsafeDirectory

UNFINISHED = "."
"""Begins the names of sockets that do not listen yet."""

_MAX_PATH_BYTES = 103
"""Of a Unix socket's address: 107 on Linux, 103 elsewhere."""

_LONGEST_NAME = f"{UNFINISHED}01234567-{2**22}-01234567"
"""Of a socket: its server, in the figures' directory; the process; a random number."""

_TOP = "flask-wshandler"


@dataclasses.dataclass(frozen=True, slots=True)
class OtherPlace:
    """A run directory that is not the one of this process."""

    #: That of all apps of its user.
    top: Path
    user_id: int
    #: Whether this app has been there; None: this user may not look.
    has_app: bool | None


def top_for(user_id: int) -> Path:
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


def own_user_id() -> int:
    """0 on Windows, which has no numbers for users and says that of every file's owner."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _owner_of(path: Path) -> int | None:
    """Whose it is; None if there is none. Raises OSError where that can't be seen."""
    try:
        return os.lstat(path).st_uid
    except (FileNotFoundError, NotADirectoryError):
        return None


def other_places(own: Path | None, name: str) -> list[OtherPlace]:
    """Directories on this machine that processes of another user, or with another
    XDG_RUNTIME_DIR, may have used, but `own`; `name` is the app's in each."""
    found = []
    for top in _all_tops():
        with contextlib.suppress(OSError):
            status = os.lstat(top)
            if stat.S_ISDIR(status.st_mode) and top != own:
                found.append(OtherPlace(top, status.st_uid, _has(top, name)))
    return found


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
