"""JSON-RPC 2.0: what is in a message, and how one is written. No I/O.

Bounds: an id is an int of at most 53 bits or a str of at most 128 characters; a batch has at most
`MOST_IN_BATCH` entries. How large a message may be, the connection says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from .errors import CallError, CallErrorCode, call_error

Id = int | str | None

ITEM = "$/item"
CANCEL = "$/cancel"
PAUSE = "$/pause"
RESUME = "$/resume"

MOST_IN_BATCH = 100
_LONGEST_ID = 128
_LARGEST_ID = 2**53

_NO_RAW = msgspec.Raw()
NO_ID = msgspec.UNSET
"""Of a notification."""


class _Error(msgspec.Struct):
    code: int
    message: str = ""
    data: Any = None


class Incoming(msgspec.Struct):
    """A request, a notification or a response."""

    jsonrpc: Literal["2.0"]
    id: int | float | str | msgspec.UnsetType | None = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw = _NO_RAW
    result: msgspec.Raw = _NO_RAW
    error: _Error | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def has_answer(self) -> bool:
        """Whether whoever sent it waits for a response."""
        return self.id is not msgspec.UNSET


class Invalid(msgspec.Struct):
    """What is none of them, and the error to answer with."""

    error: CallError


Batch = list[tuple[Incoming | Invalid, str]]
"""The entries, each with its own text."""

_decode = msgspec.json.Decoder(Incoming).decode
_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_params_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


def parse(text: str) -> Incoming | Invalid | Batch:
    """What is in a message: a list for a batch, which is not empty."""
    try:
        found = _decode(text)
    except Exception:
        return _parse_batch(text) if text.lstrip()[:1] == "[" else _parse_one(text)
    # As most are; all else is looked at more closely.
    if (
        type(found.id) is int
        and type(found.method) is str
        and -_LARGEST_ID < found.id < _LARGEST_ID
    ):
        return found
    return _checked(found)


def _parse_one(text: str | msgspec.Raw) -> Incoming | Invalid:
    try:
        found = _decode(text)
    except msgspec.ValidationError as error:
        return _invalid(text, str(error))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return Invalid(call_error(CallErrorCode.PARSE_ERROR))
    return _checked(found)


def _checked(found: Incoming) -> Incoming | Invalid:
    reason = _what_is_wrong(found)
    if reason is not None:
        return Invalid(call_error(CallErrorCode.INVALID_REQUEST, reason))
    return found


def _invalid(text: str | msgspec.Raw, reason: str) -> Invalid:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return Invalid(call_error(CallErrorCode.PARSE_ERROR))
    return Invalid(call_error(CallErrorCode.INVALID_REQUEST, reason))


def _what_is_wrong(found: Incoming) -> str | None:
    # Not by isinstance: a bool is no int to msgspec.
    kind = type(found.id)
    if kind is int:
        assert isinstance(found.id, int)
        if not -_LARGEST_ID < found.id < _LARGEST_ID:
            return "an id has at most 53 bits"
    elif kind is str:
        assert isinstance(found.id, str)
        if len(found.id) > _LONGEST_ID:
            return f"an id has at most {_LONGEST_ID} characters"
    elif kind is float:
        return "an id is an int, a str or null"
    if found.method is msgspec.UNSET:
        is_response = found.result is not _NO_RAW or found.error is not msgspec.UNSET
        return None if is_response else "there is neither a method nor a result"
    return None


def _parse_batch(text: str) -> Invalid | Batch:
    try:
        entries = _batch_decoder.decode(text)
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return Invalid(call_error(CallErrorCode.PARSE_ERROR))
    if not entries:
        return Invalid(call_error(CallErrorCode.INVALID_REQUEST, "a batch has entries"))
    if len(entries) > MOST_IN_BATCH:
        reason = f"a batch has at most {MOST_IN_BATCH} entries"
        return Invalid(call_error(CallErrorCode.INVALID_REQUEST, reason))
    return [(_parse_one(entry), bytes(entry).decode()) for entry in entries]


def id_in(params: msgspec.Raw) -> Id:
    """The id that a notification of ours is about; -1 if there is none, which no call has."""
    try:
        found = msgspec.json.decode(_params_decoder.decode(params)["id"], type=int | str)
    except (msgspec.DecodeError, KeyError, RecursionError, UnicodeError):
        return -1
    return found if isinstance(found, str) else int(found)


def error_in(response: Incoming) -> CallError | None:
    """The error that a response has, None for a result."""
    error = response.error
    if error is msgspec.UNSET or error is None:
        return None
    assert isinstance(error, _Error)
    return CallError(error.code, error.message, error.data)


# Writing.


def encoded(value: Any) -> bytes:
    """`value` as JSON. Raises TypeError or ValueError for what can't be written."""
    return _encoder.encode(value)


def request(number: int | str, method: str, arguments: Any) -> str:
    """A call that is answered: `arguments` are a list, or a dict by their names."""
    head = f'{{"jsonrpc":"2.0","id":{encoded(number).decode()},"method":{encoded(method).decode()}'
    return f'{head},"params":{encoded(arguments).decode()}}}'


def notification(method: str, arguments: Any) -> str:
    """A call that is not: `arguments` are a list, or a dict by their names."""
    head = f'{{"jsonrpc":"2.0","method":{encoded(method).decode()},"params":'
    return f"{head}{encoded(arguments).decode()}}}"


def result(id: Id, value: bytes) -> str:
    """The response with a result, which is JSON already."""
    if type(id) is int:
        return f'{{"jsonrpc":"2.0","id":{id},"result":{value.decode()}}}'
    return f'{{"jsonrpc":"2.0","id":{encoded(id).decode()},"result":{value.decode()}}}'


def error(id: Id, error: CallError) -> str:
    """The response with an error. What its data can't be written as is left out."""
    content: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        content["data"] = error.data
    try:
        written = encoded(content)
    except Exception:
        written = encoded({"code": int(error.code), "message": str(error.message)})
    return f'{{"jsonrpc":"2.0","id":{encoded(id).decode()},"error":{written.decode()}}}'


def item(id: Id, value: bytes) -> str:
    """One of a stream, which is JSON already."""
    head = f'{{"jsonrpc":"2.0","method":"{ITEM}","params":{{"id":{encoded(id).decode()}'
    return f'{head},"value":{value.decode()}}}}}'


def batch(responses: Iterable[str]) -> str:
    """The responses to a batch."""
    return f"[{','.join(responses)}]"
