"""What becomes of a stream over HTTP on its way from the app, as a client's without a WebSocket.

It is asked for with the operator's proof, so the app says hello and no handler is made. Where that
does not come, a poll shows whether it is the stream that is held back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import http.client
import time
import zlib
from typing import TYPE_CHECKING

from ...protocol.carrier import Transport
from ...upgrade.answer import MARK

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from .site_url import Address

_HELLO = b"data: hello\n\n"
_CLOSE = b"event: close\n"
_MOST_READ_BYTES = 4096
_GZIP = 16 + zlib.MAX_WBITS


class Outcome(enum.Enum):
    """What a client would have to go on with."""

    #: Streams come as they are sent.
    STREAM = enum.auto()
    #: What a stream says does not come; responses that end do.
    POLL = enum.auto()
    #: The app has been reached, and has refused, as it may at any moment.
    REFUSED = enum.auto()
    #: Neither comes.
    LOST = enum.auto()


class _Refused(Exception):
    """The app has no place for a client at this moment."""


@dataclasses.dataclass(frozen=True, slots=True)
class StreamVisit:
    """What came of it."""

    outcome: Outcome
    #: What has come in the place of a stream's hello, in words.
    detail: str = ""
    #: After so many seconds without a word of the app's a stream ended; None if it did not.
    cut_off_after_s: float | None = None

    @property
    def is_served(self) -> bool:
        """Whether a client would have a connection over HTTP."""
        return self.outcome in (Outcome.STREAM, Outcome.POLL)


class StreamVisitor:
    """One look at streams; `close` it afterwards."""

    def __init__(
        self,
        address: Address,
        headers: Mapping[str, str],
        connect: Callable[[], http.client.HTTPConnection],
        refusal_type: str,
        timeout_s: float,
    ) -> None:
        """An answer of `refusal_type` is the app's refusal. `connect` gives new connections."""
        self._address = address
        self._headers = {
            **headers,
            "Accept": "text/event-stream",
            # As browsers do: what compresses may hold back.
            "Accept-Encoding": "gzip",
            "Origin": address.origin,
        }
        self._connect = connect
        self._refusal_type = refusal_type
        self._timeout_s = timeout_s
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._heard_s = 0.0

    def look(self, idle_s: float) -> StreamVisit:
        """Ask for a stream, and for a poll if nothing comes of that. Never raises.

        The stream stays open for `idle_s` after its hello.
        """
        try:
            detail = self._ask(Transport.STREAM)
            if not detail:
                cut_off_after_s = self._be_silent(idle_s) if idle_s else None
                return StreamVisit(Outcome.STREAM, cut_off_after_s=cut_off_after_s)
            self.close()
            is_polled = not self._ask(Transport.POLL)
        except _Refused:
            return StreamVisit(Outcome.REFUSED)
        self.close()
        return StreamVisit(Outcome.POLL if is_polled else Outcome.LOST, detail)

    def _ask(self, transport: Transport) -> str:
        """What has come instead of the hello, in words; empty if that has. Raises `_Refused`."""
        try:
            connection = self._connect()
            connection.connect()
            self._socket = connection.sock
            headers = {**self._headers, MARK: transport.value}
            connection.request("GET", self._address.target, headers=headers)
            self._response = connection.getresponse()
            self._check_is_stream(self._response, transport)
            self._hear_hello(self._response)
        except (OSError, http.client.HTTPException, zlib.error) as error:
            return str(error) or type(error).__name__
        return ""

    def _check_is_stream(self, response: http.client.HTTPResponse, transport: Transport) -> None:
        if response.headers.get(MARK) == transport.value:
            return
        if response.headers.get_content_type() == self._refusal_type:
            raise _Refused
        raise http.client.HTTPException(f"an answer of {response.status} {response.reason}")

    def _hear_hello(self, response: http.client.HTTPResponse) -> None:
        until_s = time.monotonic() + self._timeout_s
        is_compressed = response.headers.get("Content-Encoding") == "gzip"
        inflate = zlib.decompressobj(_GZIP).decompress if is_compressed else bytes
        heard = b""
        while _HELLO not in heard:
            said = self._read(response, until_s)
            if not said or len(heard) > _MOST_READ_BYTES:
                raise http.client.HTTPException("it does not begin with a hello")
            heard += inflate(said)
        self._heard_s = time.monotonic()

    def _be_silent(self, idle_s: float) -> float | None:
        """After how many seconds without a word, pings included, the stream was lost, if it was."""
        response, until_s = self._response, self._heard_s + idle_s
        assert response is not None
        try:
            while said := self._read(response, until_s):
                if said.startswith(_CLOSE):
                    return None  # the app has said why
                self._heard_s = time.monotonic()
        except TimeoutError:
            return None
        except (OSError, http.client.HTTPException):
            pass
        return time.monotonic() - self._heard_s

    def _read(self, response: http.client.HTTPResponse, until_s: float) -> bytes:
        """What comes next; nothing at the end. Raises TimeoutError."""
        rest_s = until_s - time.monotonic()
        if self._socket is not None:
            self._socket.settimeout(max(rest_s, 0.001))
        return response.read1(_MOST_READ_BYTES)

    def close(self) -> None:
        """Leave. Any number of times."""
        response, self._response = self._response, None
        if response is not None:
            with contextlib.suppress(OSError):
                response.close()
        sock, self._socket = self._socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()
