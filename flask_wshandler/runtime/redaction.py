"""What logs and messages may show: values of clients and secrets of operators, made harmless.

Invariant: what `shown` and `one_line` return is printable and of bounded length. Whoever reads it
in a file, a terminal or a browser sees one piece of one line, whatever a client has sent.
"""

from __future__ import annotations

import json
import re

MAX_SHOWN_CHARS = 200
"""Of one value; its escapes make it up to six times as long."""

_MAX_SENTENCE_CHARS = 1000

_PLAIN = re.compile(r"[A-Za-z0-9._:<>\[\]/?@%+~-]+")

_PASSWORD = re.compile(r"(://[^:@]*:).*(?=@)|([?&](?:\w+_)?password=)[^&]*")


def without_password(text: str) -> str:
    """The address, or a text with one address in it, with `***` for its password."""
    return _PASSWORD.sub(r"\1\2***", text)


def shown(value: object) -> str:
    """A client's value for a log line: as it is if it can't be taken for anything else.

    Else it is a JSON string in ASCII. What is longer than `MAX_SHOWN_CHARS` is cut, and says so.
    None is "-".
    """
    if value is None:
        return "-"
    text = value if isinstance(value, str) else str(value)
    left_out = len(text) - MAX_SHOWN_CHARS
    if left_out > 0:
        return f"{_quoted(text[:MAX_SHOWN_CHARS])}(and {left_out} more characters)"
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def shown_path(path_info: str) -> str:
    """The `PATH_INFO` of a WSGI environ, whose characters are the bytes of the path (PEP 3333)."""
    return shown(path_info.encode("latin-1", "replace").decode("utf-8", "replace"))


def one_line(text: str, max_chars: int = _MAX_SENTENCE_CHARS) -> str:
    """A sentence that may have values of others in it: on one line, and not longer than that.

    What is not printable, such as a terminal's control characters and those that turn the writing
    around, is escaped.
    """
    left_out = len(text) - max_chars
    if left_out > 0:
        text = f"{text[:max_chars]} (and {left_out} more characters)"
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _quoted(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")
