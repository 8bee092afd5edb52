"""The requests of connections that were active lately.

To make a request from its environ takes 7 us, and to parse its query 5 more. Each is some
kilobytes, too much for every idle connection: a process keeps `_MOST` of them.

What a callback does to its `request` is seen by no other: one that was changed is replaced after
it. What Werkzeug has computed from the environ (`args`, `cookies`) stays, if it can't change.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

from flask import Request
from werkzeug.datastructures import (
    ImmutableDict,
    ImmutableList,
    ImmutableMultiDict,
    RequestCacheControl,
)

from ..runtime.first_use import MadeOnFirstUse
from .request_attributes import OF_BODY, is_computed_by_framework
from .tracked import Changes, Tracked, TrackedDict, tracked

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from werkzeug.routing import MapAdapter

_MOST = 1024
"""At 4 to 5 kB each."""

_IMMUTABLE = (
    str, bytes, int, float, type(None),
    ImmutableDict, ImmutableList, ImmutableMultiDict, RequestCacheControl,
)  # fmt: skip

_NOT_MADE: Any = object()


class NoRequest:
    """In the place of a `RecentRequest`."""

    request = None


NOT_USED_LATELY = NoRequest()
"""For the snapshot of a connection that would have one if it used it."""

UNKEPT = NoRequest()
"""For a snapshot that is to have none."""


class RecentRequest:
    """One connection's request, for one callback after the other."""

    __slots__ = (
        "_adapter", "_app", "_make", "changes", "is_reusable", "is_used", "known_attributes",
        "request",
    )  # fmt: skip

    request: Request

    def __init__(self, app: Flask, make: Callable[[type[Request] | None], Request]) -> None:
        """`make` makes a new request, of another class than the app's if one is given."""
        self._app = app
        self._make = make
        #: Whether it was used since somebody looked for one that was not.
        self.is_used = True
        self._adapter: MapAdapter | None = _NOT_MADE
        #: Whether the next callback may have it. What an app's own class makes for a request may
        #: refer to it, or be changed where that can't be seen from here.
        self.is_reusable = _is_plain(app.request_class)
        #: If there are any, the next callback gets another one.
        self.changes = Changes()
        #: How many of the request's are as the next callback may have them.
        self.known_attributes = 0
        self._renew()

    def _renew(self) -> None:
        if not self.is_reusable:
            self.request = self._make(None)
            return
        request = self.request = self._make(tracked(self._app.request_class))
        environ = cast("TrackedDict[str, Any]", request.environ)  # `make`'s
        view_args: TrackedDict[str, Any] = TrackedDict(request.view_args or {})
        request.view_args = view_args
        self.changes = environ.changes = view_args.changes = cast("Tracked", request).changes
        self.changes.any = False  # what its making has set
        self.known_attributes = len(vars(request))

    @property
    def url_adapter(self) -> MapAdapter | None:
        """What URLs are built with."""
        if self._adapter is _NOT_MADE:
            request = self._make(None)  # of its own, because Flask sets an attribute of it
            self._adapter = self._app.create_url_adapter(request)
            break_cycle(request)
        return self._adapter

    def tidy(self) -> None:
        """Have the request as the next callback is to find it, after one has left it otherwise."""
        self._learn()
        if self.changes.any:
            break_cycle(self.request)
            self._renew()

    def _learn(self) -> None:
        """Keep what was computed, unless it can be changed."""
        attributes = vars(self.request)
        if "files" in attributes:
            self.request.close()
        # A dict's new names are its last.
        for name, value in list(attributes.items())[self.known_attributes :]:
            if name in OF_BODY or (
                not isinstance(value, _IMMUTABLE)
                and is_computed_by_framework(self._app.request_class, name)
            ):
                del attributes[name]
        self.known_attributes = len(attributes)


def break_cycle(request: Request) -> None:
    """Let `request` go without the garbage collector, as Flask does."""
    request.environ["werkzeug.request"] = None


def _is_plain(cls: object) -> bool:
    return (
        isinstance(cls, type)
        and issubclass(cls, Request)
        and cls.__init__ is Request.__init__
        and cls.close is Request.close
        and cls.__setattr__ is object.__setattr__
        and cls.__delattr__ is object.__delattr__
        and not any(vars(base).get("__slots__") for base in cls.__mro__)
    )


class HasRecentRequest(Protocol):
    """A request's snapshot, as far as it concerns us."""

    recent: RecentRequest | NoRequest


class _Recent:
    """The snapshots that have a recent request. Any thread."""

    _lock = MadeOnFirstUse(lambda _: threading.Lock())

    def __init__(self) -> None:
        # Guarded by _lock, as `recent` of snapshots is. In the order in which they came.
        self._snapshots: dict[int, HasRecentRequest] = {}

    def add(self, snapshot: HasRecentRequest, request: RecentRequest) -> None:
        """Keep `request`, unless there is one, and let go of one that was not used lately."""
        gone = None
        with self._lock:
            if snapshot.recent is not NOT_USED_LATELY:
                return
            snapshot.recent = request
            self._snapshots[id(snapshot)] = snapshot
            if len(self._snapshots) > _MOST:
                gone = self._take_unused()
        # Without the lock, because the app's objects may go with it.
        if gone is not None:
            break_cycle(gone[1].request)

    def remove(self, snapshot: HasRecentRequest) -> None:
        """Keep none for `snapshot` from now on."""
        with self._lock:
            gone, snapshot.recent = snapshot.recent, UNKEPT
            self._snapshots.pop(id(snapshot), None)
        if gone.request is not None:
            break_cycle(gone.request)

    def _take_unused(self) -> tuple[HasRecentRequest, RecentRequest]:
        """The oldest that was not used since its last turn; each is passed over once."""
        while True:
            key = next(iter(self._snapshots))
            snapshot = self._snapshots.pop(key)
            request = snapshot.recent
            assert isinstance(request, RecentRequest)
            if not request.is_used:
                snapshot.recent = NOT_USED_LATELY
                return snapshot, request
            request.is_used = False
            self._snapshots[key] = snapshot


recent_requests = _Recent()
"""Of this process."""
