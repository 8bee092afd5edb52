"""A set of handlers to broadcast to, ASP.NET's `WebSocketCollection`, in all processes at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..bus import Bus
from ..handlers.handler import WebSocketHandler, find_member
from ..handlers.near_misses import check_callbacks, warn_of_near_misses
from ..protocol.errors import CloseCode
from ..protocol.frames import Sendable
from . import current, declared
from .history import History, LoggedMessage, checked_history
from .local_members import LocalMembers
from .presence import Presence
from .registry import CollectionRegistry
from .topics import Named, topic_of_collection

MAX_NAME_BYTES = 255

_WATCHING = ("on_presence", "on_metadata_update")
"""The callbacks by which a collection is watched."""


class WebSocketCollection:
    """The clients of a chat, a game, a page: a set of handlers.

    `name` makes it one collection in every process of the app, as `WSHANDLER_BUS` says, whatever
    process a client is connected to; a second object with the same name is the same collection.
    Without a name it is this process's and this object's own. `bus` is for programs outside of the
    app (see `flask_wshandler.bus.connect`).

    The set (`in`, `len`, iteration, `remove`, `clear`) is of the members in this process;
    `broadcast`, `close_all`, `count` and `presence` concern all. All methods may be called by any
    thread; in an app's callbacks and views they find the app by themselves, elsewhere if there is
    only one in the process. A handler that is closed leaves by itself, before its `on_close`.
    Members are told apart by identity, whatever their `__eq__` says.

    With `history` its broadcasts are kept: the last so many, for `history_s` seconds (a day). They
    have one order for all members, in all processes. Who joins gets the last `replay` of them (0)
    first; a client of `client.js`, or of `flask_wshandler.client`, goes on where it was, also if
    its process was killed meanwhile. Every object of that name should say the same. Raises
    TypeError or ValueError for what can't be.
    """

    _history: History | None = None

    def __init__(
        self,
        name: str | None = None,
        *,
        bus: Bus | None = None,
        history: int | None = None,
        history_s: float | None = None,
        replay: int | None = None,
    ) -> None:
        self.name = name
        self._bus = bus
        self._history = checked_history(history, history_s, replay)
        if name is None:
            self._topic = current.private_topic()
        else:
            self._topic = topic_of_collection(checked_name(name, "a collection's name"))
            if bus is None and self._history is not None:
                declared.note(self)

    def _registry(self) -> CollectionRegistry:
        if self.name is None:
            found = current.here()
        elif self._bus is None:
            found = current.of_current_app()
        else:
            found = current.of_bus(self._bus)
        if self._history is not None:
            self._declare(found, self._history)
        if self._watches and found.watch(self._topic, self):
            self.__dict__.setdefault("_watched_in", []).append(weakref.ref(found))
        return found

    def _declare(self, registry: CollectionRegistry, history: History) -> None:
        """Have all collections of this name have its history."""
        registry.logged.declare(self._topic, history)

    def _remembers(self, topic: Named) -> History | None:
        return self._history if topic == Named(str(self.name)) else None

    def _shown_history(self) -> tuple[Named, History] | None:
        return None if self._history is None else (Named(str(self.name)), self._history)

    @property
    def _watches(self) -> bool:
        # Asked at every broadcast, where a generator would cost half a microsecond more.
        return self._has_own("on_presence") or self._has_own("on_metadata_update")

    def _has_own(self, name: str) -> bool:
        """Whether a callback is overridden, or assigned to this object."""
        if name in self.__dict__:
            return self.__dict__[name] is not None
        return getattr(type(self), name) is not getattr(WebSocketCollection, name)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in _WATCHING:
            self._note_watching()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in _WATCHING:
            self._note_watching()

    def _note_watching(self) -> None:
        """A callback was assigned, or taken away."""
        watches = self._watches
        registries = self.__dict__.get("_watched_in", []) if watches else self._forget_registries()
        for found in [reference() for reference in registries]:
            if found is not None and watches:
                found.watch(self._topic, self)
            elif found is not None:
                found.unwatch(self._topic, self)

    def _forget_registries(self) -> list[weakref.ref[CollectionRegistry]]:
        forgotten: list[weakref.ref[CollectionRegistry]] = self.__dict__.pop("_watched_in", [])
        return forgotten

    def _release(self) -> None:
        """Nothing: a collection is kept by the app, and watched as long as it is."""

    # The set of members in this process.

    def add(self, handler: WebSocketHandler, /, **metadata: Any) -> bool:
        """Add `handler`. False if it was in already, or has closed.

        `metadata` is what `presence` tells of it in all processes: JSON, at most 4096 bytes. What
        is broadcast from now on by any process reaches `handler`, also if it is not open yet; to
        make sure of that, the first member in a process may wait for Redis, one second at most.

        Raises TypeError for what is no handler, and TypeError or ValueError for metadata that is
        no JSON or too large.
        """
        if not isinstance(handler, WebSocketHandler):
            raise TypeError(f"a member is a WebSocketHandler, not {type(handler).__name__}")
        return self._registry().add(self._topic, handler, metadata, self._history)

    def update_metadata(self, handler: WebSocketHandler, /, **changes: Any) -> bool:
        """Change what `presence` tells of `handler`. False if it is not in.

        `changes` are laid over the metadata that it has, as by `dict.update`, in one step. All who
        watch the collection are told, in all processes: see `on_metadata_update`. Never waits.

        Raises TypeError or ValueError for metadata that is no JSON or too large, as `add` does.
        """
        return self._registry().update_metadata(self._topic, handler, changes)

    def remove(self, handler: WebSocketHandler) -> bool:
        """Take `handler` out. Says whether it was in; a closed one has left by itself."""
        return self._registry().remove(self._topic, handler)

    def discard(self, handler: WebSocketHandler) -> None:
        """Take `handler` out if it is in."""
        self.remove(handler)

    def clear(self) -> None:
        """Take all members in this process out. Nobody is disconnected."""
        for handler in self:
            self.remove(handler)

    def __contains__(self, handler: object) -> bool:
        """Whether `handler` is a member in this process."""
        return find_member(handler) in self._here()

    def __len__(self) -> int:
        """How many members there are in this process."""
        return len(self._here())

    def __iter__(self) -> Iterator[WebSocketHandler]:
        """Over those who are in at this moment; adding and removing meanwhile changes nothing."""
        members = self._registry().members_here(self._topic)
        return iter(() if members is None else members.handlers())

    # All members, in all processes.

    def broadcast(self, message: Sendable, *, exclude: WebSocketHandler | None = None) -> None:
        """Send a text (str) or binary (bytes-like) message to all, but `exclude`.

        Never waits, for a client or another process; with `history` perhaps for others that
        broadcast, 250 ms at most. It is encoded once, and a member's failure touches no other.
        Raises TypeError for another type, ValueError past 32 MiB.
        """
        self._registry().broadcast(self._topic, message, exclude, self._history)

    def broadcast_json(self, obj: Any, *, exclude: WebSocketHandler | None = None) -> None:
        """Send `obj` as JSON in a text message to all, by the app's JSON provider."""
        self.broadcast(current.dumps(obj), exclude=exclude)

    def close_all(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close all members. Never waits; raises what `WebSocketHandler.close` does."""
        self._registry().close_all(self._topic, code, reason)

    def history(self, count: int) -> list[LoggedMessage]:
        """The last `count` of what was broadcast, the oldest of them first: for a page.

        (number, message, sent_at) each. May wait for Redis, one second at most. Raises RuntimeError
        if the collection has no history, `LogUnavailable` if that can't be read at this moment, and
        ValueError for a count below 0.
        """
        logged = self._registry().logged
        if self._history is None and logged.history_of(self._topic) is None:
            raise RuntimeError(f"{self!r} has no history: give it history=…, how much is kept")
        if count < 0:
            raise ValueError(f"count is {count}, but must be at least 0")
        return logged.newest(self._topic, count) if count else []

    def count(self) -> int:
        """How many members there are. See `presence`."""
        return self._registry().count(self._topic)

    def presence(self) -> list[Presence]:
        """All members: (process, connection id, metadata) each.

        The first call in a process asks the others and waits for them, one second at most; what
        was asked for in the last minute is kept up to date and is there at once. A process that
        was killed counts until its lease is over: `WSHANDLER_PRESENCE_LEASE`.
        """
        return self._registry().members(self._topic)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        warn_of_near_misses(cls, _WATCHING)
        check_callbacks(cls, _WATCHING)

    if TYPE_CHECKING:
        # To override as a method, or to assign to an object; a type checker lets nobody assign to
        # a method.
        on_presence: Callable[[list[Presence], list[Presence]], object] | None
        on_metadata_update: Callable[[list[Presence]], object] | None
    else:

        def on_presence(self, joined: list[Presence], left: list[Presence]) -> None:
            """Members have joined or left, in whatever process.

            Override it in a subclass, or assign a function to the object; None ends that. It is
            called in every process that has used this collection, one call after the other, in a
            thread for that, inside an app context. What it raises is logged.
            """

        def on_metadata_update(self, updated: list[Presence]) -> None:
            """The metadata of members is another now: see `update_metadata`.

            To be overridden or assigned like `on_presence`, and called like it, in one order with
            it.
            """

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"<{type(self).__name__}{name}>"

    def _here(self) -> LocalMembers | tuple[()]:
        members = self._registry().members_here(self._topic)
        return () if members is None else members


def checked_name(name: object, what: str) -> str:
    """`name`, if it can be one. Raises ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"{what} is a non-empty str, not {name!r}")
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise ValueError(f"{what} has {size} bytes, but at most {MAX_NAME_BYTES} are possible")
    return name
