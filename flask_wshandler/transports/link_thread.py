"""One link, served by a thread or greenlet of its own, where clients are not served on epoll."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..runtime import logs, threads
from .channel import RECHECK
from .readiness import READABLE, WakeUp, new_watch

if TYPE_CHECKING:
    from ..runtime.timer import Timer
    from .link import Link
    from .readiness import Watch

logger = logs.logger(__package__)


class LinkThread:
    """Serves a link until it is released."""

    def __init__(self, timer: Timer) -> None:
        """Raises OSError if there is no descriptor for it."""
        self.timer = timer
        # Guards the setting of _wake_up against its closing. Reentrant: a `__del__` may send.
        self._wake_lock = threading.RLock()
        self._wake_up = WakeUp()
        self._is_over = False

    def start(self, link: Link) -> None:
        """Begin. Raises RuntimeError if the system has no thread at this moment."""
        thread = threads.BackgroundThread(
            "gateway",
            lambda: self._run(link),
            logger,
            may_wait_for_logs=True,
            is_repeated=False,
        )
        if not thread.start():
            thread.end()
            self._end()
            raise RuntimeError("no thread can start to serve a gateway")

    # What the link needs. Any thread.

    def watch(self, link: Link) -> None:
        """The link has another socket."""
        del link
        self._wake()

    def wants_changed(self, link: Link) -> None:
        """Watch for other events."""
        del link
        self._wake()

    def request_turn(self, link: Link, events: int) -> None:
        """Take a turn."""
        del link, events  # it looks at all of it
        self._wake()

    def release(self, link: Link) -> None:
        """The socket is about to be closed."""
        del link
        self._wake()

    def _wake(self) -> None:
        with self._wake_lock:
            if not self._is_over:
                self._wake_up.set()

    # Its thread.

    def _run(self, link: Link) -> None:
        watched: tuple[int, int] | None = None
        watch = new_watch()
        try:
            while not link.is_released:
                wanted = link.socket.fileno(), link.wanted_events
                if wanted != watched:
                    watched = wanted
                    watch = self._new_watch(link)
                events = 0
                for descriptor, found in watch.wait(None):
                    if descriptor == self._wake_up.fileno():
                        self._wake_up.clear()
                        events |= RECHECK
                    else:
                        events |= found
                link.serve(events)
        finally:
            self._end()

    def _new_watch(self, link: Link) -> Watch:
        watch = new_watch()
        watch.register(self._wake_up, READABLE)
        # Not for nothing: a stream that has ended would be told of again and again.
        if link.wanted_events and link.socket.fileno() >= 0:
            watch.register(link.socket, link.wanted_events)
        return watch

    def _end(self) -> None:
        with self._wake_lock:
            if not self._is_over:
                self._is_over = True
                self._wake_up.close()
