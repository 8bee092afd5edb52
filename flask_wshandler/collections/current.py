"""Which registry is meant: that of an app, of a bus, or the one that is this process's alone.

Invariant: apps are kept by whoever uses them, and not by this module.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

import flask.json
from flask import current_app

from ..bus import Bus, NoBus
from ..handlers.json_text import written_by
from ..history.choice import log_on
from ..history.log import DEFAULT_SIZE_BYTES
from ..runtime import lifecycle
from .registry import CollectionRegistry

if TYPE_CHECKING:
    from flask import Flask

COLLECTIONS_KEY = "wshandler.collections"
"""Under which `app.extensions` has what an app's registry is found by."""


class HasRegistry(Protocol):
    """Of an app's state, what collections need."""

    @property
    def collections(self) -> CollectionRegistry:
        """Made on first use in a process."""


known_apps: weakref.WeakSet[Flask] = weakref.WeakSet()
"""Apps of this process that have WebSockets."""

apps_set_aside: weakref.WeakSet[Flask] = weakref.WeakSet()
"""Those of them that are meant only where no other can be."""


def add_app(app: Flask, state: HasRegistry) -> None:
    """Have the collections of `app` be those of `state`."""
    app.extensions[COLLECTIONS_KEY] = state
    known_apps.add(app)
    apps_set_aside.discard(app)


def set_aside(app: Flask) -> None:
    """`app` is not used any more, as far as is known: the next one is meant, when there is one.

    So tests may make one app after the other: what they have done with is gone only when the
    garbage collector has found it. Until `add_app` is called again.
    """
    apps_set_aside.add(app)


def registry_of(app: Flask) -> CollectionRegistry:
    """The registry of an app that has WebSockets."""
    return cast("HasRegistry", app.extensions[COLLECTIONS_KEY]).collections


def of_current_app() -> CollectionRegistry:
    """The registry of the current app, or of the only app there is.

    Raises RuntimeError if there is none, or several could be meant.
    """
    if current_app:
        state: HasRegistry | None = current_app.extensions.get(COLLECTIONS_KEY)
        if state is not None:
            return state.collections
    apps = _apps_in_use()
    if len(apps) > 1:
        raise RuntimeError(
            f"there are {len(apps)} apps with WebSockets in this process: use the collection "
            "inside the app context of one of them"
        )
    if not apps:
        raise RuntimeError(
            "a named collection is its app's, and there is no app with WebSockets in this "
            "process, so nobody would be reached: call WebSockets(app) first, or give the "
            "collection a bus (bus=flask_wshandler.bus.connect(…)) in a program without the app"
        )
    return registry_of(apps[0])


def dumps(obj: Any) -> str:
    """JSON by the provider of the current app, or of the only app there is; else by Flask's own.

    Raises TypeError for what can't be written.
    """
    apps = [] if current_app else _apps_in_use()
    return written_by(apps[0].json.dumps if len(apps) == 1 else flask.json.dumps, obj)


def _apps_in_use() -> list[Flask]:
    known = list(known_apps)
    return [app for app in known if app not in apps_set_aside] or known


# Without an app.


class _OfThisProcess:
    """What there is once in each process."""

    #: For collections without a name.
    registry = lifecycle.MadeOnFirstUse(lambda _: CollectionRegistry(NoBus()))


_process = _OfThisProcess()
_names: Iterator[int] = itertools.count(1)


def here() -> CollectionRegistry:
    """The registry that has nothing to do with other processes."""
    return _process.registry


def private_topic() -> str:
    """A topic for a collection without a name, of the registry that is `here`."""
    return f"#{next(_names)}"


_of_bus: weakref.WeakKeyDictionary[Bus, CollectionRegistry] = weakref.WeakKeyDictionary()
_of_bus_lock = lifecycle.ModuleLock()


def of_bus(bus: Bus) -> CollectionRegistry:
    """The registry of a bus that was connected to outside of an app."""
    with _of_bus_lock:
        found = _of_bus.get(bus)
        if found is None:
            found = _of_bus[bus] = CollectionRegistry(
                bus, make_log=lambda: log_on(bus, DEFAULT_SIZE_BYTES)
            )
        return found
