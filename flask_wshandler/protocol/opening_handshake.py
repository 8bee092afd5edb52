"""The opening handshake (RFC 6455 section 4.2): what is checked, what is negotiated.

No Flask and no I/O: a WSGI environ goes in, an `Agreement` or a `Refusal` comes out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import ExtensionParameter
from websockets.utils import accept_key

from .carrier import Carrier
from .errors import WebSocketError

VERSION = "13"


class _Deflate(ServerPerMessageDeflateFactory):
    """Declines what zlib can't do; the package websockets does so itself from 17.2 on."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Agree to an offer. Raises NegotiationError for one that can't be agreed to."""
        agreed, deflate = super().process_request_params(params, accepted_extensions)
        if deflate.local_max_window_bits < _LEAST_WINDOW_BITS:
            raise NegotiationError(f"a window of {deflate.local_max_window_bits} bits")
        return agreed, deflate


_LEAST_WINDOW_BITS = 9
"""Of a compressor of zlib's."""

_DEFLATE = _Deflate(
    # Nothing is kept between messages: an idle client costs no memory (with a context each it
    # would be up to 300 kB), and a broadcast is compressed once for all.
    server_no_context_takeover=True,
    client_no_context_takeover=True,
)

_UNCOMPRESSED = Carrier()

_AGREED = (("Upgrade", "websocket"), ("Connection", "Upgrade"))
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
"""16 bytes in base64."""

_CHECKED_BY_LIBRARY = (
    "Connection",
    "Upgrade",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
)


class Refusal(WebSocketError):
    """A handshake that is not agreed to: an HTTP status, its headers, and why."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides hold to from now on."""

    #: The headers of the 101 response.
    headers: list[tuple[str, str]]
    carrier: Carrier


def asks_for_upgrade(environ: Mapping[str, Any]) -> bool:
    """Whether a request wants to be a WebSocket: GET, HTTP/1.1, and the two tokens.

    What may be wrong with such a request is for `agree` to say.
    """
    return (
        environ.get("REQUEST_METHOD") == "GET"
        and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and "websocket" in _tokens(environ.get("HTTP_UPGRADE", ""))
        and "upgrade" in _tokens(environ.get("HTTP_CONNECTION", ""))
    )


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def requested_subprotocols(environ: Mapping[str, Any]) -> list[str]:
    """The subprotocols that the client offers, in its order of preference."""
    offered = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")
    return [name for name in (part.strip() for part in offered) if name]


def _check_request(environ: Mapping[str, Any]) -> None:
    """What the library leaves to others, or answers otherwise than RFC 6455 asks."""
    if not asks_for_upgrade(environ):
        raise Refusal(400, "this is no WebSocket request")
    if not environ.get("HTTP_HOST"):
        raise Refusal(400, "a WebSocket request needs a Host header")
    version = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
    if version is not None and version.strip() != VERSION:
        raise Refusal(
            426,
            f"WebSocket version {version!r} is not supported, only {VERSION}",
            {"Sec-WebSocket-Version": VERSION, "Upgrade": "websocket"},
        )
    if environ.get("CONTENT_LENGTH", "0").strip() not in ("", "0") or environ.get(
        "HTTP_TRANSFER_ENCODING"
    ):
        raise Refusal(400, "a WebSocket request has no body")


def _is_plain(environ: Mapping[str, Any], compress: bool) -> bool:
    """Whether a request asks for what nearly all do, in their words, and for nothing else.

    To those the library can only agree, in 38 µs rather than 3: most of it goes into a protocol
    object, with an id of its own.
    """
    return (
        environ.get("HTTP_CONNECTION", "").lower() in ("upgrade", "keep-alive, upgrade")
        and environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and environ.get("HTTP_SEC_WEBSOCKET_VERSION") == VERSION
        and _KEY.fullmatch(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")) is not None
        and not (compress and "HTTP_SEC_WEBSOCKET_EXTENSIONS" in environ)
    )


def agree(environ: Mapping[str, Any], compress: bool) -> Agreement:
    """Answer an opening handshake. Raises the `Refusal` of a request that is none."""
    _check_request(environ)
    if _is_plain(environ, compress):
        accept = accept_key(environ["HTTP_SEC_WEBSOCKET_KEY"])
        return Agreement([*_AGREED, ("Sec-WebSocket-Accept", accept)], _UNCOMPRESSED)
    protocol = ServerProtocol(extensions=[_DEFLATE] if compress else None)
    headers = Headers()
    for name in _CHECKED_BY_LIBRARY:
        value = environ.get("HTTP_" + name.upper().replace("-", "_"))
        if value is not None:
            try:
                headers[name] = value
            except InvalidHandshake:  # since websockets 17
                raise Refusal(400, f"{name} has characters that no header may have") from None
    response = protocol.accept(Request(environ.get("PATH_INFO", "/"), headers))
    if response.status_code != 101:
        reason = str(protocol.handshake_exc or response.reason_phrase)
        raise Refusal(400 if response.status_code == 426 else response.status_code, reason)
    agreed = [*_AGREED]
    for name in ("Sec-WebSocket-Accept", "Sec-WebSocket-Extensions"):
        if name in response.headers:
            agreed.append((name, response.headers[name]))
    deflate = next(
        (found for found in protocol.extensions if isinstance(found, PerMessageDeflate)), None
    )
    if deflate is None:
        return Agreement(agreed, _UNCOMPRESSED)
    bits = deflate.remote_max_window_bits, deflate.local_max_window_bits
    return Agreement(agreed, Carrier(window_bits=bits))
