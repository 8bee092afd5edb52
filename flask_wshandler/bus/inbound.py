"""What other processes of this machine write to this one: each has a stream, which is read here.

All of it in the loop's thread.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable, Iterator

from .envelope import MAX_ENVELOPE_BYTES
from .loop import LoopThread
from .peer_link import is_own_user, take_frames

_READ_BYTES = 256 * 1024


class Inbound:
    """The streams that have been accepted, and what has come of an envelope on each."""

    def __init__(
        self,
        loop: LoopThread,
        deliver: Callable[[list[bytes]], None],
        refuse: Callable[[str], None],
        note_accepting: Callable[[bool, str], None],
    ) -> None:
        """`deliver` is called with envelopes that came together, `refuse` with what is wrong with
        one, `note_accepting` with whether connections can be accepted, and why not."""
        self._loop = loop
        self._deliver = deliver
        self._refuse = refuse
        self._note_accepting = note_accepting
        self._buffers: dict[socket.socket, bytearray] = {}

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(self._buffers)

    def __contains__(self, sock: object) -> bool:
        return sock in self._buffers

    def accept(self, listener: socket.socket) -> None:
        """Accept the next process that has connected, if one has."""
        with contextlib.ExitStack() as opened:
            try:
                sock = opened.enter_context(listener.accept()[0])
                sock.setblocking(False)
                if not is_own_user(sock):
                    return
                self._loop.register(sock, selectors.EVENT_READ, self._read)
            except InterruptedError:
                return
            except (BlockingIOError, ConnectionAbortedError):
                pass
            except OSError as error:
                # No descriptors are left. Another look at the next check, rather than at once.
                self._note_accepting(False, f"no connection can be accepted ({error})")
                self._loop.unregister(listener)
                return
            else:
                opened.pop_all()
                self._buffers[sock] = bytearray()
        self._note_accepting(True, "connections are accepted again")

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.end(sock)
            return
        buffer = self._buffers[sock]
        buffer += data
        came, too_large = take_frames(buffer, MAX_ENVELOPE_BYTES)
        if too_large:
            self._refuse(f"an envelope of {too_large} bytes; {MAX_ENVELOPE_BYTES} are taken")
            self.end(sock)
        if came:
            self._deliver(came)

    def end(self, sock: socket.socket) -> None:
        """Close a stream."""
        self._loop.unregister(sock)
        del self._buffers[sock]
        sock.close()
