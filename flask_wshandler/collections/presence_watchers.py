"""The collections that are told of members that join and leave, and the thread that tells them.

Invariant: what brings news never waits for a watcher; watchers are told in the order of the news.
"""

from __future__ import annotations

import collections
import weakref
from collections.abc import Callable
from typing import Protocol

from ..runtime import faults, locks, logs, threads
from .presence import Presence

logger = logs.logger(__package__)

_MOST_NEWS = 10_000
"""Changes that wait for a slow watcher; past it the oldest are dropped."""

_MOST_EMPTY = 1000
"""Groups without members whose assigned callbacks are remembered."""


class Watcher(Protocol):
    """A collection that is told of members that join and leave."""

    on_presence: Callable[[list[Presence], list[Presence]], object] | None

    on_metadata_update: Callable[[list[Presence]], object] | None

    def _release(self) -> None:
        """It has no members: let only the app keep it."""


News = tuple[str, str, tuple[list[Presence], ...]]
"""A topic, the name of a watcher's method, and its arguments."""


class Watchers:
    """The watchers of all topics. Any thread."""

    def __init__(self, call: Callable[..., None]) -> None:
        """`call(function, *args)` calls what belongs to the user."""
        self._call = call
        self._changed = locks.new_condition()
        # Guarded by _changed. There may be many topics, so what one takes is little.
        self._watchers: dict[str, tuple[weakref.ref[Watcher], ...]] = {}
        self._news: collections.deque[News] = collections.deque(maxlen=_MOST_NEWS)
        self._thread = threads.BackgroundThread(
            "presence", self._run, logger, may_wait_for_logs=True
        )
        self._is_stopped = False
        self._is_telling = False
        #: How many news there have been.
        self.news_count = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is no news that a watcher has not been told."""
        with self._changed:
            return self._is_stopped or not (self._news or self._is_telling)

    def topics(self) -> list[str]:
        """What is watched; what was added last is last."""
        with self._changed:
            return list(self._watchers)

    def of(self, topic: str) -> list[Watcher]:
        """The watchers of a topic."""
        with self._changed:
            references = self._watchers.get(topic, ())
        return [watcher for watcher in (each() for each in references) if watcher is not None]

    def watched(self) -> list[tuple[str, Watcher]]:
        """The topics that are watched, each with one that watches it."""
        return [(topic, each) for topic in self.topics() for each in self.of(topic)]

    def add(self, topic: str, watcher: Watcher) -> bool:
        """Tell `watcher` of a topic's news from now on. False if that is so already."""
        with self._changed:
            if self._is_stopped:
                return False
            watchers = self._watchers.pop(topic, ())
            if any(each() is watcher for each in watchers):
                self._watchers[topic] = watchers  # the last one, whatever it was before
                return False
            self._watchers[topic] = (*watchers, weakref.ref(watcher))
        self._thread.start()
        return True

    def remove(self, topic: str, watcher: Watcher) -> bool:
        """Tell `watcher` nothing from now on. Says whether nobody watches the topic any more."""
        with self._changed:
            watchers = self._watchers.pop(topic, ())
            kept = [each for each in watchers if each() is not None and each() is not watcher]
            rest = tuple(kept)
            if rest:
                self._watchers[topic] = rest
            return bool(watchers) and not rest

    def forget_unwatched(self) -> list[str]:
        """Forget the topics that nobody watches any more, and return them."""
        with self._changed:
            unwatched = [
                topic
                for topic, watchers in self._watchers.items()
                if all(each() is None for each in watchers)
            ]
            for topic in unwatched:
                del self._watchers[topic]
            return unwatched

    def release_empty(self, has_members: Callable[[str], bool]) -> None:
        """Of the watched collections without members let go what nobody else keeps.

        All but those that were watched last, for an app may watch a room before anybody is in it.
        """
        topics = self.topics()
        if len(topics) > _MOST_EMPTY:
            empty = [topic for topic in topics if not has_members(topic)]
            for topic in empty[:-_MOST_EMPTY]:
                for watcher in self.of(topic):
                    watcher._release()

    def tell(self, topic: str, joined: list[Presence], left: list[Presence]) -> None:
        """Have a topic's watchers told which members came and went. Does not wait."""
        self._add_news(topic, "on_presence", joined, left)

    def tell_updated(self, topic: str, updated: list[Presence]) -> None:
        """Have a topic's watchers told which members have other metadata now. Does not wait."""
        self._add_news(topic, "on_metadata_update", updated)

    def _add_news(self, topic: str, method: str, *arguments: list[Presence]) -> None:
        with self._changed:
            if topic in self._watchers:
                self.news_count += 1
                self._news.append((topic, method, arguments))
                self._changed.notify()

    def stop(self) -> None:
        """End the thread after the call that runs."""
        with self._changed:
            self._is_stopped = True
            self._thread.end()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_telling = False
                while not self._news and not self._is_stopped:
                    self._changed.wait()
                if self._is_stopped:
                    return
                topic, method, arguments = self._news.popleft()
                self._is_telling = True
            for watcher in self.of(topic):
                callback = getattr(watcher, method)
                if callback is None:
                    continue  # it has just been told to stop
                try:
                    self._call(callback, *arguments)
                except BaseException as error:
                    faults.note("presence")
                    logger.error("%s of %r", method, watcher, error=error)
            del arguments
