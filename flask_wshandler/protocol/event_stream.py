"""From messages to an event stream (WHATWG HTML, "Server-sent events"), in HTTP's chunks or not.

An event is a message. Where its text would not come out as it went in, which only a CR does, it
goes in base64; so does what is no text.
"""

from __future__ import annotations

import base64
import json

CONTENT_TYPE = "text/event-stream"

LAST_CHUNK = b"0\r\n\r\n"
"""RFC 9112 section 7.1."""


def message_event(payload: bytes, *, is_text: bool) -> bytes:
    """The event of a message; the payload of a text is UTF-8."""
    if not is_text:
        return _in_base64(b"binary", payload)
    if b"\r" in payload:
        return _in_base64(b"text", payload)
    return b"data: " + payload.replace(b"\n", b"\ndata: ") + b"\n\n"


def _in_base64(kind: bytes, payload: bytes) -> bytes:
    return b"event: " + kind + b"\ndata: " + base64.b64encode(payload) + b"\n\n"


def close_event(code: int, reason: str) -> bytes:
    """What stands in the place of a close frame."""
    said = json.dumps([code, reason], separators=(",", ":"))
    return f"event: close\ndata: {said}\n\n".encode()


def chunk(data: bytes) -> bytes:
    """One chunk. It begins with a 0: see `frames.is_data_frame`."""
    return b"0%x\r\n%b\r\n" % (len(data), data)
