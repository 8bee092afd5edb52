"""What clients and processes call the log of a collection, and places in it.

A client knows a stream by a name that stands for the collection's and tells nothing of it, and a
place in it as a text which it gives back as it was given it:

    stream . log . generation . number        as in 9f86d081884c.a1b2c3d4e5f6.0.812

The body of an envelope of kind LOGGED is

    log's id   generation   number    excluded   is text   payload
    6 bytes    4 bytes      8 bytes   8 bytes    1 byte    the rest
"""

from __future__ import annotations

import hashlib
import re
import struct

from ..bus import Malformed
from .log import EXCLUDED_BYTES, LOG_ID_BYTES, MAX_NUMBER, Draft, Position

_NAME_BYTES = 6
_BODY = struct.Struct(f"!{LOG_ID_BYTES}sIQ{EXCLUDED_BYTES}sB")
_PLACE = re.compile(r"([0-9a-f]{12})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,15})")


def stream_of(topic: str) -> str:
    """What clients call the log of a topic."""
    return hashlib.blake2b(
        topic.encode(), digest_size=_NAME_BYTES, person=b"wsh-stream"
    ).hexdigest()


def place_text(position: Position) -> str:
    """A place, without the stream's name."""
    return f"{position.log_id.hex()}.{position.generation}.{position.number}"


def parse_place(text: str) -> Position | None:
    """The place that a client has given back; None if it is none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    position = Position(bytes.fromhex(match[1]), int(match[2]), int(match[3]))
    return position if position.number <= MAX_NUMBER else None


def key_of(name: str) -> bytes:
    """What stands in the log for the member that a message is not for."""
    return hashlib.blake2b(name.encode(), digest_size=EXCLUDED_BYTES, person=b"wsh-member").digest()


def encode(position: Position, draft: Draft) -> bytes:
    """The body of an envelope that brings a message which is in the log."""
    head = _BODY.pack(*position, draft.excluded, draft.is_text)
    return head + draft.payload


def decode(body: bytes) -> tuple[Position, Draft]:
    """What an envelope brings. Raises `Malformed`."""
    if len(body) < _BODY.size:
        raise Malformed(f"{len(body)} bytes are no logged message, whose head has {_BODY.size}")
    log_id, generation, number, excluded, is_text = _BODY.unpack_from(body)
    if not 0 < number <= MAX_NUMBER or is_text > 1:
        raise Malformed(f"a logged message of the number {number} and the type {is_text}")
    payload = body[_BODY.size :]
    if is_text:
        try:
            payload.isascii() or payload.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"a text message that is no UTF-8: {error.reason}") from None
    return Position(log_id, generation, number), Draft(bool(is_text), payload, excluded)
