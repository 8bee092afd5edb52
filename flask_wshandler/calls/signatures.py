"""What can be called: the names, parameters and types, of a class of handlers and of a contract."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from inspect import Parameter as Kinds
from typing import Any

_STREAMS = (collections.abc.Iterator, collections.abc.Generator)
_KINDS = (
    Kinds.POSITIONAL_OR_KEYWORD,
    Kinds.POSITIONAL_ONLY,
    Kinds.KEYWORD_ONLY,
    Kinds.VAR_POSITIONAL,
)
_CALL = "_wshandler_call"

REQUIRED: Any = Kinds.empty
"""The default of a parameter that has none."""


class Unreadable(TypeError):
    """The types of something that can be called can't be used."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter."""

    name: str
    #: Any if nothing is said.
    type: Any
    default: Any
    #: One of `inspect.Parameter`'s.
    kind: Any


@dataclasses.dataclass(frozen=True)
class Signature:
    """One thing that can be called."""

    #: On the wire.
    name: str
    #: Of the class.
    attribute: str
    #: For people.
    shown_name: str
    parameters: tuple[Parameter, ...]
    #: Any if nothing is said; of a stream, the type of its items.
    returns: Any
    is_stream: bool
    doc: str
    #: Whether it runs beside the client's other callbacks.
    in_thread: bool = False


@dataclasses.dataclass(frozen=True)
class Mark:
    """What `call` notes at a function."""

    name: str
    in_thread: bool


def mark(function: Any, name: str, *, in_thread: bool) -> None:
    """Note that `function` can be called."""
    setattr(function, _CALL, Mark(name, in_thread))


def calls_of(cls: type) -> Mapping[str, Signature]:
    """What clients can call of a class, by name. Raises `Unreadable` and NameError."""
    found: dict[str, Signature] = {}
    for attribute in dir(cls):
        function = getattr(cls, attribute, None)
        marked: Mark | None = getattr(function, _CALL, None)
        if marked is None:
            continue
        if marked.name in found:
            other = found[marked.name].attribute
            raise TypeError(f"{cls.__qualname__}: {other} and {attribute} are both {marked.name!r}")
        found[marked.name] = _signature(cls, attribute, function, marked)
    return found


def signatures_of_contract(contract: type) -> Mapping[str, Signature]:
    """What a client offers, by name. Raises `Unreadable` and NameError."""
    found = {}
    for attribute in dir(contract):
        function = getattr(contract, attribute, None)
        if attribute.startswith("_") or not inspect.isfunction(function):
            continue
        found[attribute] = _signature(contract, attribute, function, Mark(attribute, False))
    return found


def _signature(cls: type, attribute: str, function: Any, marked: Mark) -> Signature:
    shown = f"{cls.__qualname__}.{attribute}"
    innermost = inspect.unwrap(function)
    if inspect.iscoroutinefunction(innermost) or inspect.isasyncgenfunction(innermost):
        raise Unreadable(f"{shown} is async; calls are plain functions, which may block")
    hints = typing.get_type_hints(innermost, include_extras=True)
    _, *parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.kind not in _KINDS:
            raise Unreadable(f"{shown} has **{parameter.name}, which can't be called")
    returns = hints.get("return", Any)
    is_stream = inspect.isgeneratorfunction(innermost) or typing.get_origin(returns) in _STREAMS
    if is_stream:
        of_what = typing.get_args(returns)
        returns = of_what[0] if of_what else Any
    return Signature(
        marked.name,
        attribute,
        shown,
        tuple(
            Parameter(each.name, hints.get(each.name, Any), each.default, each.kind)
            for each in parameters
        ),
        _answered(returns),
        is_stream,
        inspect.getdoc(function) or "",
        marked.in_thread,
    )


def _answered(returns: Any) -> Any:
    """The type that a client answers with: what is in `Answer[…]`."""
    origin = typing.get_origin(returns)
    if origin is not None and getattr(origin, "_wshandler_answer", False):
        return typing.get_args(returns)[0]
    return returns


def is_notification(signature: Signature) -> bool:
    """Whether what a contract has is not answered."""
    return signature.returns in (None, types.NoneType)


def contract_of(hub: type) -> type | None:
    """The contract in `Hub[…]` that a class derives from; None if there is none."""
    for cls in hub.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            origin = typing.get_origin(base)
            if origin is not None and getattr(origin, "_wshandler_hub", False):
                contract = typing.get_args(base)[0]
                if isinstance(contract, type):
                    return contract
    return None


def checked_name(name: object, function: Callable[..., Any]) -> str:
    """`name`, if something can be called so. Raises TypeError or ValueError."""
    if not isinstance(name, str):
        raise TypeError(f"a call's name is a str, not {name!r}")
    if not name or name.startswith(("_", "$", "rpc.")) or len(name) > 128:
        raise ValueError(
            f"{function.__qualname__} can't be called {name!r}: a call's name has 1 to 128 "
            "characters, and does not begin with _, $ or rpc."
        )
    return name
