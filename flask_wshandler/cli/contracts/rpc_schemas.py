"""Messages of JSON-RPC 2.0, and those of streams, as JSON Schemas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter as Kinds
from typing import Any

from ...calls.messages import CANCEL, ITEM, PAUSE, RESUME
from ...calls.signatures import REQUIRED, Parameter, Signature

Json = dict[str, Any]

_ID = {"$ref": "#/components/schemas/jsonrpc.id"}
_VERSION = {"const": "2.0"}
COMMON: Json = {
    "jsonrpc.id": {
        "description": "Of a call; the caller's choice.",
        "oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 128}, {"type": "null"}],
    },
    "jsonrpc.error": {
        "type": "object",
        "properties": {
            "code": {"type": "integer"},
            "message": {"type": "string"},
            "data": {"description": "More about it, if anything."},
        },
        "required": ["code", "message"],
    },
}
"""Components that the others refer to."""


def _envelope(properties: Json, optional: Sequence[str] = ()) -> Json:
    return {
        "type": "object",
        "properties": {"jsonrpc": _VERSION, **properties},
        "required": ["jsonrpc", *(name for name in properties if name not in optional)],
    }


def _note(method: str, summary: str, **params: Any) -> Json:
    inner = {"type": "object", "properties": params, "required": list(params)}
    payload = _envelope({"method": {"const": method}, "params": inner})
    return {"name": method, "summary": summary, "payload": payload}


ERROR: Json = {
    "name": "error",
    "summary": "The answer to a call that has failed.",
    "payload": _envelope({"id": _ID, "error": {"$ref": "#/components/schemas/jsonrpc.error"}}),
}
NOTES: Json = {
    "cancel": _note(CANCEL, "The caller gives a call up, or a stream.", id=_ID),
    "pause": _note(PAUSE, "The caller has enough items of a stream for now.", id=_ID),
    "resume": _note(RESUME, "The caller takes more items of a stream.", id=_ID),
}
"""What callers send of their calls; the server cancels only."""


def item(value: Json) -> Json:
    """One item of a stream."""
    return _note(ITEM, "One item of the stream.", id=_ID, value=value)


def response(result: Json) -> Json:
    """The answer to a call."""
    return {"name": "response", "payload": _envelope({"id": _ID, "result": result})}


def request(method: str, params: Json, *, is_optional: bool, is_answered: bool) -> Json:
    """The payload of a call, or of a notification; `is_optional` says so of its parameters."""
    properties: Json = {"method": {"const": method}, "params": params}
    if is_answered:
        properties["id"] = _ID
    return _envelope(properties, ["params"] if is_optional else [])


def params_of_hub(call: Signature, schema_of: Callable[[Any], Json]) -> tuple[Json, bool]:
    """What a hub takes, by place or by name, and whether it may be left out."""
    named = [each for each in call.parameters if each.kind is not Kinds.VAR_POSITIONAL]
    placed = [each for each in call.parameters if each.kind is not Kinds.KEYWORD_ONLY]
    by_name = {
        "type": "object",
        "properties": {each.name: schema_of(each.type) for each in named},
        "required": [each.name for each in named if each.default is REQUIRED],
        "additionalProperties": False,
    }
    needs_names = any(
        each.kind is Kinds.KEYWORD_ONLY and each.default is REQUIRED for each in named
    )
    if needs_names:
        return by_name, False
    return {"oneOf": [_by_place(placed, schema_of), by_name]}, not by_name["required"]


def params_of_page(call: Signature, schema_of: Callable[[Any], Json]) -> tuple[Json, bool]:
    """What the server passes to a page, which is by place."""
    return _by_place(call.parameters, schema_of), False


def _by_place(parameters: Sequence[Parameter], schema_of: Callable[[Any], Json]) -> Json:
    places = [each for each in parameters if each.kind is not Kinds.VAR_POSITIONAL]
    rest = [schema_of(each.type) for each in parameters if each.kind is Kinds.VAR_POSITIONAL]
    found: Json = {
        "type": "array",
        "minItems": sum(each.default is REQUIRED for each in places),
    }
    if not rest:
        found["maxItems"] = len(places)
    if places:
        found["items"] = [{"title": each.name, **schema_of(each.type)} for each in places]
        found["additionalItems"] = rest[0] if rest else False
    elif rest:
        found["items"] = rest[0]
    return found
