"""What a client posts that is not served by a WebSocket: a list in JSON, and who it is.

No I/O. It comes to any process of the app, and is handed to the one that has the connection.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol.errors import check_close
from .endpoint import (
    ACKNOWLEDGEMENT,
    BINARY_MESSAGE,
    MAX_NUMBER,
    MESSAGE,
    PROBE,
    ResumeProtocolError,
)

if TYPE_CHECKING:
    from ..protocol.frames import Message

CLOSE = "c"
"""What a note begins with by which a client closes: a code and a reason follow."""

_CODE = re.compile(r"[0-9]{4}")

MAX_POST_BYTES = 3 * 2**20 - 4096
"""Of a body: with what goes beside it, it is handed over to another process."""

_KINDS = (MESSAGE, ACKNOWLEDGEMENT, PROBE, CLOSE)
_MOST_ENTRIES = 20_000


class Post(NamedTuple):
    """What one request says."""

    #: A secret.
    session: str
    #: Who has posted, by the session of the app; None if nobody knows.
    user: str | None
    #: The number of the first message in the body.
    first: int
    #: As it came.
    body: bytes

    def encoded(self) -> bytes:
        """For another process."""
        head = json.dumps([self.session, self.user, self.first], separators=(",", ":"))
        return head.encode() + b"\n" + self.body


def decode_post(data: bytes) -> Post:
    """What another process has encoded. Raises `ResumeProtocolError`."""
    head, _, body = data.partition(b"\n")
    try:
        session, user, first = json.loads(head)
    except (ValueError, TypeError, RecursionError):
        raise ResumeProtocolError("what another process has posted has no head") from None
    if type(session) is not str or type(first) is not int or not isinstance(user, str | None):
        raise ResumeProtocolError("what another process has posted is of no session")
    return Post(session, user, first, body)


def parse_entries(body: bytes) -> list[Message]:
    """The messages and notes in a body. Raises `ResumeProtocolError`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ResumeProtocolError("the body is no JSON") from None
    if type(found) is not list or len(found) > _MOST_ENTRIES:
        raise ResumeProtocolError(f"the body is no list of at most {_MOST_ENTRIES} entries")
    return [_entry(each) for each in found]


def _entry(found: Any) -> Message:
    match found:
        case str():
            if found[:1] in _KINDS and _is_unicode(found):
                if found[0] == CLOSE:
                    parse_close(found)
                return found
        case {"b": str(encoded)}:
            message = _decoded(encoded)
            if message[:1] == BINARY_MESSAGE:
                return message
    raise ResumeProtocolError(f"no entry is {found!r:.60}")


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ResumeProtocolError("a binary message is no base64") from None


def parse_close(note: str) -> tuple[int, str]:
    """The code and the reason with which a client closes. Raises `ResumeProtocolError`."""
    digits, _, reason = note[1:].partition(" ")
    try:
        code = int(digits) if _CODE.fullmatch(digits) else 0
        check_close(code, reason)
    except ValueError as error:
        raise ResumeProtocolError(str(error)) from None
    return code, reason


def parse_first(text: str) -> int:
    """The number of a message. Raises `ResumeProtocolError`."""
    if text.isascii() and text.isdigit() and len(text) <= 16 and 0 < int(text) <= MAX_NUMBER:
        return int(text)
    raise ResumeProtocolError(f"{text!r:.20} is no number of a message")
