"""The threads that read, run callbacks and write: as few as the callbacks allow.

One thread polls, and does at once what it was told of: an event loop, as long as callbacks are
quick. A monitor looks every 2 ms while there is work. When every thread that polls has been
inside one callback since the last look, it adds one, and twice as many each time if that goes on;
when it has not happened for a while, it lets some of them go. So callbacks that block get threads
of their own, and quick ones don't pay for them: threads that all wait on one epoll set fight for
the GIL (measured: 36 to 40 ms at the 99.9th percentile with eight of them, 3 ms with one).

Connections whose callbacks have blocked before wait in a queue of their own, and one thread is kept
from it: so what is quick does not stand in line behind what is slow when all other threads are
taken. A thread that serves one from that queue sees to it that another polls meanwhile; the monitor
is needed for callbacks that are not known to block. (10 quick clients beside 100 that sleep 10 ms,
on 32 threads: their 99th percentile was 24 ms when only the monitor did so, and is 0.3; on a busy
machine 40 to 50, and 3 to 9.)

What turns write while others wait for theirs is held back, and goes out after the last of them:
the sockets of up to 32 clients are read one after the other, and then written one after the other.
That is quicker for all of them (100 clients: 13.4 µs of processor per message rather than 15.2,
the 99th percentile 1.7 ms rather than 2.2), and one alone does not wait. The monitor lets go
of what has been held back since its last look.

Invariants: what is ready is in queues that any poller takes from, so nothing waits behind a
callback of another for longer than the monitor needs, neither what is to be read nor what is to be
written. An idle process sleeps: the monitor is woken by work and goes to sleep without it. A thread
that puts something into the slow queue looks at it afterwards, and so does one that is done with a
slow turn: nothing is left there while there is a thread for it. A thread that can't start is tried
again later, and lowers no limit.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from ..runtime import locks, logs, threads
from .pace import Pace

logger = logs.logger(__package__)

_LOOK_EVERY_S = 0.002
_CALM_LOOKS = 25
"""The monitor goes to sleep after this many looks without work, 50 ms."""
_LATE_S = 3 * _LOOK_EVERY_S
"""A look that comes so late shows that this process gets too little of the processor or of the GIL.
Then a poller that has not moved may have waited just for that: such a look counts half."""
_SPARE_POLL_S = 0.1
"""An extra poller looks this often whether it is still wanted."""
_SLOW_S = 0.001
"""A turn that is over sooner is a quick one."""
_SLOW_LOOKS = 2
"""A turn that has not moved for so many looks is a slow one. One look can be bad luck."""
_SUSPECT_TURNS = 1
_SLOW_TURNS = 16
"""What has been slow is quick again after so many quick turns: one after the first slow one, twice
as many after each that follows, up to these."""
_STOP_S = 1.0
"""How long a stop waits for threads inside callbacks."""
_MOST_CORKED = 32
"""So many turns' answers go out together, after the last of them."""
_PARKED_S = 10.0
"""A thread that is not wanted ends after this time."""


class Output(Protocol):
    """Where a turn writes."""

    #: Whether what is written is held back until `uncork`.
    is_corked: bool

    def uncork(self) -> None:
        """Let go of what is held back. Any thread, any number of times."""


class Pollable(Protocol):
    """What pollers serve when something is ready for it: a channel."""

    #: How many turns must be quick until it counts as quick again. The pollers' own; 0 at first.
    slow_turns: int

    @property
    def connection(self) -> Output:
        """Where it writes."""

    def serve(self, events: int) -> None:
        """Do what is to be done. May block; may not raise anything, a SystemExit included."""


class Source(Protocol):
    """Where the pollers wait."""

    def poll(self, seconds: float | None) -> Sequence[tuple[Pollable, int]]:
        """Wait for what is ready, at most so long, and for `wake`."""

    def wake(self, count: int) -> None:
        """Make so many calls of `poll`, running or next, return. Any thread."""


_Ready = tuple[Pollable, int]


class _Poller:
    """What the monitor knows of one thread."""

    __slots__ = (
        "call",
        "corked",
        "current",
        "is_in_slow_turn",
        "is_known_as_slow",
        "is_polling",
        "polls",
        "polls_seen",
        "seen",
        "stuck_in",
        "thread",
        "uncorks",
        "uncorks_seen",
        "unmoved_looks",
    )

    def __init__(self) -> None:
        #: Released to get the thread out of the park.
        self.call = threading.Semaphore(0)
        #: Set before it starts.
        self.thread: threads.BackgroundThread | None = None
        # The thread's.
        #: What it has taken last, until it looks for more. A tuple of its own for each turn, so
        #: that the monitor can tell one from the next.
        self.current: _Ready | None = None
        #: Where the last turns have written, and it is held back.
        self.corked: list[Output] = []
        self.uncorks = 0
        self.is_polling = False
        self.is_in_slow_turn = False
        self.polls = 0
        # The monitor's: what it has seen of these at its last look.
        self.seen: _Ready | None = None
        self.polls_seen = -1
        self.uncorks_seen = -1
        #: Looks since it has moved.
        self.unmoved_looks = 0.0
        self.is_known_as_slow = False
        #: The turn that has taken too long.
        self.stuck_in: _Ready | None = None

    @property
    def is_free(self) -> bool:
        """Whether it polls, or will soon: it is not in a slow turn, nor still inside the turn in
        which the monitor has found it.
        """
        return not self.is_in_slow_turn and (
            self.stuck_in is None or self.stuck_in is not self.current
        )

    def uncork(self) -> None:
        """Have all go out that the turns have held back."""
        for output in self.corked:
            output.uncork()
        self.corked.clear()
        self.uncorks += 1

    def look(self, weight: float) -> None:
        """Count a look at it, and let go of what is held back since the last. The monitor's."""
        before, polls_before = self.seen, self.polls_seen
        self.seen, self.polls_seen = self.current, self.polls
        is_unmoved = self.seen is before and self.polls_seen == polls_before
        if is_unmoved:
            self.unmoved_looks += weight
        else:
            self.unmoved_looks = 0.0
            self.is_known_as_slow = False
        if self.corked and self.uncorks_seen == self.uncorks:
            for output in tuple(self.corked):
                output.uncork()
        self.uncorks_seen = self.uncorks


class Pollers:
    """A bounded, adaptive set of threads over one source."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._ready: collections.deque[_Ready] = collections.deque()
        self._slow: collections.deque[_Ready] = collections.deque()
        self._work_came = threading.Event()
        self._is_watching = False
        self._is_stopping = False

        self._lock = locks.Lock()
        # Guarded by _lock.
        self._active: set[_Poller] = set()
        self._threads: set[threads.BackgroundThread] = set()
        self._no_thread_until_s = 0.0
        self._is_short_of_threads = False
        self._wanted = 1  # of those that are free
        self._parked: list[_Poller] = []
        self._slow_running = 0
        self._monitor = threads.BackgroundThread("monitor", self._watch, logger)

    @property
    def _most_slow(self) -> int:
        return max(1, self._limit - 1)

    @property
    def thread_count(self) -> int:
        """Threads that there are for callbacks, working, polling or parked."""
        return len(self._threads)

    def start(self) -> None:
        """Start the first thread and the monitor, if they are not there.

        Raises RuntimeError if not even one thread can start. The monitor may come later.
        """
        if self._threads and self._monitor.is_running:
            return
        with self._lock:
            if self._is_stopping:
                return
            if not self._threads and not self._start_thread():
                raise RuntimeError("no thread can start to serve WebSockets")
            self._monitor.start()

    def put(self, pollable: Pollable, events: int) -> None:
        """Have a poller call `pollable.serve(events)`. Any thread."""
        self._ready.append((pollable, events))
        self._source.wake(1)

    def stop(self) -> bool:
        """End all threads. False if some are inside callbacks; they end after them."""
        with self._lock:
            self._is_stopping = True
            parked, self._parked = self._parked, []
            all_threads = [*self._threads, self._monitor]
            self._monitor.end()
        self._work_came.set()
        for poller in parked:
            poller.call.release()
        self._source.wake(1)
        until_s = time.monotonic() + _STOP_S
        for thread in all_threads:
            thread.join(until_s - time.monotonic())
        return not self._threads

    # A poller's thread.

    def _run(self, poller: _Poller) -> None:
        """Poll, and take turns, until there is a thread too many.

        If something raises, which is none of the turns, it is called again; so what it has noted of
        itself is put right first.
        """
        poller.is_polling = False
        self._take_turns(poller)
        with self._lock:
            self._forget(poller)

    def _take_turns(self, poller: _Poller) -> None:
        ready = self._ready
        corked = poller.corked
        while True:
            try:
                found = ready.popleft()
            except IndexError:
                if corked:
                    poller.uncork()
                if not self._run_slow(poller) and not self._refill(poller):
                    return
                continue
            pollable, events = found
            if pollable.slow_turns > _SUSPECT_TURNS:
                self._slow.append(found)
            elif pollable.slow_turns:
                self._slow.appendleft(found)  # it may well be quick, and is soon found to be
            else:
                poller.current = found
                if ready:
                    output = pollable.connection
                    output.is_corked = True
                    corked.append(output)
                    pollable.serve(events)
                    if len(corked) >= _MOST_CORKED:
                        poller.uncork()
                else:
                    pollable.serve(events)

    def _run_slow(self, poller: _Poller) -> bool:
        """Serve one that has been slow. False when there is none, or no thread to spare for it."""
        if not self._slow:
            return False
        with self._lock:
            if not self._slow or self._slow_running >= self._most_slow:
                return False
            poller.current = pollable, events = self._slow.popleft()
            self._slow_running += 1
            poller.is_in_slow_turn = True
            if not self._is_stopping and not any(other.is_free for other in self._active):
                self._call_one()  # to poll meanwhile; the monitor would take 2 ms for that
        started_s = time.monotonic()
        pollable.serve(events)
        if pollable.slow_turns and time.monotonic() - started_s < _SLOW_S:
            pollable.slow_turns -= 1
        with self._lock:
            self._slow_running -= 1
            poller.is_in_slow_turn = False
        return True

    def _refill(self, poller: _Poller) -> bool:
        """Wait for more. False when this thread is to end."""
        poller.current = None
        if self._is_stopping:
            self._source.wake(1)  # for the next one
            return False
        is_spare = len(self._active) > 1
        if is_spare and not self._stay(poller):
            return False
        if self._ready or (self._slow and self._slow_running < self._most_slow):
            return True  # it came while this thread was parked
        seconds = _SPARE_POLL_S if is_spare else None
        if threads.are_waiting():
            threads.start_waiting()
            seconds = seconds or threads.START_AGAIN_S
        poller.is_polling = True
        found = self._source.poll(seconds)
        poller.is_polling = False
        poller.polls += 1
        if found:
            self._ready.extend(found)
            if not self._is_watching:
                self._is_watching = True
                self._work_came.set()
        return True

    def _stay(self, poller: _Poller) -> bool:
        """Park while more threads poll than are wanted. False when not called for long."""
        with self._lock:
            if sum(other.is_free for other in self._active) <= self._wanted:
                return True
            self._active.discard(poller)
            self._parked.append(poller)
        if not poller.call.acquire(timeout=_PARKED_S):
            with self._lock:
                if poller in self._parked:
                    self._parked.remove(poller)
                    return False
            # Called in the moment between the time-out and here.
            poller.call.acquire()
        return not self._is_stopping

    # The monitor's thread.

    def _watch(self) -> None:
        while not self._is_stopping:
            self._is_watching = False
            # In this order: a poller that got work before the flag fell is seen here, one that
            # gets it after that sees the flag.
            if all(poller.is_polling for poller in tuple(self._active)):
                self._work_came.wait()
            self._work_came.clear()
            self._is_watching = True
            self._watch_while_busy()

    def _watch_while_busy(self) -> None:
        calm = 0
        pace = Pace()
        looked_s = time.monotonic()
        while calm < _CALM_LOOKS and not self._is_stopping:
            time.sleep(_LOOK_EVERY_S)
            before_s, looked_s = looked_s, time.monotonic()
            is_moving, is_jammed = self._look(0.5 if looked_s - before_s > _LATE_S else 1.0)
            if is_jammed:
                self._add(pace.jammed())
            elif pace.went_on():
                self._retire()
            calm = 0 if is_moving or is_jammed or self._wanted > 1 else calm + 1

    def _look(self, weight: float) -> tuple[bool, bool]:
        """Whether any poller has done something since the last look, and whether none can."""
        is_moving = False
        is_jammed = bool(self._active)
        polling = 0
        for poller in tuple(self._active):
            poller.look(weight)
            if not poller.unmoved_looks:
                is_moving = True
                is_jammed = False
            elif poller.is_polling:
                is_jammed = False
                polling += 1
            elif poller.unmoved_looks < 1:
                is_jammed = False
            elif poller.seen is not None:
                self._note_stuck(poller, poller.seen[0])
        if polling and self._ready:
            # They wait for the kernel, which has told another thread, which is busy.
            self._source.wake(min(polling, len(self._ready)))
        return is_moving, is_jammed

    def _note_stuck(self, poller: _Poller, pollable: Pollable) -> None:
        poller.stuck_in = poller.seen
        if not poller.is_known_as_slow and poller.unmoved_looks >= _SLOW_LOOKS:
            poller.is_known_as_slow = True
            pollable.slow_turns = min(max(_SUSPECT_TURNS, 2 * pollable.slow_turns), _SLOW_TURNS)
        pollable.connection.uncork()

    def _add(self, count: int) -> None:
        with self._lock:
            count = min(count, self._limit - len(self._active))
            if self._is_stopping:
                return
            self._wanted = min(self._limit, self._wanted + max(count, 0))
            for _ in range(count):
                if not self._call_one():
                    return

    def _call_one(self) -> bool:
        """Have one more thread poll; False if there is none for it. With _lock held."""
        if self._parked:
            poller = self._parked.pop()
            self._active.add(poller)
            poller.call.release()
            return True
        return len(self._active) < self._limit and self._start_thread()

    def _start_thread(self) -> bool:
        """Start one more. False if the system has none at this moment. With _lock held."""
        if self._threads and time.monotonic() < self._no_thread_until_s:
            return False
        poller = _Poller()
        thread = threads.BackgroundThread(
            "poller", lambda: self._run(poller), logger, may_wait_for_logs=True
        )
        poller.thread = thread
        self._active.add(poller)
        self._threads.add(thread)
        if thread.start():
            self._is_short_of_threads = False
            return True
        self._forget(poller)
        thread.end()  # the next that is wanted is another
        self._no_thread_until_s = time.monotonic() + threads.START_AGAIN_S
        if not self._is_short_of_threads:
            self._is_short_of_threads = True
            logger.warning(
                "%d threads serve WebSockets, of %d; no other can start at this moment",
                len(self._threads),
                self._limit,
            )
        return False

    def _forget(self, poller: _Poller) -> None:
        """A poller is no more. With _lock held."""
        self._active.discard(poller)
        if poller.thread is not None:
            self._threads.discard(poller.thread)

    def _retire(self) -> None:
        with self._lock:
            self._wanted = max(1, self._wanted - max(1, self._wanted // 4))
