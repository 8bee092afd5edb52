"""The thread of the bus of one machine: it waits for sockets, and does what it is ordered to.

Invariant: only the thread uses the selector, and closes what is registered with it; other threads
give it orders. An order stays until it is done: one that fails is tried again at the next check.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..runtime import faults, lifecycle, locks, logs, threads

logger = logs.logger(__package__)

_RETRY_S = 0.2
"""Until a selector can be made."""


class Owner(Protocol):
    """What a loop works for, named in the log. Called in the loop's thread, except `loop_is_up`."""

    @property
    def most_to_check_s(self) -> float:
        """The seconds until the next check, at most."""

    def loop_is_up(self, is_up: bool, reason: str) -> None:
        """Take note of whether the thread can do its work, and why it can or can't."""

    def loop_began(self) -> None:
        """Do what is to be done once in the thread."""

    def check(self) -> None:
        """Try again what has not worked."""

    def give_up(self, sock: object) -> None:
        """Have nothing more of a socket that can't be served, rather than the same again."""


class LoopThread:
    """A thread with a selector. It is started by the first order."""

    def __init__(self, owner: Owner, lock: locks.Lock) -> None:
        """`lock` is the owner's: it is held while orders are given, and not while they are done."""
        self._owner = owner
        self._thread = threads.BackgroundThread("bus", self._run, logger)
        self._lock = lock
        # Guarded by _lock.
        #: While the thread's selector is there.
        self._waker: socket.socket | None = None
        self._wakee: socket.socket | None = None
        #: Each stays until it is done.
        self._orders: list[Callable[[], object]] = []
        self._is_ending = False
        # The thread's own.
        self._is_over = False
        self._selector: selectors.BaseSelector | None = None

    # Any thread, with the lock held.

    def order(self, order: Callable[[], object]) -> None:
        """Have the thread do something that only it may."""
        self._orders.append(order)
        self.start()
        if self._waker is not None:  # else it looks for orders when it is there
            with contextlib.suppress(OSError):  # full: it will wake up anyway
                self._waker.send(b"\0")

    def start(self) -> None:
        """Start the thread, unless it runs."""
        lifecycle.stop_at_exit()
        if not self._thread.start():
            self._owner.loop_is_up(False, "its thread can't start")

    @property
    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_running

    @property
    def has_orders(self) -> bool:
        """Whether something is still to be done."""
        return bool(self._orders)

    def end(self) -> None:
        """Have the thread end when all orders before this one are done."""
        self._is_ending = True
        if self._thread.is_running:
            self.order(self._end)
        self._thread.end()

    def _end(self) -> None:
        # In the thread: were this set by another, it could be gone before it was to be woken.
        self._is_over = True

    # Any thread, without the lock.

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, for `timeout_s` at most."""
        self._thread.join(timeout_s)
        if self._waker is not None:
            self._waker.close()

    def reset_after_fork(self) -> None:
        """In a forked child: close what it has inherited, which is still its parent's."""
        for sock in (self._waker, self._wakee):
            if sock is not None:
                sock.close()
        if self._selector is not None:
            self._selector.close()  # and nothing unregistered: an epoll set is shared

    # In the thread.

    def register(self, sock: socket.socket, events: int, serve: Callable[[Any], object]) -> None:
        """Have `serve(sock)` called whenever the socket is ready for `events`."""
        self._selector_of_thread.register(sock, events, serve)

    def unregister(self, sock: socket.socket) -> None:
        """Wait for a socket no more. Does nothing if it is not registered."""
        if sock.fileno() in self._selector_of_thread.get_map():
            self._selector_of_thread.unregister(sock)

    def is_registered(self, sock: socket.socket) -> bool:
        """Whether a socket is waited for."""
        return sock.fileno() in self._selector_of_thread.get_map()

    @property
    def _selector_of_thread(self) -> selectors.BaseSelector:
        assert self._selector is not None  # the thread has it
        return self._selector

    def _run(self) -> None:
        self._owner.loop_began()
        while not self._is_over:
            if self._selector is None and not self._open():
                if self._is_ending:
                    return
                time.sleep(_RETRY_S)
                continue
            self._loop(self._selector_of_thread)
        self._close()

    def _open(self) -> bool:
        """Make what the thread waits with; False if there is no descriptor for it."""
        with contextlib.ExitStack() as opened:
            try:
                waker, wakee = map(opened.enter_context, socket.socketpair())
                waker.setblocking(False)
                wakee.setblocking(False)
                selector = opened.enter_context(selectors.DefaultSelector())
                selector.register(wakee, selectors.EVENT_READ, self._take_orders)
            except OSError as error:
                self._owner.loop_is_up(False, str(error))
                return False
            opened.pop_all()
        self._selector = selector
        with self._lock:
            self._waker, self._wakee = waker, wakee
        self._take_orders(wakee)
        return True

    def _close(self) -> None:
        selector = self._selector_of_thread
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)  # we register nothing else
            key.fileobj.close()
        selector.close()

    def _loop(self, selector: selectors.BaseSelector) -> None:
        check_at_s = time.monotonic() + self._owner.most_to_check_s
        while not self._is_over:
            now_s = time.monotonic()
            check_at_s = min(check_at_s, now_s + self._owner.most_to_check_s)
            for key, _ in selector.select(max(0.0, check_at_s - now_s)):
                try:
                    key.data(key.fileobj)
                except Exception as error:
                    self._note_fault(error)
                    self._owner.give_up(key.fileobj)
            if time.monotonic() >= check_at_s:
                if self._orders and self._wakee is not None:
                    self._take_orders(self._wakee)
                self._owner.check()
                check_at_s = time.monotonic() + self._owner.most_to_check_s

    def _take_orders(self, wakee: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            wakee.recv(4096)
        while True:
            with self._lock:
                if not self._orders:
                    break
                order = self._orders[0]
            try:
                order()
            except OSError as error:
                self._owner.loop_is_up(False, str(error))
                return  # the next check tries again
            except Exception as error:
                self._note_fault(error)
            with self._lock:
                del self._orders[0]
        self._owner.loop_is_up(True, "its thread runs")

    def _note_fault(self, error: Exception) -> None:
        faults.note("bus")
        logger.error("%s goes on", self._owner, error=error)
