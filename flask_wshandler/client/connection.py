"""The connection that a Python program has, and how it gets it."""

from __future__ import annotations

import dataclasses
import ssl as ssl_module
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from ..protocol.errors import CloseCode, check_close
from ..protocol.frames import as_message
from . import backoff
from .errors import ConnectionClosed
from .link import ClientLink
from .patience import Clock, Patience, State
from .session import AWAY, Gap
from .target import USER_AGENT, Headers, Target


def connect(
    uri: str,
    *,
    transport: str = "auto",
    subprotocols: Sequence[str] = (),
    on_gap: Callable[[Gap], object] | None = None,
    repeat: bool = True,
    ssl: ssl_module.SSLContext | None = None,
    server_hostname: str | None = None,
    origin: str | None = None,
    additional_headers: Headers | None = None,
    user_agent_header: str | None = USER_AGENT,
    proxy: str | bool | None = True,
    compression: str | None = "deflate",
    max_size: int | None = 2**20,
    open_timeout: float | None = 10,
    close_timeout: float | None = 10,
    _clock: Clock | None = None,
    _jitter: Callable[[float], float] = backoff.uniform,
) -> Connection:
    """Open a connection, and wait until it is.

    That may take several tries: whatever may pass, such as a network error or a 503, is tried
    again until `open_timeout` seconds are over. Each later try has as much time.

    `transport` is "websocket", "stream", or "auto": a WebSocket first, and where none gets through
    a stream, which is a response of HTTP that goes on, with a request for what is sent. What has
    worked comes first when the connection comes back, a stream for ten minutes. With "auto" each of
    both has half of `open_timeout`.

    `subprotocols` are the application's. `on_gap` is called with a `Gap` where messages of the
    server may be missing, by `recv` or the iteration, at that place among the messages. Unless it
    is to `repeat`, what the server has not acknowledged before a `Gap.MESSAGES` is dropped: it
    arrives at most once then, and else at least once. The other arguments are those of
    `websockets.sync.client.connect`; `proxy` is True for the system's, None, or the address of an
    HTTP proxy.

    Raises `ConnectTimeout`; `HandshakeRefused` for an answer that would be the same next time, such
    as 401 or 403; `HandshakeFailed` for one that is no WebSocket's; `ConnectionClosed` if the
    server closes for good; ssl.SSLCertVerificationError; ValueError for what can't be used.
    """
    target = Target(
        uri,
        transport=transport,
        ssl=ssl,
        server_hostname=server_hostname,
        origin=origin,
        additional_headers=additional_headers,
        user_agent_header=user_agent_header,
        proxy=proxy,
        compression=compression,
        max_size=max_size,
    )
    target.check(subprotocols)
    patience = Patience(open_timeout, close_timeout, _clock or Clock(), _jitter)
    link = ClientLink(target, subprotocols, repeat, patience)
    try:
        link.wait_open()
    except BaseException:
        link.abandon()
        raise
    return Connection(link, on_gap)


class Connection:
    """A connection that lasts over losses of the network, and restarts of the server.

    Made by `connect`. Any thread may call its methods; each message is given to one of those that
    receive. It is a context manager, which closes it: with 1000, or 1011 after an exception.
    """

    def __init__(self, link: ClientLink, on_gap: Callable[[Gap], object] | None) -> None:
        self._link = link
        self._on_gap = on_gap

    def send(self, message: str | bytes, timeout: float | None = None) -> None:
        """Send a text or a binary message; also while the connection waits to come back.

        It does not wait for the network: what is sent is kept until the server has taken it, up
        to 1 MiB. Then it waits until there is room, for `timeout` seconds at most, or for ever.

        Raises TimeoutError, and `ConnectionClosed` if it does not come back.
        """
        message = as_message(message)
        size = len(message.encode()) if isinstance(message, str) else len(message)
        self._link.send(message, size, timeout)

    def recv(self, timeout: float | None = None) -> str | bytes:
        """The next message: str for a text, bytes for a binary one.

        Raises TimeoutError if none has come in `timeout` seconds, and `ConnectionClosed` when the
        connection has ended and all that had come before is received.
        """
        while isinstance(message := self._link.receive(timeout), Gap):
            if self._on_gap is not None:
                self._on_gap(message)
        return message

    def __iter__(self) -> Iterator[str | bytes]:
        """The messages, until the connection is closed here or with 1000.

        Raises `ConnectionClosed` for any other end.
        """
        while True:
            try:
                message = self.recv()
            except ConnectionClosed as error:
                if error.code == CloseCode.NORMAL_CLOSURE or self._link.was_closed_here:
                    return
                raise
            yield message

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """End the connection, and wait until that is done.

        Before that the server is to have taken what was sent; for `close_timeout` seconds at most,
        and as many for its answer. The second time nothing happens.
        """
        self._close(code, reason, is_patient=True)

    def _close(self, code: int, reason: str, *, is_patient: bool) -> None:
        check_close(code, reason)
        if code == AWAY:
            raise ValueError(f"{AWAY} says that the client comes back, which this one would not")
        self._link.close(code, reason, is_patient=is_patient)

    @property
    def state(self) -> State:
        """Whether it is open, waits to come back, or is closed."""
        return self._link.state

    @property
    def protocol(self) -> str | None:
        """The one of `subprotocols` that the server has chosen, or None."""
        return self._link.protocol

    @property
    def transport(self) -> str | None:
        """What carries it, or did at last: "websocket" or "stream"."""
        transport = self._link.transport
        return None if transport is None else transport.value

    @property
    def gaps(self) -> int:
        """How often messages of the server may have been lost, also where none was received."""
        return self._link.gaps

    @property
    def close_code(self) -> int | None:
        """The close code when it is closed; before that None."""
        return self._link.close_code

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._close(CloseCode.INTERNAL_ERROR, "", is_patient=False)

    def __del__(self) -> None:
        link = getattr(self, "_link", None)
        if link is not None and link.abandon():
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value}>"


@dataclasses.dataclass(frozen=True, slots=True)
class Inside:
    """What a connection is made of, for others of this package that receive from it."""

    link: ClientLink
    on_gap: Callable[[Gap], object] | None


def inside_of(connection: Connection) -> Inside:
    """What `connection` is made of. Raises TypeError for what is none."""
    if not isinstance(connection, Connection):
        raise TypeError(f"a connection of flask_wshandler.client.connect, not {connection!r}")
    return Inside(connection._link, connection._on_gap)
