"""How a process gives a client's socket to another one by that one's door.

The door greets first: whoever is stopped, or busy, is given nothing. Then the packet goes, with the
socket, and the answer comes.

Invariant: a client is served by one process. Until the packet is sent this one has the socket.
From then on it has it again only if the other one says so, or has ended without reading the packet,
which the kernel tells by a reset. Whatever else happens, it is the other's, or gone with it; then
the client comes back.
"""

from __future__ import annotations

import array
import socket
import time

from ..bus.peer_link import is_own_user
from .passing import GREETING, Answer

_FULL_PAUSE_S = 0.01
"""Until a door with a full queue is tried again."""


class NotGreeted(Exception):
    """What listens there is not this user's, or says what no door of this release does."""


def knock(address: str, sock: socket.socket, packet: bytes, until_s: float) -> Answer:
    """Pass `sock` on to the door at `address`; the caller still has to close its own.

    Waits until `until_s` of the monotonic clock. Raises `ConnectionRefusedError` if nobody listens
    there any more, TimeoutError if the door does not greet in time, `NotGreeted`, and OSError where
    the system has no room; then the socket is still the caller's.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        try:
            _connect(link, address, until_s)
            _be_greeted(link, until_s)
        except (FileNotFoundError, ConnectionResetError, BrokenPipeError):
            return Answer.GONE
        try:
            _send(link, packet, sock.fileno())
        except (ConnectionResetError, BrokenPipeError):
            return _last_word(link)
        return _answer(link, until_s)


def _connect(link: socket.socket, address: str, until_s: float) -> None:
    link.setblocking(False)
    while True:
        try:
            link.connect(address)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise TimeoutError("its queue is full") from None
            time.sleep(_FULL_PAUSE_S)
        else:
            return


def _be_greeted(link: socket.socket, until_s: float) -> None:
    if not is_own_user(link):
        raise NotGreeted("another user listens there")
    _wait_until(link, until_s)
    try:
        said = link.recv(len(GREETING) + 1)
    except TimeoutError:
        raise TimeoutError("it does not greet") from None
    if not said:
        raise ConnectionResetError
    if said != GREETING:
        raise NotGreeted(f"it greets with {said!r}")


def _send(link: socket.socket, packet: bytes, descriptor: int) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
    link.sendmsg([packet], [rights])


def _answer(link: socket.socket, until_s: float) -> Answer:
    try:
        _wait_until(link, until_s)
        return Answer(link.recv(2))
    except ConnectionResetError:
        return _last_word(link)
    except (OSError, ValueError):
        return Answer.TAKEN


def _last_word(link: socket.socket) -> Answer:
    """Why the packet was not read: this process was slow, which is said; else that one is gone."""
    try:
        return Answer.UNREACHABLE if link.recv(2) == Answer.UNREACHABLE.value else Answer.GONE
    except OSError:
        return Answer.GONE


def _wait_until(link: socket.socket, until_s: float) -> None:
    link.settimeout(max(0.001, until_s - time.monotonic()))
