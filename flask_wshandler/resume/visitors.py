"""Processes that have connected to the door of this one, to give it a client's socket.

All of it in the door's thread, but `end`. A visitor is greeted, its packet is read and answered,
and it is closed. One that says nothing is closed after a second, and holds nobody up: there is room
for others, and after a second for as many again.

Invariant: each descriptor that comes is closed, or belongs to whoever has taken it.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Callable, Collection, Iterable

from ..bus.peer_link import is_own_user
from .passing import GREETING, MAX_PACKET_BYTES, Answer, MalformedPacket, Passed, decode

_MOST_VISITORS = 64
"""At once; others wait in the kernel's queue."""
_PATIENCE_S = 1.0
_PAUSE_S = 0.1
"""While no connection can be accepted."""

_FAMILIES = {socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None)}

Offer = Callable[[socket.socket, Passed], bool]


class Visitors:
    """Those that are there, and since when."""

    def __init__(
        self,
        offer: Offer,
        refuse: Callable[[Exception], None],
        note_accepting: Callable[[OSError | None], None],
    ) -> None:
        """`offer` is given what comes, and never raises; `refuse` what is wrong with a packet;
        `note_accepting` what keeps connections from being accepted, or None when they are."""
        self._offer = offer
        self._refuse = refuse
        self._note_accepting = note_accepting
        #: Until when each may be silent.
        self._until_s: dict[socket.socket, float] = {}
        #: What has been offered, and is nobody's yet.
        self._offered: socket.socket | None = None
        self._accept_at_s = 0.0
        self._is_ended = False

    def serve(self, listener: socket.socket | None, most_s: float) -> None:
        """Wait until somebody comes or says something, for `most_s` at most, and serve them."""
        now_s = time.monotonic()
        watched = list(self._until_s)
        if listener is not None and self._has_room and now_s >= self._accept_at_s:
            watched.append(listener)
        else:
            most_s = min(most_s, _PAUSE_S)
        until_s = min([now_s + most_s, *self._until_s.values()])
        ready = _readable(watched, until_s - now_s)
        # First: what has come meanwhile is not silence, however long the last one was served.
        self._end_silent(ready)
        for sock in ready:
            if self._is_ended:
                return
            if sock is listener:
                self._accept_all(sock)
            else:
                self._serve(sock)

    def end(self) -> None:
        """Read nothing more of anybody. Any thread."""
        self._is_ended = True

    def close(self) -> None:
        """Close all. What they have sent and nobody has read is theirs again."""
        while self._until_s:
            sock, _ = self._until_s.popitem()
            sock.close()

    def reset_after_fork(self) -> None:
        """In a forked child: close what it has inherited, which is still its parent's."""
        if self._offered is not None:
            self._offered.close()
        self.close()

    @property
    def _has_room(self) -> bool:
        return len(self._until_s) < _MOST_VISITORS

    def _end_silent(self, ready: Collection[socket.socket]) -> None:
        now_s = time.monotonic()
        for sock, until_s in list(self._until_s.items()):
            if until_s <= now_s and sock not in ready:
                del self._until_s[sock]
                with sock, contextlib.suppress(OSError):  # it has gone
                    sock.send(Answer.UNREACHABLE.value)

    def _accept_all(self, listener: socket.socket) -> None:
        while self._has_room:
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._accept_at_s = time.monotonic() + _PAUSE_S
                self._note_accepting(error)
                return
            self._greet(sock)
        self._note_accepting(None)

    def _greet(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as opened:
            opened.enter_context(sock)
            with contextlib.suppress(OSError):  # it has gone already
                sock.setblocking(False)
                if is_own_user(sock):
                    sock.send(GREETING)
                    self._until_s[sock] = time.monotonic() + _PATIENCE_S
                    opened.pop_all()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):  # it has gone, and knows what that means
            try:
                sock.send(self._take_from(sock).value)
            finally:
                self._until_s.pop(sock, None)

    def _take_from(self, sock: socket.socket) -> Answer:
        """What to answer. Raises OSError where nobody waits for an answer."""
        try:
            client, passed = _receive(sock)
        except MalformedPacket as error:
            self._refuse(error)
            return Answer.REFUSED
        except _NoDescriptor as error:
            self._note_accepting(error)
            return Answer.UNREACHABLE
        self._offered = client
        is_taken = self._offer(client, passed)
        self._offered = None
        if is_taken:
            return Answer.TAKEN
        client.close()
        return Answer.REFUSED


class _NoDescriptor(OSError):
    """This process has none for what was sent to it."""


def _readable(watched: Iterable[socket.socket], most_s: float) -> list[socket.socket]:
    poll = select.poll()  # which needs no descriptor
    by_descriptor = {sock.fileno(): sock for sock in watched}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll(max(0.0, 1000 * most_s))
    return [by_descriptor[descriptor] for descriptor, _ in ready]


def _receive(sock: socket.socket) -> tuple[socket.socket, Passed]:
    """The one packet of a visitor, and the socket that came with it.

    Raises `MalformedPacket`, `_NoDescriptor`, and OSError if there is none.
    """
    # CMSG_SPACE would have room for two.
    room = socket.CMSG_LEN(array.array("i").itemsize)
    packet, ancillary, flags, _ = sock.recvmsg(MAX_PACKET_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(ancillary)
    try:
        if not packet and not descriptors:
            raise ConnectionResetError
        return _checked(packet, descriptors, flags)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> array.array[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found


def _checked(
    packet: bytes, descriptors: array.array[int], flags: int
) -> tuple[socket.socket, Passed]:
    if flags & socket.MSG_TRUNC:
        raise MalformedPacket(f"a packet of more than {MAX_PACKET_BYTES} bytes")
    if flags & socket.MSG_CTRUNC and not descriptors:
        raise _NoDescriptor(errno.EMFILE, os.strerror(errno.EMFILE))
    if flags & socket.MSG_CTRUNC or len(descriptors) != 1:
        raise MalformedPacket("a packet with more or fewer sockets than one")
    passed = decode(packet)
    return _stream(descriptors[0]), passed


def _stream(descriptor: int) -> socket.socket:
    """The socket of a client; raises `MalformedPacket` if it can't be one's."""
    try:
        client = socket.socket(fileno=descriptor)
    except OSError as error:
        raise MalformedPacket(f"what came with a packet is no socket: {error}") from None
    if client.type != socket.SOCK_STREAM or client.family not in _FAMILIES:
        client.detach()
        raise MalformedPacket("what came with a packet is no client's socket")
    return client
