"""The collections and groups that this process's modules have made, and what each remembers.

A collection says what it remembers to the registry that it is used with, at its first use. In a
command's process it may never be used; so the command looks for it here, by its name.

Invariant: what nobody else keeps is not here.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Protocol

from .history import History
from .topics import Named


class Declaring(Protocol):
    """A collection, or groups."""

    def _remembers(self, topic: Named) -> History | None:
        """What is kept of `topic`; None if nothing is, or it is not of this one."""

    def _shown_history(self) -> tuple[Named, History] | None:
        """Whose history this is, and what is kept; of groups the key is empty."""


# By a number: what an app derives from a collection may have an `__eq__`, and no hash.
_numbers = itertools.count()
_declaring: weakref.WeakValueDictionary[int, Declaring] = weakref.WeakValueDictionary()


def note(declaring: Declaring) -> None:
    """`declaring` belongs to whatever app of this process it is used with."""
    _declaring[next(_numbers)] = declaring


def history_of(topic: Named) -> History | None:
    """What is kept of a collection or group; None if nothing is, as far as is known here."""
    for each in _all():
        found = each._remembers(topic)
        if found is not None:
            return found
    return None


def histories() -> list[tuple[Named, History]]:
    """All that is remembered; of groups once, with an empty key."""
    found = [each._shown_history() for each in _all()]
    return sorted({each for each in found if each is not None}, key=lambda each: str(each[0]))


def _all() -> list[Declaring]:
    found = [reference() for reference in _declaring.valuerefs()]
    return [each for each in found if each is not None]
