"""Declarations in TypeScript of hubs and pages."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from inspect import Parameter as Kinds
from typing import Any

from ...calls.signatures import REQUIRED, Parameter, Signature, is_notification
from .hubs import HubContract, Interface
from .type_names import parameter_name, property_name
from .typescript_types import TypeScriptTypes, comment, documentation, grouped

_HEAD = "// Made by `flask websockets types`: what is changed here is lost.\n"
_LEFT_ALONE = ("then", "toJSON")
"""What JavaScript looks for in any object; calls.js has nothing there."""
_STREAM = (
    "/** What a stream gives: its items by `for await`, its end by `await`. */\n"
    "export type Stream<Item> = AsyncIterable<Item> & PromiseLike<null>;\n"
)


def typescript(contracts: Sequence[HubContract], calls_module: str | None = None) -> str:
    """A module that declares them. Raises TypeError for types that can't be JSON.

    `calls_module` is what `Stream` is imported from; without it it is declared.
    """
    interfaces: dict[type, Interface] = {}
    for contract in contracts:
        for each in contract.interfaces():
            interfaces[each.cls] = each
    types = TypeScriptTypes(*_directions(list(interfaces.values())), names=list(interfaces))
    parts = [_interface(each, types) for each in interfaces.values()]
    if any(call.is_stream for each in interfaces.values() for call in each.calls.values()):
        parts.insert(0, _STREAM if calls_module is None else _import(calls_module))
    return "\n".join([_HEAD, *parts, *types.declarations()])


def _import(calls_module: str) -> str:
    return f"import type {{ Stream }} from {json.dumps(calls_module)};\n"


def _directions(interfaces: Sequence[Interface]) -> tuple[list[Any], list[Any]]:
    """The types that the server reads, and those that it writes."""
    read: list[Any] = []
    written: list[Any] = []
    for interface in interfaces:
        given, returned = (written, read) if interface.is_page else (read, written)
        for call in interface.calls.values():
            given += [each.type for each in call.parameters]
            returned.append(call.returns)
    return read, written


def _interface(interface: Interface, types: TypeScriptTypes) -> str:
    methods = "".join(_methods(interface, types))
    head = comment(documentation(interface.cls))
    return f"{head}export interface {types.names[id(interface.cls)]} {{\n{methods}}}\n"


def _methods(interface: Interface, types: TypeScriptTypes) -> Iterator[str]:
    for name, call in interface.calls.items():
        obstacle = None if interface.is_page else _obstacle(call)
        if obstacle is not None:
            yield f"  // {property_name(name)} can't be called by calls.js: {obstacle}.\n"
            continue
        parameters = ", ".join(_parameters(call, types, interface.is_page))
        returned = (_offered if interface.is_page else _answered)(call, types)
        text = comment(call.doc, "  ")
        yield f"{text}  {property_name(name)}({parameters}): {returned};\n"


def _obstacle(call: Signature) -> str | None:
    if call.name in _LEFT_ALONE:
        return "it is JavaScript's own"
    if any(
        each.kind is Kinds.KEYWORD_ONLY and each.default is REQUIRED for each in call.parameters
    ):
        return "it takes parameters by name"
    return None


def _parameters(call: Signature, types: TypeScriptTypes, is_page: bool) -> Iterator[str]:
    """Those that have places: both ends of ours call so."""
    placed = [each for each in call.parameters if is_page or each.kind is not Kinds.KEYWORD_ONLY]
    names = _own_names(placed)
    for number, (each, name) in enumerate(zip(placed, names, strict=True)):
        type_ = types.expression(each.type)
        if each.kind is Kinds.VAR_POSITIONAL:
            yield f"...{name}: {grouped(type_)}[]"
            return
        is_optional = all(_can_be_left_out(later) for later in placed[number:])
        yield f"{name}{'?' if is_optional else ''}: {type_}"


def _own_names(parameters: Sequence[Parameter]) -> list[str]:
    names: list[str] = []
    for each in parameters:
        name = parameter_name(each.name)
        more = (f"{name}{number}" for number in itertools.count(2))
        names.append(next(free for free in itertools.chain([name], more) if free not in names))
    return names


def _can_be_left_out(parameter: Parameter) -> bool:
    return parameter.default is not REQUIRED or parameter.kind is Kinds.VAR_POSITIONAL


def _answered(call: Signature, types: TypeScriptTypes) -> str:
    """What the page gets of a call."""
    kind = "Stream" if call.is_stream else "Promise"
    return f"{kind}<{types.expression(call.returns)}>"


def _offered(call: Signature, types: TypeScriptTypes) -> str:
    """What a function of the page's returns."""
    if is_notification(call):
        return "void"
    returned = types.expression(call.returns)
    return f"{returned} | Promise<{returned}>" if returned != "unknown" else returned
