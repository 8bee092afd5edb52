"""What carries a client's messages: a WebSocket, or HTTP where none gets through."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

from websockets.extensions.permessage_deflate import PerMessageDeflate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

REQUEST_KEY = "HTTP_X_WSHANDLER"
"""Under which a WSGI environ has what a client asks for that has found no way for a WebSocket."""


class Transport(str, enum.Enum):
    """What a client speaks."""

    WEBSOCKET = "websocket"
    STREAM = "stream"
    """A response that does not end; what the client says comes by requests of their own."""
    POLL = "poll"
    """Responses that end when they have said something, one after the other."""


_OVER_HTTP = {each.value: each for each in (Transport.STREAM, Transport.POLL)}


@dataclasses.dataclass(frozen=True, slots=True)
class Carrier:
    """What a request has agreed upon."""

    transport: Transport = Transport.WEBSOCKET
    #: Of a WebSocket with permessage-deflate, which is without context takeover: the bits of the
    #: client's window and of ours. None without compression.
    window_bits: tuple[int, int] | None = None
    #: Whether a response over HTTP is sent in chunks; else the end of the connection is its end.
    is_chunked: bool = False

    @property
    def deflate(self) -> PerMessageDeflate | None:
        """What compresses; None without compression."""
        bits = self.window_bits
        return None if bits is None else PerMessageDeflate(True, True, *bits)


def requested_over_http(environ: Mapping[str, Any]) -> Transport | None:
    """What a request asks for that is to stand for a WebSocket; None if it does not."""
    if REQUEST_KEY not in environ or environ.get("REQUEST_METHOD") != "GET":
        return None
    return _OVER_HTTP.get(environ[REQUEST_KEY])
