"""The requests of connections that were active lately.

To make a request from its environ takes 7 us, to parse its query 5 more, to look whether one is
still as it was made 0.5. Each is some kilobytes, too much for every idle connection: a process
keeps `_MOST` of them.

What a callback does to its `request` is seen by no other: one that was changed is replaced after
it. What Werkzeug has computed from the environ (`args`, `cookies`) may stay, if it can't change.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

from flask import Request
from werkzeug.datastructures import (
    EnvironHeaders,
    ImmutableDictMixin,
    ImmutableListMixin,
    ImmutableMultiDict,
)

from ..process import MadeOnFirstUse
from .attributes import OF_BODY, is_computed_by_framework, is_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from werkzeug.routing import MapAdapter

    from .snapshot import RequestSnapshot

_MOST = 1024
"""At 4 to 5 kB each."""

_IMMUTABLE = (
    str, bytes, int, float, type(None), ImmutableMultiDict, ImmutableDictMixin, ImmutableListMixin,
)  # fmt: skip

UNKEPT: Any = object()
"""Instead of the recent request of a snapshot that is to have none."""

_NOT_MADE: Any = object()


class RecentRequest:
    """One connection's request, for one callback after the other."""

    __slots__ = (
        "_adapter", "_app", "_attributes", "_environ", "_is_handed_on", "_make", "_view_args",
        "is_reusable", "is_used", "request",
    )  # fmt: skip

    def __init__(self, app: Flask, make: Callable[[], Request]) -> None:
        """`make` makes a new request."""
        self._app = app
        self._make = make
        #: Whether it was used since somebody looked for one that was not.
        self.is_used = True
        self._adapter: MapAdapter | None = _NOT_MADE
        self._use(make())
        cls = type(self.request)
        #: Whether the next callback may have it. What an app's own class makes for a request may
        #: refer to it, or be changed where that can't be seen from here.
        self.is_reusable = (
            cls.__init__ is Request.__init__
            and cls.close is Request.close
            and not any(vars(base).get("__slots__") for base in cls.__mro__)
        )

    def _use(self, request: Request) -> None:
        self.request = request
        self._attributes = vars(request).copy()
        self._environ = request.environ.copy()
        self._view_args = dict(request.view_args or {})
        self._is_handed_on = False

    @property
    def url_adapter(self) -> MapAdapter | None:
        """What URLs are built with."""
        if self._adapter is _NOT_MADE:
            self._adapter = self._app.create_url_adapter(self.request)
        return self._adapter

    def hand_on(self) -> None:
        """Another thread goes on with the request of this callback; the next gets another."""
        self._is_handed_on = True

    def let_go(self) -> None:
        """A callback is done with the request."""
        attributes = self.request.__dict__
        if len(attributes) != len(self._attributes):
            self._learn()
        if (
            self._is_handed_on
            or attributes != self._attributes
            or attributes["environ"] != self._environ
            or attributes["view_args"] != self._view_args
        ):
            self._use(self._copy())

    def _learn(self) -> None:
        """Keep what was computed; leave what the app has set."""
        request, attributes = self.request, vars(self.request)
        if "files" in attributes:
            request.close()
        new = None
        for name in attributes.keys() - self._attributes.keys():
            value = attributes[name]
            if name in OF_BODY:
                del attributes[name]
            elif isinstance(value, _IMMUTABLE) and is_computed_by_framework(type(request), name):
                new = new or self._make()
                if is_same(getattr(new, name), value):
                    self._attributes[name] = value

    def _copy(self) -> Request:
        """The request as it was before the callback."""
        attributes = self._attributes.copy()
        environ = attributes["environ"] = self._environ.copy()
        if type(attributes["headers"]) is EnvironHeaders:
            attributes["headers"] = EnvironHeaders(environ)
        attributes["view_args"] = self._view_args.copy()
        environ["wsgi.input"] = io.BytesIO()
        request: Request = object.__new__(type(self.request))
        request.__dict__ = attributes
        self.break_cycle()
        environ["werkzeug.request"] = request
        return request

    def break_cycle(self) -> None:
        """Let the request go without the garbage collector."""
        self.request.environ["werkzeug.request"] = None


class _Recent:
    """The snapshots that have a recent request. Any thread."""

    _lock = MadeOnFirstUse(lambda _: threading.Lock())

    def __init__(self) -> None:
        # Guarded by _lock, as `recent` of snapshots is. In the order in which they came.
        self._snapshots: dict[int, RequestSnapshot] = {}

    def add(self, snapshot: RequestSnapshot, request: RecentRequest) -> None:
        """Keep `request`, unless there is one, and let go of one that was not used lately."""
        gone = None
        with self._lock:
            if snapshot.recent is not None:
                return
            snapshot.recent = request
            self._snapshots[id(snapshot)] = snapshot
            if len(self._snapshots) > _MOST:
                gone = self._take_unused()
        # Without the lock, because the app's objects may go with it.
        if gone is not None:
            gone[1].break_cycle()

    def remove(self, snapshot: RequestSnapshot) -> None:
        """Keep none for `snapshot` from now on."""
        with self._lock:
            gone, snapshot.recent = snapshot.recent, UNKEPT
            self._snapshots.pop(id(snapshot), None)
        if gone is not None and gone is not UNKEPT:
            gone.break_cycle()

    def _take_unused(self) -> tuple[RequestSnapshot, RecentRequest]:
        """The oldest that was not used since its last turn; each is passed over once."""
        while True:
            key = next(iter(self._snapshots))
            snapshot = self._snapshots.pop(key)
            request = snapshot.recent
            assert request is not None
            if not request.is_used:
                snapshot.recent = None
                return snapshot, request
            request.is_used = False
            self._snapshots[key] = snapshot


recent_requests = _Recent()
"""Of this process."""
