"""Messages that are in logs, and how far a client is in these, in what both ends say.

A message's place stands before it, a line's end between. A client gives the places that it has
heard of last back at its return: a server that has to make a new handler goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .endpoint import BINARY_MESSAGE, ResumeProtocolError, parse_place

if TYPE_CHECKING:
    from collections.abc import Iterable

LOGGED = "@"
BINARY_LOGGED = LOGGED.encode()
"""What a message begins with that has a place in a log. Without a line's end it is a note: that the
client is at that place. It has a number like a message, so that it arrives."""
GAP = "g"
"""What a note begins with that messages up to a place in a log can't be had; numbered, too."""

_MAX_HEAD_BYTES = 80
"""From the `@` to the line's end."""


def logged_head(place: str) -> bytes:
    """What stands before a message at that place, which begins with the stream."""
    return f"{LOGGED}{place}\n".encode()


def place_note(place: str) -> str:
    """The text message that says that a client is at that place."""
    return LOGGED + place


def gap_note(place: str) -> str:
    """The text message that says that messages up to a place can't be had."""
    return GAP + place


def parse_gap(text: str) -> tuple[str, str]:
    """The stream and the place up to which something is missing. Raises `ResumeProtocolError`."""
    return parse_place(text.removeprefix(GAP))


def split_text(message: str) -> tuple[tuple[str, str], str | None]:
    """Where a text is, and the text; None for a note. Raises `ResumeProtocolError`."""
    head, end, text = message.partition("\n")
    return parse_place(head[1:]), text if end else None


def split_binary(message: bytes) -> tuple[tuple[str, str], bytes]:
    """Where bytes are, and the bytes. Raises `ResumeProtocolError`."""
    end = message.find(b"\n", 0, _MAX_HEAD_BYTES)
    if end < 0:
        raise ResumeProtocolError("a place in a log ends nowhere")
    return parse_place(str(message[1:end], "ascii", "replace")), message[end + 1 :]


def place_after(payload: bytes, is_text: bool) -> tuple[str, str] | None:
    """Where its client is once it has a message that has a number; None for one that is in no log.

    Raises `ResumeProtocolError` for what has no number.
    """
    if payload.startswith(BINARY_MESSAGE):
        return None
    if payload.startswith(BINARY_LOGGED):
        is_note = is_text and b"\n" not in payload
        return split_binary(payload + b"\n" if is_note else payload)[0]
    if not is_text or not payload.startswith(GAP.encode()):
        raise ResumeProtocolError("a frame that has no number")
    return parse_gap(str(payload, "ascii", "replace"))


class Places:
    """Where a client is in logs, by stream. In one text: a dict of three takes half a kilobyte."""

    __slots__ = ("_text",)

    def __init__(self, places: Iterable[tuple[str, str]]) -> None:
        """Of several in one stream the last counts."""
        self._text = " ".join([f"{stream}.{place}" for stream, place in dict(places).items()])

    def __bool__(self) -> bool:
        return bool(self._text)

    def items(self) -> list[tuple[str, str]]:
        """Each stream and the place in it."""
        return [parse_place(each) for each in self._text.split()]

    def pop(self, stream: str) -> str | None:
        """Take out the place in `stream`; None if there is none."""
        places = dict(self.items())
        place = places.pop(stream, None)
        self._text = Places(places.items())._text
        return place


def own_size(payload: bytes) -> int:
    """How many bytes of a message are not the application's."""
    if payload.startswith(BINARY_MESSAGE):
        return len(BINARY_MESSAGE)
    if payload.startswith(BINARY_LOGGED):
        return payload.find(b"\n", 0, _MAX_HEAD_BYTES) + 1
    return len(payload)
