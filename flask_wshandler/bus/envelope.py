"""What travels on a bus: a kind, a sender, a topic and a body, in as many bytes and 14 more.

    version  kind   sender   length of topic   topic    body
    1 byte   1 byte 8 bytes  2 bytes           UTF-8    the rest

Invariant: nothing that comes from a bus is evaluated. What is no envelope is `Malformed`, with
the reason.
"""

from __future__ import annotations

import dataclasses
import enum
import struct

VERSION = 1

MAX_ENVELOPE_BYTES = 32 * 2**20
"""What a process is willing to hold of one envelope of another."""

SENT_BY_A_LOG = bytes(8)
"""The sender of what a log carries: no process, so it reaches the one that has appended it, too."""

_HEAD = struct.Struct("!BB8sH")


class Kind(enum.IntEnum):
    """What the body is."""

    TEXT = 1
    """A text message for a collection's members: UTF-8."""
    BINARY = 2
    """A binary message for them."""
    CLOSE = 3
    """The members are to be closed: two bytes of code, and the reason in UTF-8."""
    PRESENCE = 4
    """From one process's account of members to the others': see `presence`."""
    QUESTION = 5
    """To every process: see `inquiry`."""
    ANSWER = 6
    """To the process that has asked, by a topic of its question's own."""
    PART = 7
    """A piece of a larger envelope, on a bus that carries these in pieces: see `bus.parts`."""
    LOGGED = 8
    """A message for a collection's members that is in its log: see `history.stream`."""
    UNLOGGED_TEXT = 9
    """The same that its log could not take, as `TEXT`."""
    UNLOGGED_BINARY = 10
    """And as `BINARY`."""
    LETTER = 11
    """To one process, by a topic of its name: see `bus.letters`."""
    REPLY = 12
    """To the process that has written it, by a topic that is its own."""
    SEARCH = 13
    """For the process of a name to say by a reply where it is."""


class Malformed(ValueError):
    """What came is no envelope; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Envelope:
    """One message between processes."""

    kind: Kind
    #: The process that published it: 8 bytes made at random. Or `SENT_BY_A_LOG`.
    sender: bytes
    #: Whom it is for: a collection, or "" for every process.
    topic: str
    body: bytes


_KINDS = {int(kind): kind for kind in Kind}


def check_size(topic: str, body_bytes: int) -> None:
    """Raise ValueError if a message of so many bytes is more than others take."""
    size = _HEAD.size + len(topic.encode()) + body_bytes
    if size > MAX_ENVELOPE_BYTES:
        raise ValueError(
            f"a message of {body_bytes} bytes is more than other processes take: at most "
            f"{MAX_ENVELOPE_BYTES - size + body_bytes} bytes beside this topic"
        )


def encode(kind: Kind, sender: bytes, topic: str, body: bytes) -> bytes:
    """The bytes of an envelope. Raises ValueError past `MAX_ENVELOPE_BYTES`."""
    name = topic.encode()
    if _HEAD.size + len(name) + len(body) > MAX_ENVELOPE_BYTES:
        check_size(topic, len(body))  # says so
    return _HEAD.pack(VERSION, kind, sender, len(name)) + name + body


def decode(data: bytes) -> Envelope:
    """The envelope that `data` is. Raises `Malformed`."""
    if len(data) < _HEAD.size:
        raise Malformed(f"{len(data)} bytes are no envelope, whose head has {_HEAD.size}")
    version, kind_number, sender, name_size = _HEAD.unpack_from(data)
    if version != VERSION:
        raise Malformed(f"version {version} of the envelope, where {VERSION} is understood")
    kind = _KINDS.get(kind_number)
    if kind is None:
        raise Malformed(f"kind {kind_number} is unknown")
    body_at = _HEAD.size + name_size
    if len(data) < body_at:
        raise Malformed(f"a topic of {name_size} bytes in an envelope of {len(data)}")
    try:
        topic = str(data[_HEAD.size : body_at], "utf-8")
    except UnicodeDecodeError:
        raise Malformed("a topic that is no UTF-8") from None
    return Envelope(kind, sender, topic, data[body_at:])
