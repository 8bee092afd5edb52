"""Unix sockets that are named by their processes, and which of them are those of the dead.

A name begins with the process's number, and ends with a random one.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import stat

_MOST_SOCKETS = 100

_OF_A_PROCESS = re.compile(r"(\d+)-[0-9a-f]{8}")


def new_name() -> str:
    """A name for a socket of this process."""
    return f"{os.getpid()}-{os.urandom(4).hex()}"


def is_dead(name: str, address: str) -> bool:
    """Whether a socket has such a name, and no process listens. Wakes nobody who lives."""
    match = _OF_A_PROCESS.fullmatch(name)
    return match is not None and _is_deserted(int(match[1]), address)


def clear(directory: str) -> None:
    """Remove a directory in which there is nothing but sockets of the dead. Raises OSError."""
    with os.scandir(directory) as found:
        entries = list(itertools.islice(found, _MOST_SOCKETS))
    for entry in entries:
        is_socket = stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
        if not is_socket or not is_dead(entry.name, entry.path):
            return
    for entry in entries:
        os.unlink(entry.path)
    os.rmdir(directory)


def _is_deserted(process_id: int, address: str) -> bool:
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
