"""The hubs of an app, and all that can be called of them and of their pages."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

from flask import Flask

from ...calls.signatures import Signature, calls_of, contract_of, signatures_of_contract
from ..routes import handlers_by_rule


class NotFound(Exception):
    """There is no hub, or none of that name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """A class, and what can be called of it, by the names on the wire."""

    cls: type
    calls: Mapping[str, Signature]
    #: Whether it is the page that has these, and the server that calls them.
    is_page: bool


@dataclasses.dataclass(frozen=True, slots=True)
class HubContract:
    """Both directions of a hub."""

    hub: Interface
    page: Interface | None

    def interfaces(self) -> Iterator[Interface]:
        """The hub's, then its page's."""
        yield self.hub
        if self.page is not None:
            yield self.page


def is_hub(cls: Any) -> bool:
    """Whether a handler is a class that clients call methods of."""
    return isinstance(cls, type) and bool(getattr(cls, "_wshandler_hub", False) or calls_of(cls))


def contract_of_hub(hub: type) -> HubContract:
    """What can be called. Raises TypeError and NameError for annotations that can't be used."""
    page = contract_of(hub)
    return HubContract(
        Interface(hub, _sorted(calls_of(hub)), is_page=False),
        None if page is None else Interface(page, _sorted(signatures_of_contract(page)), True),
    )


def _sorted(calls: Mapping[str, Signature]) -> Mapping[str, Signature]:
    return dict(sorted(calls.items()))


def hubs_of(app: Flask, names: Iterable[str], paths: Iterable[str]) -> list[HubContract]:
    """Those of the app's routes, and the classes at `paths` ("module:Name").

    With names, which are those of classes or endpoints, only these; with paths alone, no routes.
    Raises `NotFound`.
    """
    imported = [_class_at(path) for path in paths]
    wanted = set(names)
    found: dict[type, None] = {}
    if wanted or not imported:
        missing = set(wanted)
        for rule, handlers in handlers_by_rule(app):
            for cls in filter(is_hub, handlers):
                known = {rule.endpoint, cls.__name__, cls.__qualname__}
                if not wanted or known & wanted:
                    found[cls] = None
                    missing -= known
        if missing:
            raise NotFound(f"no hub of this app's routes is called {', '.join(sorted(missing))}")
    hubs = sorted(
        {*found, *imported}, key=lambda cls: (cls.__name__, cls.__module__, cls.__qualname__)
    )
    if not hubs:
        raise NotFound(
            "no route of this app has a hub; one that is made in a view is named by --class"
        )
    return [contract_of_hub(hub) for hub in hubs]


def _class_at(path: str) -> type:
    module_name, _, name = path.partition(":")
    try:
        found = reduce(getattr, name.split("."), importlib.import_module(module_name))
    except (ImportError, AttributeError, ValueError) as error:
        raise NotFound(f"{path!r} can't be imported: {error}") from None
    if not is_hub(found):
        raise NotFound(f"{path!r} is not a hub")
    assert isinstance(found, type)
    return found
