"""Types of Python as TypeScript has them, of what msgspec reads from JSON and writes to it.

Invariant: each class that occurs is declared once, whatever leads to it.
"""

from __future__ import annotations

import inspect
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect as found

from .type_names import parameter_name, property_name, type_names

Info = found.Type
_Declared = (
    found.StructType,
    found.DataclassType,
    found.TypedDictType,
    found.NamedTupleType,
    found.EnumType,
)
_Lists = (found.ListType, found.SetType, found.FrozenSetType, found.VarTupleType)
_PLAIN: dict[type, str] = {
    found.NoneType: "null",
    found.BoolType: "boolean",
    found.IntType: "number",
    found.FloatType: "number",
    **dict.fromkeys(
        (
            found.StrType,
            found.BytesType,
            found.ByteArrayType,
            found.MemoryViewType,
            found.DateTimeType,
            found.DateType,
            found.TimeType,
            found.TimeDeltaType,
            found.UUIDType,
            found.DecimalType,
        ),
        "string",
    ),
}
_FOR_ALL_ENUMS = "An enumeration."
"""Python 3.10's docstring of an enum without one."""


def comment(text: str, indent: str = "") -> str:
    """A comment for `text`, which can't end it; empty without a text."""
    lines = [line.rstrip() for line in text.replace("*/", "*\\/").splitlines()]
    if not lines:
        return ""
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    inner = "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines)
    return f"{indent}/**\n{inner}{indent} */\n"


def documentation(cls: Any) -> str:
    """What the author has written of a class; empty for what was made for it."""
    cls = getattr(cls, "__origin__", cls)
    text = cls.__dict__.get("__doc__") or ""
    is_made = text.startswith(f"{cls.__name__}(") or text == _FOR_ALL_ENUMS
    return "" if is_made else inspect.cleandoc(text)


class TypeScriptTypes:
    """The types that occur, from all that is read and all that is written."""

    def __init__(self, read: Sequence[Any], written: Sequence[Any], names: Sequence[Any]) -> None:
        """`read` is what the server gets, `written` what it sends; `names` are other classes.

        These have names, too, and are not declared here. Raises TypeError for what can't be JSON.
        """
        infos = found.multi_type_info([*read, *written])
        # By id: Literal[1] and Literal[True] are equal to some Pythons.
        self._infos = dict(zip(map(id, [*read, *written]), infos, strict=True))
        reached = _Reached()
        reached.add(infos)
        self._declared = sorted(reached.declared.values(), key=_order)
        self._read = _reached_from(infos[: len(read)])
        self._written = _reached_from(infos[len(read) :])
        classes = [*names, *(each.cls for each in self._declared)]
        given = type_names(classes)
        self.names = dict(zip(map(id, names), given, strict=False))
        declared_names = given[len(names) :]
        self._names = {
            _identity(each): name for each, name in zip(self._declared, declared_names, strict=True)
        }

    def expression(self, annotation: Any) -> str:
        """A type that was given to the constructor."""
        return self._expression(self._infos[id(annotation)])

    def _expression(self, info: Any) -> str:
        if isinstance(info, found.Metadata):
            return self._expression(info.type)
        if isinstance(info, _Declared):
            return self._names[_identity(info)]
        if isinstance(info, found.UnionType):
            parts = [self._expression(each) for each in info.types]
            # null comes last, however it was written.
            parts = sorted(dict.fromkeys(parts), key=lambda part: part == "null")
            return "unknown" if "unknown" in parts else " | ".join(parts)
        if isinstance(info, found.LiteralType):
            return _literals(info.values)
        if isinstance(info, _Lists):
            return f"{grouped(self._expression(info.item_type))}[]"
        if isinstance(info, found.TupleType):
            return f"[{', '.join(self._expression(each) for each in info.item_types)}]"
        if hasattr(info, "key_type"):
            return f"Record<string, {self._expression(info.value_type)}>"
        return _PLAIN.get(type(info), "unknown")

    def declarations(self) -> Iterator[str]:
        """All classes that occur, by their names."""
        for info in sorted(self._declared, key=lambda each: self._names[_identity(each)]):
            yield comment(documentation(info.cls)) + self._declaration(info)

    def _declaration(self, info: Any) -> str:
        name = self._names[_identity(info)]
        if isinstance(info, found.EnumType):
            return f"export type {name} = {_literals([each.value for each in info.cls])};\n"
        if isinstance(info, found.NamedTupleType) or getattr(info, "array_like", False):
            return f"export type {name} = [{', '.join(self._places(info))}];\n"
        members = "".join(self._members(info))
        return f"export interface {name} {{\n{members}}}\n"

    def _members(self, info: Any) -> Iterator[str]:
        if getattr(info, "tag_field", None) is not None:
            yield f"  {property_name(info.tag_field)}: {json.dumps(info.tag)};\n"
        for field in info.fields:
            mark = "?" if self._may_be_missing(info, field) else ""
            text = comment(_description(field.type), "  ")
            type_ = self._expression(field.type)
            yield f"{text}  {property_name(field.encode_name)}{mark}: {type_};\n"

    def _places(self, info: Any) -> Iterator[str]:
        if getattr(info, "tag_field", None) is not None:
            yield f"{parameter_name(info.tag_field)}: {json.dumps(info.tag)}"
        can_be_missing = [self._may_be_missing(info, field) for field in info.fields]
        for number, field in enumerate(info.fields):
            # What follows would move up.
            mark = "?" if all(can_be_missing[number:]) else ""
            yield f"{parameter_name(field.name)}{mark}: {self._expression(field.type)}"

    def _may_be_missing(self, info: Any, field: found.Field) -> bool:
        if field.required:
            return False
        if _identity(info) in self._read:
            return True
        # msgspec writes defaults, too, unless told otherwise. Without one it is UNSET's, or a
        # TypedDict's key that is not required.
        has_default = not (
            field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        )
        config = getattr(info.cls, "__struct_config__", None)
        return not has_default or bool(config is not None and config.omit_defaults)


class _Reached:
    """All classes that types lead to."""

    def __init__(self) -> None:
        self.declared: dict[Any, Any] = {}

    def add(self, infos: Iterable[Any]) -> None:
        waiting = deque(infos)
        while waiting:
            info = waiting.popleft()
            if isinstance(info, _Declared):
                if _identity(info) in self.declared:
                    continue
                self.declared[_identity(info)] = info
            waiting += _inner(info)


def _reached_from(infos: Iterable[Any]) -> set[Any]:
    reached = _Reached()
    reached.add(infos)
    return set(reached.declared)


def _inner(info: Any) -> Iterator[Any]:
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(each := getattr(info, name, None), Info):
            yield each
    for name in ("types", "item_types"):
        yield from getattr(info, name, ())
    yield from (field.type for field in getattr(info, "fields", ()))


def _identity(info: Any) -> Any:
    """Of what is one declaration: a class, or a generic one with its arguments."""
    return info.cls


def _order(info: Any) -> tuple[str, str, str]:
    cls = getattr(info.cls, "__origin__", info.cls)
    return cls.__module__, cls.__qualname__, str(info.cls)


def grouped(expression: str) -> str:
    """With what follows meant for all of it."""
    return f"({expression})" if " | " in expression else expression


def _literals(values: Iterable[Any]) -> str:
    texts = [json.dumps(each) for each in values]
    return " | ".join(sorted(texts, key=lambda text: text == "null")) or "never"


def _description(info: Any) -> str:
    if isinstance(info, found.Metadata):
        return str((info.extra_json_schema or {}).get("description", ""))
    return ""
