"""Arguments and results against their types, by msgspec."""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from inspect import Parameter as Kinds
from typing import Any, Union

import msgspec

from .errors import CallErrorCode, call_error
from .signatures import REQUIRED, Parameter, Signature, Unreadable, is_notification

_PLACE = re.compile(r"`\$\[(\d+)\]")
_NO_NAMES: dict[str, Any] = {}
_UNSET = msgspec.UNSET
_astuple = msgspec.structs.astuple
_encode = msgspec.json.Encoder().encode
_NO_PARAMS = (b"", b"[]", b"{}")


class ArgumentsDecoder:
    """Reads the parameters of one call, by their places or by their names."""

    def __init__(self, signature: Signature) -> None:
        """Raises `Unreadable` for a type that msgspec can't have."""
        self._signature = signature
        named = [each for each in signature.parameters if each.kind is not Kinds.VAR_POSITIONAL]
        self._names = [each.name for each in named]
        placed = [each for each in named if each.kind is not Kinds.KEYWORD_ONLY]
        self._placed_names = [each.name for each in placed]
        rest = [each.type for each in signature.parameters if each.kind is Kinds.VAR_POSITIONAL]
        self._rest_type: Any = types.GenericAlias(list, rest[0]) if rest else None
        #: Whether it can be called without any, and by places at all.
        self._needs_none = all(each.default is not REQUIRED for each in named)
        self._can_be_placed = all(
            each.default is not REQUIRED for each in named if each.kind is Kinds.KEYWORD_ONLY
        )
        self._by_place: msgspec.json.Decoder[Any]
        self._by_name: msgspec.json.Decoder[Any]
        self._by_place = msgspec.json.Decoder(self._struct(placed, is_array=True))
        self._by_name = msgspec.json.Decoder(self._struct(named, is_array=False))
        self._decode_placed = self._by_place.decode
        #: Whether nothing has to be done with what is given by places.
        self._is_plain = not rest and self._can_be_placed

    def _struct(self, parameters: Sequence[Parameter], *, is_array: bool) -> type:
        # In other names: a parameter may be called like something that a struct has.
        fields: list[Any] = []
        for number, each in enumerate(sorted(parameters, key=_has_default)):
            if each.default is REQUIRED:
                fields.append((f"p{number}", each.type))
            else:
                optional = Any if each.type is Any else Union[each.type, msgspec.UnsetType]  # noqa: UP007
                fields.append((f"p{number}", optional, msgspec.UNSET))
        names = {f"p{n}": each.name for n, each in enumerate(sorted(parameters, key=_has_default))}
        try:
            struct = msgspec.defstruct(
                "Arguments", fields, array_like=is_array, forbid_unknown_fields=True, rename=names
            )
            msgspec.json.schema(struct)  # which has no place for what is no type of JSON's
        except Exception as error:
            raise Unreadable(
                f"{self._signature.shown_name} has a parameter of a type that can't be read from "
                f"JSON: {error}"
            ) from error
        return struct

    def decode(self, params: msgspec.Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments. Raises `CallError` (-32602), whose data says what is wrong where."""
        if self._is_plain:
            try:
                found = _astuple(self._decode_placed(params))
            except Exception:
                pass  # by their names, or wrong
            else:
                while found and found[-1] is _UNSET:
                    found = found[:-1]
                return found, _NO_NAMES
        raw = bytes(params)
        if raw[:1] not in (b"", b"[", b"{"):
            reason = "params is an array or an object"
            raise call_error(CallErrorCode.INVALID_REQUEST, reason)
        try:
            if raw in _NO_PARAMS and self._needs_none:
                return (), {}
            if raw[:1] == b"{":
                return (), self._named(raw)
            if not self._can_be_placed:
                raise call_error(CallErrorCode.INVALID_PARAMS, "the parameters have names")
            return self._placed(raw or b"[]"), {}
        except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError) as error:
            reason = _PLACE.sub(self._name_of_place, str(error)).replace("`$.", "`")
            raise call_error(CallErrorCode.INVALID_PARAMS, reason) from None

    def _placed(self, raw: bytes) -> tuple[Any, ...]:
        if self._rest_type is not None:
            return self._placed_with_rest(raw)
        found = _astuple(self._decode_placed(raw))
        while found and found[-1] is _UNSET:
            found = found[:-1]
        return found

    def _placed_with_rest(self, raw: bytes) -> tuple[Any, ...]:
        values = msgspec.json.decode(raw, type=list[Any])
        count = len(self._placed_names)
        head = msgspec.convert(values[:count], self._by_place.type)
        rest = msgspec.convert(values[count:], self._rest_type)
        found = msgspec.structs.astuple(head)
        return (*(each for each in found if each is not msgspec.UNSET), *rest)

    def _named(self, raw: bytes) -> dict[str, Any]:
        found = self._by_name.decode(raw)
        fields = msgspec.structs.fields(found)
        values = ((each.encode_name, getattr(found, each.name)) for each in fields)
        return {name: value for name, value in values if value is not msgspec.UNSET}

    def _name_of_place(self, match: re.Match[str]) -> str:
        place = int(match[1])
        names = self._placed_names
        return f"`{names[place]}" if place < len(names) else match[0]


def _has_default(parameter: Parameter) -> bool:
    return parameter.default is not REQUIRED


class ResultChecker:
    """Holds what a call returns, or an item of a stream, to its type, and writes it as JSON."""

    def __init__(self, signature: Signature) -> None:
        """Raises `Unreadable` for a type that msgspec can't have."""
        self._signature = signature
        self._type = None if is_notification(signature) else signature.returns
        self._is_checked = self._type is not Any
        #: What is of this very class is of the type.
        self._class = self._type if isinstance(self._type, type) else type(None)
        self.decoder: msgspec.json.Decoder[Any]
        try:
            self.decoder = msgspec.json.Decoder(self._type)
            msgspec.json.schema(self._type)
        except Exception as error:
            raise Unreadable(
                f"{signature.shown_name} returns a type that can't be written as JSON: {error}"
            ) from error

    def encode(self, value: Any) -> bytes:
        """`value` as JSON. Raises TypeError for what is not of the type that was promised."""
        if type(value) is self._class:
            return _encode(value)
        if self._is_checked:
            try:
                value = msgspec.convert(value, self._type, from_attributes=True)
            except msgspec.ValidationError as error:
                what = "yields" if self._signature.is_stream else "returns"
                raise TypeError(
                    f"{self._signature.shown_name} {what} {type(value).__name__}, which its "
                    f"annotation does not allow: {error}"
                ) from None
        return _encode(value)


def check_arguments(signature: Signature, arguments: tuple[Any, ...]) -> None:
    """Raise TypeError unless something can be called with so many arguments."""
    least = sum(each.default is REQUIRED for each in signature.parameters)
    most = len(signature.parameters)
    if any(each.kind is Kinds.VAR_POSITIONAL for each in signature.parameters):
        least, most = least - 1, len(arguments)
    if not least <= len(arguments) <= most:
        expected = least if least == most else f"{least} to {most}"
        raise TypeError(f"{signature.shown_name} takes {expected} arguments, not {len(arguments)}")


def converted_arguments(signature: Signature, arguments: tuple[Any, ...]) -> list[Any]:
    """`arguments` as their types say. Raises TypeError for what they do not allow."""
    check_arguments(signature, arguments)
    parameters = list(signature.parameters)
    while len(parameters) < len(arguments):
        parameters.append(parameters[-1])
    converted = []
    for parameter, argument in zip(parameters, arguments, strict=False):
        try:
            value = (
                argument
                if parameter.type is Any
                else msgspec.convert(argument, parameter.type, from_attributes=True)
            )
        except msgspec.ValidationError as error:
            raise TypeError(
                f"{signature.shown_name} takes no {type(argument).__name__} for {parameter.name}: "
                f"{error}"
            ) from None
        converted.append(value)
    return converted
