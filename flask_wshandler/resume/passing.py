"""What goes with a client's socket from one process to another: one packet, and one byte back.

No I/O. A packet is a few bytes that tell it from others, the size of a JSON text, that text, and
what the client has sent already. Whoever writes one is of the same user, and perhaps of an older
release: it is checked all the same.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import struct
from typing import Any

from ..protocol.carrier import Carrier, Transport
from ..protocol.errors import WebSocketError
from .endpoint import SUBPROTOCOL, Return, parse_offer

MAX_PACKET_BYTES = 16 * 1024
MAX_PATH_BYTES = 4 * 1024

GREETING = b"wshandler door 2"
"""What a door says first. Another format of packets is another number."""

_MAGIC = b"wsd2"
_HEAD = struct.Struct("!4sH")
_WINDOW_BITS = range(8, 16)
"""RFC 7692 section 7.1.2."""


class CannotBePassed(Exception):
    """There is no room for it in a packet; the message says for what."""


class MalformedPacket(Exception):
    """It is none that a door takes; the message says what is wrong with it."""


class Answer(enum.Enum):
    """What has become of a socket that was passed on. The values are what a door says."""

    TAKEN = b"t"
    """The other process has it, or has ended with it. This one is to close its own, and no more."""
    REFUSED = b"r"
    """The other process has no use for it."""
    GONE = b"g"
    """There is no such process any more."""
    UNREACHABLE = b"u"
    """It was not reached in time, or can't be from here."""


@dataclasses.dataclass(frozen=True, slots=True)
class Passed:
    """What a process must know of a client that has returned to another one."""

    #: The session is a secret: not in a `repr`, which may be logged.
    returns: Return = dataclasses.field(repr=False)
    #: Of the request, without its query.
    path: str
    #: The handler's class: its module and qualified name.
    handler: str
    #: Who the client is, by its login; None if nobody.
    user: str | None
    #: The one that the application has chosen.
    subprotocol: str | None
    carrier: Carrier
    #: What the client has sent behind its handshake.
    data: bytes = dataclasses.field(repr=False)
    #: Its address.
    client: str | None


def encode(passed: Passed) -> bytes:
    """The packet. Raises `CannotBePassed`."""
    if len(passed.path.encode(errors="surrogatepass")) > MAX_PATH_BYTES:
        raise CannotBePassed(f"a path of more than {MAX_PATH_BYTES} bytes")
    said = [
        str(passed.returns),
        passed.path,
        passed.handler,
        passed.user,
        passed.subprotocol,
        passed.carrier.window_bits,
        passed.client,
        passed.carrier.transport.value,
        passed.carrier.is_chunked,
    ]
    text = json.dumps(said, separators=(",", ":")).encode()
    size = _HEAD.size + len(text) + len(passed.data)
    if size > MAX_PACKET_BYTES:
        raise CannotBePassed(f"a packet of {size} bytes; {MAX_PACKET_BYTES} are possible")
    return _HEAD.pack(_MAGIC, len(text)) + text + passed.data


def decode(packet: bytes) -> Passed:
    """What is in a packet. Raises `MalformedPacket`."""
    try:
        magic, size = _HEAD.unpack_from(packet)
        end = _HEAD.size + size
        if magic != _MAGIC or end > len(packet):
            raise ValueError("it begins otherwise, or ends too early")
        said = json.loads(packet[_HEAD.size : end].decode("ascii"))
        return _checked(said, packet[end:])
    except (ValueError, TypeError, RecursionError, struct.error, WebSocketError) as error:
        raise MalformedPacket(f"a packet of {len(packet)} bytes: {error}") from None


def _checked(said: Any, data: bytes) -> Passed:
    """Raises ValueError, TypeError or `ResumeProtocolError`."""
    if type(said) is not list:
        raise TypeError("its text is no list")
    returns, path, handler, user, subprotocol, window_bits, client, transport, is_chunked = said
    if type(path) is not str or type(handler) is not str:
        raise TypeError("a path or a handler is no text")
    if not all(isinstance(each, str | None) for each in (user, subprotocol, client)):
        raise TypeError("a user, a subprotocol or an address is no text")
    if len(path.encode(errors="surrogatepass")) > MAX_PATH_BYTES:
        raise ValueError("its path is too long")
    if type(is_chunked) is not bool:
        raise TypeError("it does not say whether there are chunks")
    carrier = Carrier(Transport(transport), _checked_bits(window_bits), is_chunked)
    return Passed(_checked_return(returns), path, handler, user, subprotocol, carrier, data, client)


def _checked_return(token: Any) -> Return:
    offer = parse_offer([SUBPROTOCOL, token]) if type(token) is str else None
    if offer is None or offer.returns is None:
        raise ValueError("it says of no client where it stands")
    return offer.returns


def _checked_bits(bits: Any) -> tuple[int, int] | None:
    if bits is None:
        return None
    remote, local = bits
    if type(remote) is not int or type(local) is not int:
        raise TypeError("the size of a window is no number")
    if remote not in _WINDOW_BITS or local not in _WINDOW_BITS:
        raise ValueError(f"windows of {remote} and {local} bits")
    return remote, local
