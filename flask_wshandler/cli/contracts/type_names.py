"""Names in TypeScript for classes in Python: each has one of its own, the same at every run."""

from __future__ import annotations

import itertools
import json
import re
import typing
from collections import Counter
from collections.abc import Sequence
from typing import Any

_IDENTIFIER = re.compile(r"[^\W\d][\w$]*")
_TAKEN = frozenset(
    re.findall(
        r"\w+",
        """
        Array AsyncIterable Iterable Partial Promise PromiseLike Readonly Record Stream

        abstract any arguments as asserts async await bigint boolean break case catch class const
        constructor continue debugger declare default delete do else enum eval export extends false
        finally for from function get if implements import in infer instanceof interface is keyof
        let module namespace never new null number object of out package private protected public
        readonly require return set static string super switch symbol this throw true try type
        typeof undefined unique unknown var void while with yield
        """,
    )
)
"""What TypeScript has already, or what is declared."""


def is_identifier(name: str) -> bool:
    """Whether `name` needs no quotes as the name of a property."""
    return _IDENTIFIER.fullmatch(name) is not None and name.isascii()


def property_name(name: str) -> str:
    """`name`, quoted if it has to be."""
    return name if is_identifier(name) else json.dumps(name)


def parameter_name(name: str) -> str:
    """The name of a parameter, or of a tuple's place, which may be any."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    if plain[0].isdigit():
        plain = f"_{plain}"
    return f"{plain}_" if plain in _TAKEN else plain


def type_names(classes: Sequence[Any]) -> list[str]:
    """A name for each class or generic alias, in the order given.

    That of the class, where no other one has it; else with what it is nested in, else with its
    module, else with a number.
    """
    choices = [_choices(cls) for cls in classes]
    names = [each[0] for each in choices]
    for level in range(1, len(choices[0]) if choices else 0):
        counts = Counter(names)
        names = [
            name if counts[name] == 1 else more[level]
            for name, more in zip(names, choices, strict=True)
        ]
    return _numbered(names)


def _numbered(names: list[str]) -> list[str]:
    taken: set[str] = set()
    given = []
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        free = next(each for each in itertools.chain([name], numbered) if each not in taken)
        taken.add(free)
        given.append(free)
    return given


def _choices(cls: Any) -> tuple[str, str, str]:
    origin = typing.get_origin(cls) or cls
    arguments = "".join(f"_{_argument(each)}" for each in typing.get_args(cls))
    qualified = origin.__qualname__.replace("<locals>.", "")
    return (
        _cleaned(origin.__name__ + arguments),
        _cleaned(qualified + arguments),
        _cleaned(f"{origin.__module__}.{qualified}{arguments}"),
    )


def _argument(argument: Any) -> str:
    if typing.get_args(argument):
        return repr(argument).replace("typing.", "").replace(f"{argument.__module__}.", "")
    return str(getattr(argument, "__name__", argument))


def _cleaned(name: str) -> str:
    return parameter_name(re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_"))
