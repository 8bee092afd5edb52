"""The socket on which a client posts: one request at a time, and no waiting.

It is opened when there is something to post, for a server may have one thread, which would wait
for a request that does not come. Where the server keeps it open the next request takes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import socket
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import h11
from websockets.datastructures import Headers

from .reaching import NOT_NOW, Wanted, Way, reach_again

_READ_BYTES = 16 * 1024
_MOST_ANSWER_BYTES = 64 * 1024
"""Of a body that nobody reads."""

Steps = Generator[Wanted, None, "Answer"]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What the server has answered to a request."""

    status: int
    headers: Headers


class PostLine:
    """To one address of a server. Its thread's alone."""

    def __init__(self, way: Way, first: socket.socket, head: h11.Request) -> None:
        """As `first`, which is connected; each request begins as `head`."""
        self._way = way
        self._family = first.family
        self._peer: Any = first.getpeername()
        self._head = head
        self._channel: socket.socket | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._steps: Steps | None = None
        self._answer: Answer | None = None
        self._answer_bytes = 0
        #: What it waits for.
        self.wanted: Wanted | None = None
        #: How often it has come further: a server that does nothing is seen by that.
        self.progress = 0

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        return self._steps is not None

    def begin(self, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Post; `step` does it."""
        self._steps = self._exchange(headers, body)

    def step(self) -> Answer | None:
        """Do what can be done now; the answer if there is one. Raises OSError."""
        assert self._steps is not None
        try:
            self.wanted = next(self._steps)
        except StopIteration as done:
            self._steps = None
            self.wanted = None
            return done.value  # type: ignore[no-any-return]  # of Steps
        except BaseException:
            self.close()
            raise
        return None

    def close(self) -> None:
        """Let go of the socket, and of the request that is under way."""
        steps, self._steps = self._steps, None
        self.wanted = None
        if steps is not None:
            steps.close()
        self._let_go()

    def _let_go(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.close()

    def _exchange(self, headers: Sequence[tuple[str, str]], body: bytes) -> Steps:
        is_used = self._channel is not None
        if is_used and not self._is_usable():
            self._let_go()
            is_used = False
        try:
            return (yield from self._post(headers, body))
        except ConnectionError:
            # RFC 9112 section 9.3.1: a server may close what it has kept open at any time. What is
            # posted is numbered, so it may come twice.
            self._let_go()
            if not is_used:
                raise
        return (yield from self._post(headers, body))

    def _is_usable(self) -> bool:
        """Whether the server has not closed it, nor said what nobody has asked for."""
        assert self._channel is not None
        try:
            self._http.start_next_cycle()
            self._channel.recv(1)  # with nothing asked for
        except NOT_NOW:
            return True
        except (OSError, h11.ProtocolError):
            return False
        return False

    def _post(self, headers: Sequence[tuple[str, str]], body: bytes) -> Steps:
        if self._channel is None:
            self._http = h11.Connection(h11.CLIENT)
            self._channel = yield from reach_again(self._family, self._peer, self._way)
            self.progress += 1
        self._answer = None
        self._answer_bytes = 0
        channel, unsent = self._channel, memoryview(self._request(headers, body))
        while not self._is_answered():
            # An answer may come before all is sent, and nothing more be read then.
            sent = self._send(channel, unsent)
            unsent = unsent[sent:]
            if not self._receive(channel) and not sent:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
                yield channel.fileno(), events
        answer = self._answer
        assert answer is not None
        if unsent or not self._is_kept_open():
            self._let_go()
        return answer

    def _request(self, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
        request = h11.Request(
            method=b"POST",
            target=self._head.target,
            headers=[*self._head.headers, *headers, ("Content-Length", str(len(body)))],
        )
        events = (request, h11.Data(body), h11.EndOfMessage())
        return b"".join(self._http.send(event) or b"" for event in events)

    def _send(self, channel: socket.socket, unsent: memoryview) -> int:
        """How much of it the network has taken; all, if it takes nothing any more."""
        if not unsent:
            return 0
        try:
            sent = channel.send(unsent)
        except NOT_NOW:
            return 0
        except ConnectionError:
            return len(unsent)  # there may be an answer that says why
        self.progress += 1
        return sent

    def _receive(self, channel: socket.socket) -> bool:
        """Whether something has come."""
        try:
            data = channel.recv(_READ_BYTES)
        except NOT_NOW:
            return False
        self.progress += 1
        self._http.receive_data(data)
        return True

    def _is_answered(self) -> bool:
        """Whether the answer is there, as far as it is of interest. Raises ConnectionResetError."""
        try:
            while self._answer_bytes <= _MOST_ANSWER_BYTES:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    return False
                if isinstance(event, h11.Response):
                    self._answer = Answer(event.status_code, decoded(event.headers))
                elif isinstance(event, h11.Data):
                    self._answer_bytes += len(event.data)
                elif not isinstance(event, h11.InformationalResponse):
                    break
        except h11.RemoteProtocolError as error:
            if self._answer is None:
                raise ConnectionResetError(f"no answer of HTTP: {error}") from error
        return self._answer is not None

    def _is_kept_open(self) -> bool:
        states = self._http.states
        return states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}


def decoded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers of HTTP; case does not matter. Of one that comes twice the last counts."""
    return Headers({name.decode("latin-1"): value.decode("latin-1") for name, value in headers})
