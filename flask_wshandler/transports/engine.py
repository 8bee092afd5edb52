"""All WebSockets of one app in one process: which there are, and what serves and ends them.

Invariant: threads and descriptors are made at the first connection, after any fork, never at
import or in `init_app`; a forked child starts without any.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import socket
import threading
from typing import TYPE_CHECKING, Protocol

from ..protocol.carrier import Transport
from ..protocol.errors import CloseCode
from ..protocol.send_queue import QueueBudget
from ..runtime import faults, lifecycle, locks, logs
from ..runtime.counter import KeyedCounter
from ..runtime.timer import Clock, MonotonicClock, Target, Timer
from ..settings import Settings, TransportChoice
from . import wsgi_server
from .blocking import BlockingServer
from .capacity import Capacity, RefusalReason, most_descriptors
from .link import Link
from .link_thread import LinkThread
from .pollers import Pollable
from .shutdown import (
    ANSWERS_AT_STOP_S,
    LOOK_FOR_STOP_S,
    StopWatch,
    close_spread,
    is_told_to_stop,
    wait_until,
)
from .stats import ReturnOutcome, Stats, Totals
from .turn_thread import TurnThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..protocol.connection import Callbacks, Connection
    from .channel import Channel
    from .epoll import EpollServer
    from .handoff import ServerSocket
    from .link import Address, Client

logger = logs.logger(__package__)

_LAST_THREADS_S = 5.0
"""For the threads of the pollers and the timer, after all connections."""

_SHARE_OF_TIME_TO_STOP = 0.7
"""Of what the server gives a worker for its end; the rest is for noticing, and for the bus."""


class Away(Pollable, Protocol):
    """A connection whose client is away, and may come back."""

    @property
    def callbacks(self) -> Callbacks: ...

    @property
    def is_away(self) -> bool:
        """Whether it is waited for; else its client is between two requests."""

    def close(self, code: int = ..., reason: str = ...) -> None:
        """End it: it asks for the turn of its last callback."""

    def close_at_stop(self, code: int) -> None:
        """The same as the process ends; one that is not away may be told first."""

    def end_away(self, code: int) -> None:
        """End one that has not come to be told."""


class Engine:
    """Serves the connections of one app."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        make_timer: Callable[[Clock], Timer] = Timer,
    ) -> None:
        self.settings = settings
        self._clock = clock or MonotonicClock()
        self._make_timer = make_timer
        self._targets: list[tuple[Target, float]] = []
        self._start_afresh()
        lifecycle.register(self, lifecycle.Stage.CONNECTIONS)

    def _start_afresh(self) -> None:
        #: What the clients of this process may leave untaken.
        self.budget = QueueBudget(self.settings.max_total_queue_size)
        #: How many clients there may be.
        self.capacity = Capacity(
            self.settings.max_connections, self.settings.max_connections_per_ip, most_descriptors
        )
        self._lock = locks.Lock()
        self._has_one_gone = locks.condition_on(self._lock)
        # Guarded by _lock.
        self._open: set[Channel] = set()
        self._lingering: set[Channel] = set()
        self._away: set[Away] = set()
        #: Those that were, until their new socket is among the open ones: the end waits for them.
        self._coming_back: set[Away] = set()
        #: To services.
        self._links: set[Link] = set()
        self._accepted = 0
        self._ended = Totals()
        #: Counts of ends by close code, refusals by reason, exceptions by callback, returns by
        #: outcome. Any thread.
        self.closes: KeyedCounter[int] = KeyedCounter()
        self.refusals: KeyedCounter[RefusalReason] = KeyedCounter()
        self.failures: KeyedCounter[str] = KeyedCounter()
        self.returns: KeyedCounter[ReturnOutcome] = KeyedCounter()
        #: Of requests by which clients speak that are served over HTTP, by outcome.
        self.posts: KeyedCounter[str] = KeyedCounter()
        self._epoll: EpollServer | None = None
        self._timer: Timer | None = None
        self._turns = TurnThread()
        self._stop_watch: StopWatch | None = None
        self._stop_code: int | None = None
        self._has_stopped = threading.Event()
        self._has_stopped_waiting = False
        # Not under _lock: a signal handler writes it.
        self._is_hurried = False

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._open)

    def connections(self) -> list[Connection]:
        """The open connections. Any thread."""
        with self._lock:
            return [channel.connection for channel in self._open]

    def away(self) -> list[Away]:
        """The connections without a socket. Any thread."""
        with self._lock:
            return list(self._away)

    @property
    def is_stopping(self) -> bool:
        """Whether new connections are to be refused because this process ends."""
        return self._stop_code is not None or is_told_to_stop()

    @property
    def has_stopped_waiting(self) -> bool:
        """Whether no client is waited for any more because this process ends."""
        return self._has_stopped_waiting

    @property
    def has_served(self) -> bool:
        """Whether a WebSocket has been served in this process, be it one that is not counted."""
        return self._timer is not None

    def have_woken(self, target: Target, seconds: float) -> None:
        """Have the timer wake `target` so many seconds after its start, in every process."""
        self._targets.append((target, seconds))

    def can_use_epoll(self, server_socket: ServerSocket) -> bool:
        """Whether `server_socket` will be served on epoll, rather than in its request's thread."""
        return self.settings.transport is not TransportChoice.BLOCKING and (
            not server_socket.epoll_obstacle
        )

    def prepare(self, server_socket: ServerSocket) -> None:
        """Start what serves `server_socket`, before the handshake is answered.

        Raises OSError or RuntimeError where the system has no descriptor or thread for it now.
        """
        if self.can_use_epoll(server_socket):
            self._started_epoll().start()

    def take(self, server_socket: ServerSocket, head: bytes) -> tuple[socket.socket, bytes]:
        """Take the socket from its server, and write `head`; also what had come behind the head.

        The socket is the caller's.
        """
        sock, early = server_socket.take(self._started_epoll().decoy)
        try:
            if head:
                sock.sendall(head)
            _send_small_writes_at_once(sock)
        except BaseException:
            sock.close()
            raise
        return sock, early

    def adopt(self, server_socket: ServerSocket, connection: Connection, head: bytes) -> None:
        """Take the socket from its server, write `head`, and serve it; returns at once."""
        sock, early = self.take(server_socket, head)
        self.adopt_taken(sock, connection, early)

    def adopt_taken(self, sock: socket.socket, connection: Connection, early: bytes) -> None:
        """Serve a socket that has left its server; returns at once. It is closed if that fails."""
        try:
            self._watch_for_stop()
            self._started_epoll().adopt(sock, connection, early, self)
        except BaseException:
            sock.close()
            raise

    def serve(self, server_socket: ServerSocket, connection: Connection, head: bytes) -> None:
        """Write `head` and serve the server's socket in this thread until it is over."""
        server_socket.sock.sendall(head)
        server_socket.exchange.end()
        _send_small_writes_at_once(server_socket.sock)
        early = server_socket.exchange.trailing_data()
        self._watch_for_stop()
        BlockingServer(self._started_timer()).serve(server_socket.sock, connection, early, self)

    def stats(self) -> Stats:
        """The figures at this moment. Any thread."""
        with self._lock:
            totals = dataclasses.replace(self._ended)
            count = sum([not channel.connection.is_probe for channel in self._open])
            # Until its socket is closed a connection may still send what is queued.
            served = [channel.connection for channel in (*self._open, *self._lingering)]
            accepted = self._accepted
            away = sum([each.is_away for each in self._away])
            transports = collections.Counter(
                channel.connection.transport
                for channel in self._open
                if not channel.connection.is_probe
            )
            between_polls = len(self._away) - away
            transports[Transport.POLL] += between_polls
            epoll = self._epoll
        connections = [connection for connection in served if not connection.is_probe]
        for connection in connections:
            totals.add(connection)
        return Stats(
            connections=count + between_polls,
            transports={each.value: n for each, n in transports.items()},
            away=away,
            max_connections=self.capacity.max_slots,
            accepted=accepted,
            messages_received=totals.messages_received,
            messages_sent=totals.messages_sent,
            messages_dropped=totals.messages_dropped,
            bytes_received=totals.bytes_received,
            bytes_sent=totals.bytes_sent,
            queued_bytes=sum([connection.queued_bytes for connection in connections]),
            max_queued_bytes=self.budget.max_bytes,
            threads=epoll.thread_count if epoll is not None else 0,
            max_threads=self.settings.threads,
            closes=self.closes.counts(),
            returns={outcome.value: n for outcome, n in self.returns.counts().items()},
            posts=self.posts.counts(),
            refusals={reason.value: n for reason, n in self.refusals.counts().items()},
            failures=self.failures.counts(),
            faults=faults.counts(),
        )

    def stop(self) -> None:
        """Close all connections, spread over the drain time, and end the threads.

        Waits for the last callbacks and for the peers, at most `WSHANDLER_DRAIN_SECONDS` and
        twice `WSHANDLER_CLOSE_TIMEOUT`, and less if the server gives less. New clients are
        refused from now on. A second call waits for the first.
        """
        with self._lock:
            is_first = self._stop_code is None
            if is_first:
                self._stop_code = wsgi_server.stop_close_code()
        if not is_first:
            self._has_stopped.wait(self._most_to_stop_s + _LAST_THREADS_S)
            return
        try:
            self._stop_all(self._stop_code or 0)
        finally:
            self._has_stopped.set()

    @property
    def _most_to_stop_s(self) -> float:
        settings = self.settings
        return settings.drain_seconds + ANSWERS_AT_STOP_S + 2 * settings.close_timeout

    def stop_now(self) -> None:
        """Have `stop` close all at once, and wait for no client. In a signal handler."""
        self._is_hurried = True

    def _stop_all(self, code: int) -> None:
        settings = self.settings
        # gunicorn kills what has not ended by then; the bus comes after us.
        given_s = _SHARE_OF_TIME_TO_STOP * wsgi_server.time_to_stop_s()
        scale = min(1.0, given_s / self._most_to_stop_s)
        for each in self.away():
            each.close_at_stop(code)
        close_spread(self.connections(), code, settings.drain_seconds * scale, self._must_hurry)
        self._wait_for_last(ANSWERS_AT_STOP_S * scale)
        for connection in self.connections():
            try:
                connection.close(code)  # though a callback runs; most are closing
            except Exception as fault:
                connection.give_up(fault)
        # Who comes back is told; it is let in when the next process has begun.
        self._wait_for_last(settings.close_timeout * scale)
        self._has_stopped_waiting = True
        for each in self.away():
            each.end_away(code)
        with self._lock:
            left = [*self._open, *self._lingering]
            links = list(self._links)
        for link in links:
            link.abort()
        for channel in left:
            try:
                channel.connection.abort()
            except Exception as fault:
                faults.note("turn")
                logger.error("a connection can't be given up", error=fault)
        self._wait_for_last(settings.close_timeout * scale)
        if self._epoll is not None:
            self._epoll.stop()
        self._turns.stop()
        if self._timer is not None:
            self._timer.stop()

    def _must_hurry(self) -> bool:
        return self._is_hurried

    def _wait_for_last(self, most_s: float) -> None:
        with self._has_one_gone:
            wait_until(self._is_empty, self._has_one_gone, most_s, self._must_hurry)

    def _is_empty(self) -> bool:
        left = self._open, self._lingering, self._away, self._coming_back, self._links
        return not any(left)

    # What connections need whose clients can come back: see `resume.home.Home`.

    @property
    def timer(self) -> Timer:
        """Wakes what is to happen later."""
        return self._started_timer()

    def went_away(self, away: Away) -> None:
        """Keep a connection without a socket."""
        with self._lock:
            self._coming_back.discard(away)
            self._away.add(away)
            code = self._stop_code
        if code is not None:
            away.close_at_stop(code)

    def is_coming_back(self, away: Away) -> None:
        """Count it neither among those that are away nor, yet, among those with a socket."""
        with self._lock:
            self._away.discard(away)
            self._coming_back.add(away)

    def is_away_no_more(self, away: Away) -> None:
        """It has a socket again, or has ended."""
        with self._has_one_gone:
            self._away.discard(away)
            self._coming_back.discard(away)
            self._has_one_gone.notify_all()

    def count_end(self, code: int) -> None:
        """A client is gone, with that close code."""
        self.closes.add(code)

    def request_turn_of(self, away: Away) -> None:
        """Have `away.serve` called in a thread for callbacks."""
        epoll = self._epoll
        if epoll is None:
            self._turns.put(away)
        else:
            epoll.request_turn(away, 0)

    # What gateways need.

    def link(
        self,
        client: Client,
        addresses: Sequence[Address],
        *,
        connect_timeout_s: float,
        max_buffer_size: int,
        max_read_size: int,
    ) -> Link:
        """The other socket of a gateway; it begins with `start`.

        On the pollers where these serve clients, else in a thread of its own. Raises OSError or
        RuntimeError where the system has no descriptor or thread for it now.
        """
        epoll = self._epoll
        thread = LinkThread(self._started_timer()) if epoll is None else None
        link = Link(
            thread or epoll,  # type: ignore[arg-type]  # one of them is there
            self,
            client,
            addresses,
            connect_timeout_s,
            max_buffer_size,
            max_read_size,
        )
        with self._lock:
            self._links.add(link)
        if thread is not None:
            try:
                thread.start(link)
            except BaseException:
                self.link_released(link)
                raise
        return link

    def link_released(self, link: Link) -> None:
        """A link is over."""
        with self._has_one_gone:
            self._links.discard(link)
            self._has_one_gone.notify_all()

    # Called by channels.

    def started(self, channel: Channel) -> None:
        """Take note of a channel that is served from now on."""
        with self._lock:
            connection = channel.connection
            self._accepted += connection.begins_client and not connection.is_probe
            self._open.add(channel)
            code = self._stop_code
        if code is not None:  # its handshake was answered a moment before
            channel.connection.close_at_stop(code)

    def finished(self, channel: Channel) -> None:
        """Take note of a channel that has run its last callback; its socket lingers."""
        with self._lock:
            self._open.discard(channel)
            self._lingering.add(channel)
        connection = channel.connection
        if connection.counts_end and not connection.is_probe:
            code = connection.close_code
            self.count_end(CloseCode.ABNORMAL_CLOSURE if code is None else code)

    def released(self, channel: Channel) -> None:
        """Take note of a channel that has closed its socket."""
        with self._has_one_gone:
            self._lingering.discard(channel)
            if not channel.connection.is_probe:
                self._ended.add(channel.connection)
            self._has_one_gone.notify_all()

    def _started_timer(self) -> Timer:
        with self._lock:
            if self._timer is None:
                self._timer = self._make_timer(self._clock)
                lifecycle.stop_at_exit()
                for target, seconds in self._targets:
                    target.due_tick = None  # in a forked child: of its parent's timer
                    self._timer.wake(target, seconds)
            return self._timer

    def _started_epoll(self) -> EpollServer:
        from .epoll import EpollServer  # absent on systems that never come here

        timer = self._started_timer()
        with self._lock:
            if self._epoll is None:
                self._epoll = EpollServer(timer, self.settings.threads)
            return self._epoll

    def _watch_for_stop(self) -> None:
        """Have the connections closed as soon as the worker is told to end.

        It may still wait for its requests then, as long as it is given. `atexit` comes after.
        """
        timer = self._started_timer()
        with self._lock:
            if self._stop_watch is not None:
                return
            self._stop_watch = StopWatch(self.stop)
        timer.wake(self._stop_watch, LOOK_FOR_STOP_S)

    def reset_after_fork(self) -> None:
        """Start anew in a forked child, without what the parent has."""
        if self._epoll is not None:
            self._epoll.reset_after_fork()
        for link in list(self._links):
            link.close_after_fork()
        self._start_afresh()


def _send_small_writes_at_once(sock: socket.socket) -> None:
    """Else a second message waits up to 40 ms for the acknowledgement of the first."""
    with contextlib.suppress(OSError):  # a Unix socket has nothing like it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
