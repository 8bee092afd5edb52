"""How a client gets to its server: by a WebSocket, or over HTTP where none gets through.

What has worked comes first the next time; but a stream for ten minutes only, then a WebSocket is
tried again before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..protocol.carrier import Transport
from .errors import HandshakeFailed, HandshakeRefused
from .network import NetworkConnection
from .patience import Patience
from .reaching import Deadline, Way, reach
from .stream_handshake import open_stream
from .target import Target
from .websocket_handshake import open_websocket

STREAM_FIRST_S = 600.0
"""So long after a stream has worked no WebSocket is tried before it."""

_OF_ITS_OWN = frozenset({429, 503})
"""Statuses of a server that has too much to do: another request is more of it."""
_UNREMARKABLE = frozenset({400, 405, 426, 501})
"""Statuses that say no more than that this is no way."""
_ENOUGH_IN_VAIN = 2
"""Tries in a row that have failed as they also do while a server is restarted."""

Offering = Callable[[], Sequence[str]]
"""What the next try says; each try says something else."""


class Ways:
    """Of one connection. Its thread's alone."""

    def __init__(self, target: Target, patience: Patience) -> None:
        self._target = target
        self._patience = patience
        self._clock = patience.clock
        self._stream_until_s: float | None = None
        self._in_vain = 0

    def dial(self, offering: Offering) -> NetworkConnection:
        """Open a network connection.

        Raises OSError for what the network does, `HandshakeFailed` for an answer.
        """
        timeout_s = self._clock.real_s(self._patience.open_timeout_s)
        if self._target.transport == Transport.STREAM:
            return self._dial_stream(offering, timeout_s)
        if self._target.transport == Transport.WEBSOCKET:
            return self._dial_websocket(offering, timeout_s)
        refusal: Exception | None = None
        if self._is_stream_first():
            try:
                return self._dial_stream(offering, timeout_s)
            except HandshakeFailed as error:
                self._stream_until_s = None
                if error.may_pass:
                    raise
                refusal = error
        # Half of the time each: what swallows an upgrade does not answer at all.
        half_s = None if timeout_s is None else timeout_s / 2
        try:
            return self._dial_websocket(offering, half_s)
        except _NoWebSocket as failure:
            no_websocket = failure.error
        if refusal is None:
            try:
                return self._dial_stream(offering, half_s)
            except (OSError, HandshakeFailed) as second:
                refusal = second
        raise _more_telling(no_websocket, refusal)

    def _is_stream_first(self) -> bool:
        until_s = self._stream_until_s
        return until_s is not None and self._clock.now_s() < until_s

    def _dial_stream(self, offering: Offering, timeout_s: float | None) -> NetworkConnection:
        deadline = Deadline(timeout_s)
        way = Way.to(self._target)
        channel = reach(way, deadline)
        try:
            return open_stream(channel, self._target, way, offering(), deadline, self._patience)
        except BaseException:
            channel.close()
            raise

    def _dial_websocket(self, offering: Offering, timeout_s: float | None) -> NetworkConnection:
        deadline = Deadline(timeout_s)
        way = Way.to(self._target)
        channel = reach(way, deadline)
        try:
            return open_websocket(channel, self._target, way.address, offering(), deadline)
        except BaseException as error:
            channel.close()
            if isinstance(error, (OSError, HandshakeFailed)) and self._gives_way(error):
                raise _NoWebSocket(error) from error
            raise

    def _gives_way(self, error: OSError | HandshakeFailed) -> bool:
        """Whether no WebSocket gets through, as far as can be told, and a stream may."""
        if self._target.transport == Transport.WEBSOCKET:
            return False
        if isinstance(error, HandshakeRefused) and error.status in _OF_ITS_OWN:
            return False
        is_passing = isinstance(error, OSError) or error.may_pass
        if is_passing and not isinstance(error, TimeoutError):
            self._in_vain += 1
            return self._in_vain >= _ENOUGH_IN_VAIN
        return True

    def note_end(self, transport: Transport, age_s: float, *, was_greeted: bool) -> None:
        """A network connection is over, which has lasted so long, with a hello or without."""
        now_s = self._clock.now_s()
        if transport is Transport.STREAM:
            self._stream_until_s = now_s - age_s + STREAM_FIRST_S if was_greeted else None
        elif was_greeted:
            self._stream_until_s = None
            self._in_vain = 0
        else:
            # Some proxies let a WebSocket open, and nothing through.
            self._in_vain += 1
            if self._in_vain >= _ENOUGH_IN_VAIN:
                self._in_vain = 0
                self._stream_until_s = now_s + STREAM_FIRST_S


class _NoWebSocket(Exception):
    """A stream is to be tried."""

    def __init__(self, error: OSError | HandshakeFailed) -> None:
        super().__init__(error)
        self.error = error


def _more_telling(of_websocket: Exception, of_stream: Exception) -> Exception:
    """Which of two failures a user is told of. What may pass is not hidden by what does not."""
    told, other = of_websocket, of_stream
    if isinstance(of_websocket, HandshakeFailed) and (
        isinstance(of_stream, OSError)
        or (isinstance(of_stream, HandshakeFailed) and of_stream.may_pass)
        or (_is_unremarkable(of_websocket) and not _is_unremarkable(of_stream))
    ):
        told, other = of_stream, of_websocket
    if told.__cause__ is None:
        told.__cause__ = other
    return told


def _is_unremarkable(error: Exception) -> bool:
    return not isinstance(error, HandshakeRefused) or error.status in _UNREMARKABLE
