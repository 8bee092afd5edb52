"""Who wants to hear of members that join and leave, and the thread that tells them.

Invariant: nobody who has news waits for a watcher; watchers are told in the order of the news.
"""

from __future__ import annotations

import collections
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from .presence import Presence

logger = logging.getLogger(__name__)

_MOST_NEWS = 10_000
"""Changes that wait for a slow watcher; past it the oldest are dropped."""


class Watcher(Protocol):
    """A collection that wants to hear who joins and leaves."""

    def on_presence(self, joined: list[Presence], left: list[Presence]) -> None: ...


class Watchers:
    """The watchers of all topics. Any thread."""

    def __init__(self, call: Callable[..., None]) -> None:
        """`call(function, *args)` calls what belongs to the user."""
        self._call = call
        self._changed = threading.Condition()
        # Guarded by _changed.
        self._watchers: dict[str, weakref.WeakSet[Any]] = {}  # of Watcher, a protocol
        self._news: collections.deque[tuple[str, list[Presence], list[Presence]]]
        self._news = collections.deque(maxlen=_MOST_NEWS)
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._is_telling = False
        #: How many news there have been.
        self.news_count = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is no news that a watcher has not been told."""
        with self._changed:
            return self._is_stopped or not (self._news or self._is_telling)

    def watched(self) -> list[tuple[str, Watcher]]:
        """The topics with who watches each."""
        with self._changed:
            return [(topic, each) for topic, all_ in self._watchers.items() for each in all_]

    def add(self, topic: str, watcher: Watcher) -> bool:
        """Tell `watcher` of a topic's news from now on. False if that is so already."""
        with self._changed:
            watchers = self._watchers.setdefault(topic, weakref.WeakSet())
            if watcher in watchers or self._is_stopped:
                return False
            watchers.add(watcher)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="wshandler-presence", daemon=True
                )
                self._thread.start()
            return True

    def tell(self, topic: str, joined: list[Presence], left: list[Presence]) -> None:
        """Have a topic's watchers told. Does not wait."""
        with self._changed:
            if topic in self._watchers:
                self.news_count += 1
                self._news.append((topic, joined, left))
                self._changed.notify()

    def stop(self) -> None:
        """End the thread after the call that runs."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_telling = False
                while not self._news and not self._is_stopped:
                    self._changed.wait()
                if self._is_stopped:
                    return
                topic, joined, left = self._news.popleft()
                watchers = list(self._watchers[topic])
                self._is_telling = True
            for watcher in watchers:
                try:
                    self._call(watcher.on_presence, joined, left)
                except Exception:
                    logger.exception("on_presence of %r", watcher)
