"""An app under test as one process of it: its engine, its collections, its clients, its clock.

Invariants: everything that an app is given here ends with its last client, with `Worker.close`,
or with the app itself, when that is collected: a worker refers to its app weakly. No two apps
have anything in common unless one was made as the other's second process.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask

from ..collections import current
from ..extension import new_state, services_on, state_with
from ..history.memory_log import MemoryLog
from ..runtime import logs
from ..runtime.first_use import ModuleLock
from ..upgrade.app_state import AppState, find_state, set_state
from .clock import Clock
from .errors import TimedOut
from .failures import Failures, chained
from .memory_bus import MemoryBus, MemoryNetwork
from .memory_door import MemoryDoor, MemoryDoors
from .patience import DEFAULT_TIMEOUT_S, Patience
from .served import EngineUnderTest
from .websocket import ClientWebSocket

if TYPE_CHECKING:
    import socket

    from flask.testing import FlaskClient

    from ..collections.presence_watchers import Watcher
    from ..collections.registry import CollectionRegistry
    from ..resume.door import Take
    from .served import Lifetime, Served

_WORKER_KEY = "wshandler.testing"
_WATCHED_KEY = "wshandler.testing.watched"
_STUCK_S = 1.0
_STUCK_LOOKS = 5
"""So often `_STUCK_S` for who is still taking what is queued."""
_LOOK_EVERY_S = 0.0005


_live: set[Worker] = set()
"""Workers that have not ended, or that know of a failure that no test has seen."""
_making = ModuleLock()
"""Held while an app is looked at and given a worker."""


class Machine:
    """What the workers of one app share: the time, and the network between them."""

    def __init__(self) -> None:
        self.clock = Clock(self)
        self.network = MemoryNetwork()
        self.doors = MemoryDoors()
        began_s = time.time() - self.clock.now_s()
        #: What collections with history remember, in all processes; made at the first use.
        self.log_on = functools.cache(
            lambda size_bytes: MemoryLog(size_bytes, lambda: began_s + self.clock.now_s())
        )
        self._workers: weakref.WeakSet[Worker] = weakref.WeakSet()

    def add(self, worker: Worker) -> None:
        """A process more."""
        self._workers.add(worker)

    def settle(
        self, but: Collection[Served | Lifetime] = (), timeout: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """Wait until nothing runs and nothing is due. Raises `TimedOut` after `timeout` seconds."""
        if not self._comes_to_rest(timeout, but):
            running = [name for worker in self._workers for name in worker.running()]
            what = ", ".join(running) or "something"
            raise TimedOut(f"{what} has not come to an end in {timeout:g} s")

    def stuck(self) -> set[Served | Lifetime]:
        """The clients whose callbacks do not come to an end.

        Not those who are taking what is queued for them, however long a busy machine needs.
        """
        for _ in range(_STUCK_LOOKS):
            before = self._taken_bytes()
            if self._comes_to_rest(_STUCK_S, ()):
                return set()
            if before == self._taken_bytes():
                break
        return self._busy()

    def _busy(self) -> set[Served | Lifetime]:
        return {served for worker in self._workers for served in worker.busy()}

    def _taken_bytes(self) -> dict[Served | Lifetime, int]:
        taken = {served: served.taken_bytes for served in self._busy()}
        return {served: count for served, count in taken.items() if count is not None}

    def spread(self) -> None:
        """Wait until every process knows what another has told it; not for long."""
        _comes_true(self._has_spread_all, _STUCK_S)

    def _has_spread_all(self) -> bool:
        workers = list(self._workers)
        counts = [worker.work_counts for worker in workers]
        return all(worker.has_spread_all for worker in workers) and counts == [
            worker.work_counts for worker in workers
        ]

    def _comes_to_rest(self, seconds: float, but: Collection[Served | Lifetime]) -> bool:
        return _comes_true(lambda: self._is_at_rest(but), seconds)

    def _is_at_rest(self, but: Collection[Served | Lifetime]) -> bool:
        workers = list(self._workers)
        self.clock.fire_due()
        # Connections give work to buses and watchers, and these to each other and to connections;
        # one connection gives work to another that has been looked at before it; and a thread of
        # the test may read what another has sent, and make room for more. What they are given,
        # and what is read, leaves traces. So all have been idle since they were looked at if there
        # are no new ones, and have got no work but from clients and from the time, which are this
        # thread's matter.
        traces = [worker.traces for worker in workers]
        return (
            all(worker.has_spread_all for worker in workers)
            and all(served in but for worker in workers for served in worker.busy())
            and not sum(worker.pump() for worker in workers)
            and traces == [worker.traces for worker in workers]
        )


class Worker:
    """One process of an app under test.

    `worker_of(app)` makes the first; `other_process` makes others, with the same clock and bus.
    """

    def __init__(
        self, app: Flask, machine: Machine, connect: Callable[..., ClientWebSocket]
    ) -> None:
        self._machine = machine
        self._connect = connect
        self._app = weakref.ref(app)
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._clients: weakref.WeakSet[ClientWebSocket] = weakref.WeakSet()
        self._connecting = 0
        self._failures: dict[Failures, Served] = {}

        before = _state_of(app)
        settings = before.settings
        self._bus = MemoryBus(machine.network, settings.bus_queue_size)
        self._engine = EngineUnderTest(settings, self.clock)
        services = services_on(
            app,
            self._engine,
            self._bus,
            self.clock,
            self.clock.new_timer,
            self._make_door,
            lambda _, size_bytes: machine.log_on(size_bytes),
        )
        self._state = state_with(app, settings, self.clock, lambda: services)
        set_state(app, self._state)
        app.extensions[_WORKER_KEY] = self
        collections = before.collections
        watched = [*collections.watched(), *app.extensions.pop(_WATCHED_KEY, ())]
        _let_watch(self._state.collections, watched)
        collections.stop()
        collections.bus.close()
        self._end = weakref.finalize(app, _end_elsewhere, self)
        self._end.atexit = False
        machine.add(self)
        _live.add(self)

    def _make_door(self, app_name: str, take: Take) -> MemoryDoor:
        del app_name  # the doors of other apps are elsewhere
        self._door = MemoryDoor(self._machine.doors, self._engine, take)
        return self._door

    @property
    def app(self) -> Flask:
        """The app. Raises RuntimeError when it is gone."""
        app = self._app()
        if app is None:
            raise RuntimeError("the app is gone: keep a reference to it")
        return app

    @property
    def clock(self) -> Clock:
        """The time of this app, and of its other processes."""
        return self._machine.clock

    def websocket_connect(
        self, path: str, *, client: FlaskClient | None = None, **options: Any
    ) -> ClientWebSocket:
        """Connect a client, `app.test_client()` if none is given; see `websocket_connect`."""
        return self._connect(client or self.app.test_client(), path, **options)

    @contextlib.contextmanager
    def other_process(self, create_app: Callable[[], Flask]) -> Iterator[Worker]:
        """Have one more process of the app, until the end of the block: what `create_app` makes.

        The two share what processes share: the collections that have a name, groups and presence,
        on a bus in memory; and the clock. What Python keeps in modules and classes is one for
        both, where real processes have two: variables, and collections without a name.

        Raises ValueError if `create_app` makes no new app, and at the end what callbacks there
        have raised and no test has seen.
        """
        app = create_app()
        if not isinstance(app, Flask) or app is self._app():
            raise ValueError(f"another process needs an app of its own, not {app!r}")
        worker = Worker(app, self._machine, self._connect)
        try:
            yield worker
        except BaseException as error:
            chained([error, *worker.end()])
            raise
        worker.close()

    def settle(self, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Wait until all that was sent and all that is due has been handled, in all processes.

        Clients answer pings meanwhile, and take what comes. It can't know of threads that are
        not the package's, such as those of flask-sock functions. Raises `TimedOut` after
        `timeout` seconds of real time.
        """
        self._machine.settle(timeout=timeout)

    def close(self) -> None:
        """Close all clients, and end everything that runs for the app.

        The app is as after `init_app` then; its next client begins anew, with a clock of its own.
        Raises what callbacks have raised and no test has seen, the first with the others below.
        """
        app = self._app()
        unseen = self.end()
        if app is not None:
            current.set_aside(app)
        if unseen:
            raise chained(unseen)

    # For whoever cleans up.

    @property
    def clients(self) -> list[ClientWebSocket]:
        """The clients that are not closed."""
        with self._lock:
            return list(self._clients)

    def discard(self, clients: Iterable[ClientWebSocket]) -> None:
        """Close some clients, in whatever state they are."""
        for client in clients:
            client.discard()

    def take_unseen(self) -> list[BaseException]:
        """What callbacks have raised and nobody has seen; whoever takes it shows it."""
        with self._lock:
            failures = list(self._failures)
        unseen = [error for each in failures for error in each.take()]
        self._forget_failures()
        return unseen

    def end(self) -> list[BaseException]:
        """Do what `close` does; returns what it would raise."""
        self.discard(self.clients)
        self._machine.stuck()  # what the last ones had broadcast is heard
        app = self._app()
        if app is not None and self.serves(app):
            app.extensions[_WATCHED_KEY] = self._state.collections.watched()
            set_state(app, new_state(app, self._state.settings))
            del app.extensions[_WORKER_KEY]
        if self._end.detach() is not None:
            self.end_threads()
            self._machine.stuck()  # the others hear of the end
        _live.discard(self)
        return self.take_unseen()

    def end_threads(self) -> None:
        """End what runs for the app; its clients have gone."""
        self._door.stop()
        self._engine.stop()
        self._state.collections.stop()
        self._bus.close()
        with self._lock:
            if not any(failures.has_some for failures in self._failures):
                _live.discard(self)

    def serves(self, app: Flask) -> bool:
        """Whether `app` runs on this worker; not if it was initialized again."""
        return find_state(app) is self._state

    # For the handshake.

    @contextlib.contextmanager
    def expecting(self, sock: socket.socket, failures: Failures) -> Iterator[Served]:
        """A handshake that brings `sock`, the server's end, in its environ.

        The callbacks put what they raise into `failures`.
        """
        with self._lock:
            self._connecting += 1
        served = self._engine.expect(sock)
        try:
            yield served
        finally:
            self._engine.forget_expected(sock)
            with self._lock:
                self._connecting -= 1
                if served.is_accepted:
                    self._failures[failures] = served
            self._forget_failures()
            self._rest()

    def connected(self, client: ClientWebSocket) -> None:
        """A client's handshake was accepted."""
        with self._lock:
            self._clients.add(client)

    # For the clients.

    def spread(self) -> None:
        """Wait until the other processes know what this one has told them; not for long."""
        self._machine.spread()

    def gone(self, client: ClientWebSocket) -> None:
        """A client has gone, and its last callback has run; what is logged of it is written."""
        logs.flush(_STUCK_S)
        with self._lock:
            self._clients.discard(client)
        self._forget_failures()
        self._rest()

    def running(self) -> list[str]:
        """The callbacks that run at this moment."""
        return [_name_of(callback) for callback in [*self._state.slow_callbacks.running.values()]]

    def _forget_failures(self) -> None:
        """Forget those in which nothing is, and into which nothing will come."""
        with self._lock:
            self._failures = {
                failures: served
                for failures, served in self._failures.items()
                if not served.has_ended or failures.has_some
            }

    def _rest(self) -> None:
        with self._lock:
            if not self._connecting and not self._clients:
                self._engine.rest()

    # For the machine.

    @property
    def work_counts(self) -> tuple[int, int]:
        """How much this process's bus and its watchers have been given to do so far."""
        return self._bus.sent_here, self._state.collections.news_count

    @property
    def traces(self) -> tuple[object, ...]:
        """What is another when any of them, a connection or a client has been given something."""
        reads = sum(client.read_count for client in self.clients)
        return *self.work_counts, reads, self._engine.traces()

    @property
    def has_spread_all(self) -> bool:
        """Whether bus and watchers have done all of it."""
        return self._bus.is_idle and self._state.collections.has_told_all

    def pump(self) -> bool:
        """Have the clients read. Says whether anything came."""
        return sum(client.pump() for client in self.clients) > 0

    def busy(self) -> list[Served | Lifetime]:
        """The clients for whom something runs or is due, also those that a test has forgotten."""
        return self._engine.busy()


def worker_on(app: Flask, connect: Callable[..., ClientWebSocket]) -> Worker:
    """The worker of `app`, made at the first call; `connect` is its `websocket_connect`."""
    with _making:
        worker = app.extensions.get(_WORKER_KEY)
        if isinstance(worker, Worker) and worker.serves(app):
            return worker
        return Worker(app, Machine(), connect)


def _comes_true(question: Callable[[], bool], seconds: float) -> bool:
    """Ask until the answer is true. False after `seconds` of real time."""
    patience = Patience(seconds)
    while not question():
        if patience.look() <= 0:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def live_workers() -> list[Worker]:
    """Those that have not ended, of all apps."""
    return list(_live)


def _state_of(app: Flask) -> AppState:
    state = find_state(app)
    if not isinstance(state, AppState):
        raise RuntimeError(f"the app {app.name!r} has no WebSockets: call WebSockets(app)")
    return state


def _let_watch(registry: CollectionRegistry, watched: list[tuple[str, Watcher]]) -> None:
    """Have those who watch collections go on watching."""
    for topic, watcher in watched:
        registry.watch(topic, watcher)


def _name_of(callback: Callable[..., Any]) -> str:
    handler = getattr(callback, "__self__", None)
    return f"{type(handler).__name__}.{getattr(callback, '__name__', callback)}"


def _end_elsewhere(worker: Worker) -> None:
    """In a thread for that: an app may be collected in one that is to be ended."""
    with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
        threading.Thread(target=worker.end_threads, name="wshandler-end", daemon=True).start()
