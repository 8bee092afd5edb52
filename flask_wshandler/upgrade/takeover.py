"""What an accepted request becomes: a body that takes the socket over from the server.

It does so when the first of middlewares and server iterates over it, and by then writes the head
if the server has not. If the response has got another status meanwhile, the handler never opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from ..runtime import logs
from ..runtime.redaction import shown

if TYPE_CHECKING:
    from ..protocol.connection import Connection
    from ..transports.engine import Engine
    from ..transports.handoff import Head, ServerSocket
    from .answer import Answer
    from .resumption import Resumption

logger = logs.logger(__package__)


class Accepted(Protocol):
    """What a request was accepted for: a handler, or a probe. Called in the request's thread."""

    def about_to_leave(self) -> None:
        """Look at the request once more, after all of Flask's `after_request` work. Once."""

    def stay(self, upgrade: Upgrade) -> None:
        """Keep the request from ending until this returns, if it is still needed. Once.

        It gives the body to the server itself then.
        """

    def never_opens(self) -> None:
        """Let go of what waits for a connection that will not be served. Once at most."""


class _Nobody:
    """In the place of what was accepted, once another goes on."""

    def about_to_leave(self) -> None: ...

    def stay(self, upgrade: Upgrade) -> None: ...

    def never_opens(self) -> None: ...


_NOBODY = _Nobody()


class Upgrade:
    """The body of a handshake's response, which takes the socket over and has it served.

    Used by one thread at a time: that of the request.
    """

    def __init__(
        self,
        accepted: Accepted,
        path: str,
        answer: Answer,
        engine: Engine,
        server_socket: ServerSocket,
        connection: Connection,
        resumption: Resumption | None,
    ) -> None:
        """`path` is the request's.

        `resumption` knows whether the client goes on with another connection than this.
        """
        self._accepted = accepted
        self._path = path
        self.answer = answer
        self._engine = engine
        self._server_socket = server_socket
        self._connection = connection
        self._resumption = resumption
        self._left_with: list[tuple[str, str]] = []
        self._close_response: Callable[[], None] = _nothing
        self._is_leaving = False
        self._has_left = False
        self._is_over = False
        self._is_first = True

    def leaves(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers that the response needs, which is about to leave the app with `headers`."""
        if not self._is_leaving:
            self._is_leaving = True
            self._accepted.about_to_leave()
        self._left_with = self.answer.completed(headers)
        return self._left_with

    def has_left(self) -> None:
        """Go on after the app's call of `start_response`, which is about to return."""
        if not self._has_left:
            self._has_left = True
            self._accepted.stay(self)

    def is_body_instead_of(self, body: Iterable[bytes]) -> None:
        """Close `body` as well at the end; it is not iterated over."""
        self._close_response = getattr(body, "close", _nothing)

    @property
    def is_over(self) -> bool:
        """Whether the connection is served, or will never be."""
        return self._is_over

    def abandon(self) -> None:
        """Give the connection up before it opens. Does nothing once it is served or given up."""
        if not self._is_over:
            self._is_over = True
            self._connection.never_opens()
            self._accepted.never_opens()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._take_over()
        if not self._is_first:
            raise StopIteration
        # For a middleware that does not expect a body without any.
        self._is_first = False
        return b""

    def close(self) -> None:
        """Close the body: the server or a middleware is done with it, perhaps without a look."""
        close, self._close_response = self._close_response, _nothing
        try:
            if not self._is_over:
                self._close_unseen()
        finally:
            close()

    def _close_unseen(self) -> None:
        exchange = self._server_socket.exchange
        head = exchange.head()
        if head is None:
            return  # a middleware is going to look at it later, or to answer something else
        if head.has_left and exchange.reads_to_end and self._is_answer(head):
            logger.error(
                "A WebSocket on %s can't open: a WSGI middleware has not iterated over the body of "
                "the response with status %s",
                shown(self._path),
                head.status[:3],
            )
            self.abandon()
        else:
            self._take_over()

    def _take_over(self) -> None:
        if self._is_over:
            return
        head = self._server_socket.exchange.head()
        if head is not None and not self._is_answer(head):
            self.abandon()
            return
        written = b""
        if head is None or not head.has_left:
            headers = self._left_with if head is None else self.answer.completed(head.headers)
            written = self.answer.head(headers)
        self._is_over = True
        try:
            self._serve(written)
        except BaseException as error:
            # Not when it is forgotten: Werkzeug's debugger keeps the traceback for ever.
            self._is_over = False
            self.abandon()
            if not isinstance(error, ConnectionError):  # the client was gone before the head
                raise

    def _serve(self, head: bytes) -> None:
        """Write `head` if the server has not, and have the socket served."""
        can_use_epoll = self._engine.can_use_epoll(self._server_socket)
        resumption = self._resumption
        if resumption is not None:
            leg = resumption.leg_here()
            if leg is not None:
                self._open_instead(leg)
            elif can_use_epoll and resumption.is_elsewhere:
                self._pass_on(resumption, head)
                return
            else:
                is_elsewhere = resumption.is_elsewhere
                resumption.begin(is_passable=can_use_epoll, may_be_released=is_elsewhere)
        if can_use_epoll:
            self._engine.adopt(self._server_socket, self._connection, head)
        else:
            self._engine.serve(self._server_socket, self._connection, head)

    def _pass_on(self, resumption: Resumption, head: bytes) -> None:
        """Have the process serve the socket that has the client's handler, or else this one."""
        sock, data = self._engine.take(self._server_socket, head)
        try:
            is_passed = resumption.is_passed_on(sock, data)
        except BaseException:
            sock.close()
            raise
        if is_passed:
            sock.close()
            self._open_instead(None)
        else:
            self._engine.adopt_taken(sock, self._connection, data)

    def _open_instead(self, leg: Connection | None) -> None:
        """Serve `leg`, whose handler has been open before; what the view has made never opens."""
        self._connection.never_opens()
        self._accepted.never_opens()
        self._accepted = _NOBODY
        if leg is not None:
            self._connection = leg

    def _is_answer(self, head: Head) -> bool:
        return self.answer.is_in(head.status, head.headers)


def _nothing() -> None: ...
