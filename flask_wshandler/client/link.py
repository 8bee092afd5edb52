"""The thread of a client: it dials, reads, writes, waits and comes back, until it is closed.

All else of a connection is in `ClientSession`, under the lock. No lock is held while the thread
waits for the network, and it calls nothing of the application's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence

from ..protocol.carrier import Transport
from ..protocol.errors import MAX_REASON_BYTES, CloseCode
from ..protocol.frames import Message
from ..resume.endpoint import ResumeProtocolError
from ..runtime.threads import BackgroundThread
from . import backoff
from .errors import ConnectionClosed, ConnectTimeout, HandshakeFailed
from .inbox import Inbox
from .network import NetworkConnection
from .patience import Patience, State, Watch
from .session import ClientSession, Gap
from .target import Target
from .ways import Ways

_NOTHING_IS_TAKEN = "there is no room: the server has not taken what was sent before"
_NOTHING_IS_RECEIVED = "there is no room: receive, for acknowledgements are behind the messages"

_WRITE_AHEAD_BYTES = 64 * 1024
"""So many are given to the network before it has taken them."""
_MAX_UNWRITTEN_BYTES = 4 * 1024 * 1024
"""Answers to pings count, too: nothing is read from a server that does not take them."""

_THREAD_END_S = 0.5
"""It has nothing more to do, unless it dials."""


class ClientLink:
    """One connection of a client. Any thread may call its public methods."""

    def __init__(
        self, target: Target, subprotocols: Sequence[str], repeat: bool, patience: Patience
    ) -> None:
        """Begin to dial."""
        self._patience = patience
        self._clock = patience.clock
        self._changed = threading.Condition()
        # Guarded by _changed's lock.
        self._session = ClientSession(subprotocols, repeat=repeat)
        self._state = State.CONNECTING
        self._inbox = Inbox()
        self._closing: tuple[int, str] | None = None
        self._is_served = False
        self._is_draining = False
        self._was_open = False
        self._transport: Transport | None = None
        self._close: tuple[int, str] | None = None
        self._cause: BaseException | None = None
        self._last_error: BaseException | None = None
        self._is_woken = False
        self._pid = os.getpid()
        self._waker, self._alarm = socket.socketpair()
        self._waker.setblocking(False)
        self._alarm.setblocking(False)
        # The thread's own.
        self._backoff = backoff.Backoff(patience.jitter)
        self._ways = Ways(target, patience)
        self._thread = BackgroundThread("client", self._run, None, is_repeated=False)
        if not self._thread.start():
            self._let_go()
            raise RuntimeError("the system has no thread for a client")

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the server has chosen."""
        return self._session.protocol

    @property
    def transport(self) -> Transport | None:
        """What carries it now, or did at last; None before the first answer."""
        return self._transport

    @property
    def gaps(self) -> int:
        """How often messages of the server may have been lost."""
        return self._session.gaps

    @property
    def close_code(self) -> int | None:
        """None before it is closed."""
        return None if self._close is None else self._close[0]

    @property
    def was_closed_here(self) -> bool:
        """Whether `close` was called while it was not closed."""
        return self._closing is not None

    def wait_open(self) -> None:
        """Wait for the server's first hello."""
        timeout_s = self._patience.open_timeout_s
        with self._changed:
            self._changed.wait_for(
                lambda: self._state is not State.CONNECTING, self._clock.real_s(timeout_s)
            )
            if self._state is State.CONNECTING:
                error = ConnectTimeout(f"no connection within {timeout_s} s: {self._last_error}")
                error.__cause__ = self._last_error
                self._end(CloseCode.ABNORMAL_CLOSURE, "", error)
            if self._was_open:
                return
            raise self._cause if isinstance(self._cause, Exception) else self._closed()

    def send(self, message: Message, size: int, timeout_s: float | None) -> None:
        """Send, or keep until it is open again. Raises `ConnectionClosed`, TimeoutError."""
        self._check_process()
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: self.is_ending or self._session.has_room(size), timeout_s
            )
            if self.is_ending:
                raise self._closed()
            if not has_room:
                raise TimeoutError(
                    _NOTHING_IS_RECEIVED if self._inbox.is_full else _NOTHING_IS_TAKEN
                )
            self._session.send(message)
            self._wake()

    def receive(
        self, timeout_s: float | None, has_given_up: Callable[[], bool] = lambda: False
    ) -> Message | Gap:
        """The next message, or a gap. Raises `ConnectionClosed`, TimeoutError.

        TimeoutError also when who waits `has_given_up`, which `wake_receivers` has it look at.
        """
        self._check_process()
        with self._changed:
            self._changed.wait_for(lambda: has_given_up() or self._inbox or self._close, timeout_s)
            if has_given_up() or not (self._inbox or self._close):
                raise TimeoutError("no message has come in time")
            if not self._inbox:
                raise self._closed()
            was_full = self._inbox.is_full
            message = self._inbox.get()
            if was_full and not self._inbox.is_full:
                self._wake()
            return message

    def wake_receivers(self) -> None:
        """Have those that wait for a message look whether they have given up."""
        with self._changed:
            self._changed.notify_all()

    def close(self, code: int, reason: str, *, is_patient: bool) -> None:
        """End it. If that `is_patient`, the server has first taken what was sent."""
        self._check_process()
        timeout_s = self._clock.real_s(self._patience.close_timeout_s)
        with self._changed:
            if is_patient and not self.is_ending and self._session.kept:
                # What comes is dropped from here on: an acknowledgement is behind it.
                self._is_draining = True
                self._session.probe()
                self._wake()
                self._changed.wait_for(lambda: self.is_ending or not self._session.kept, timeout_s)
            if not self.is_ending:
                self._closing = (code, reason)
                if not self._is_served:
                    self._end(code, reason)
                self._changed.notify_all()
                self._wake()
            self._changed.wait_for(lambda: self._close is not None)
        self._thread.join(_THREAD_END_S)

    def abandon(self) -> bool:
        """Have the thread end it. For `__del__`: it takes no lock.

        False if it is closed, or another process's.
        """
        if self.is_ending or self._pid != os.getpid():
            return False
        self._closing = (CloseCode.GOING_AWAY, "")
        with contextlib.suppress(OSError):
            self._alarm.send(b"x")
        return True

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError("a connection is its process's: open another one after a fork")

    @property
    def is_ending(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing is not None or self._close is not None

    def _closed(self) -> ConnectionClosed:
        error = ConnectionClosed(*(self._close or self._closing or (CloseCode.NORMAL_CLOSURE, "")))
        error.__cause__ = self._cause
        return error

    def _wake(self) -> None:
        """Have the thread look, with the lock held."""
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(OSError):
                self._alarm.send(b"x")

    def _end(self, code: int, reason: str, cause: BaseException | None = None) -> None:
        """It does not come back; with the lock held. The first end counts."""
        if self._close is None:
            self._close = (int(code), reason)
            self._cause = cause
            self._state = State.CLOSED
            self._changed.notify_all()
            self._wake()

    # From here on the thread's.

    def _run(self) -> None:
        try:
            self._come_and_go()
        except BaseException as error:  # of this package: the application must not wait for ever
            with self._changed:
                self._end(CloseCode.ABNORMAL_CLOSURE, repr(error), error)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with self._changed:
            self._end(*(self._closing or (CloseCode.ABNORMAL_CLOSURE, "")))
            self._waker.close()
            self._alarm.close()

    def _come_and_go(self) -> None:
        delay_s = 0.0
        while self._rest(delay_s):
            retry_after_s = None
            try:
                network = self._ways.dial(self._offer)
            except HandshakeFailed as error:
                retry_after_s = error.retry_after_s
                self._note_failure(error, is_final=not error.may_pass)
            except OSError as error:
                self._note_failure(error, is_final=self._is_hopeless(error))
            else:
                try:
                    self._serve(network)
                finally:
                    network.abort()
            delay_s = self._backoff.next_delay_s(retry_after_s)

    def _rest(self, delay_s: float) -> bool:
        """Wait before the next try; False if there is to be none."""
        end_s = self._clock.now_s() + delay_s
        while not self.is_ending:
            left_s = end_s - self._clock.now_s()
            if left_s <= 0:
                return True
            self._waker.settimeout(self._clock.real_s(left_s))
            with contextlib.suppress(TimeoutError):
                self._waker.recv(4096)
            with self._changed:
                self._is_woken = False
        return False

    def _hear_waker(self) -> None:
        with self._changed, contextlib.suppress(BlockingIOError):
            self._is_woken = False
            self._waker.recv(4096)

    def _offer(self) -> list[str]:
        with self._changed:
            return self._session.offer()

    def _note_failure(self, error: Exception, is_final: bool) -> None:
        with self._changed:
            self._last_error = error
            if is_final:
                self._end(CloseCode.ABNORMAL_CLOSURE, str(error), error)

    def _is_hopeless(self, error: OSError) -> bool:
        is_first = self._state is State.CONNECTING
        return is_first and isinstance(error, ssl.SSLCertVerificationError)

    def _serve(self, network: NetworkConnection) -> None:
        """From the handshake to the loss."""
        self._waker.setblocking(False)
        network.wake_on(self._waker)
        watch = Watch(self._session, self._patience)
        with self._changed:
            self._is_served = True
            self._transport = network.transport
            self._session.answered(network.subprotocol, watch.note_life())
        while self._step(network, watch):
            pass
        with self._changed:
            self._leave(network, watch)
        self._linger(network)
        with self._changed:
            self._is_served = False
            if self._closing is not None:
                self._end(*self._closing)

    def _step(self, network: NetworkConnection, watch: Watch) -> bool:
        """Write, wait, read. False if the network connection is over."""
        with self._changed:
            self._take_over(network)
            if self.is_ending:
                return False
            is_full = self._inbox.is_full and not self._is_draining
            is_choked = network.unwritten_bytes > _MAX_UNWRITTEN_BYTES
            wait_s = watch.wait_s()
        has_written = network.flush()
        is_readable = network.wait(wait_s, reads=not is_full and not is_choked)
        self._hear_waker()
        if is_full or (is_choked and has_written):  # what it says is not read
            with self._changed:
                self._session.heard(watch.note_life())
        if is_readable:
            self._read(network, watch)
        if not network.is_open:
            return False
        if watch.wants_ping():
            network.ping()
        return is_readable or not watch.is_lost()

    def _take_over(self, network: NetworkConnection) -> None:
        """What the session has for the network and the application; with the lock held."""
        self._session.tick(self._clock.now_s())
        while self._session.has_outgoing and network.unwritten_bytes < _WRITE_AHEAD_BYTES:
            if not network.is_open:
                break
            network.send(self._session.next_outgoing())
        self._deliver()

    def _deliver(self) -> None:
        """Give the application what has come; with the lock held."""
        if self._session.is_open and self._close is None:
            self._state = State.OPEN
            self._was_open = True
        while self._session.taken:
            message = self._session.taken.popleft()
            if not self._is_draining:
                self._inbox.put(message)
        self._changed.notify_all()

    def _read(self, network: NetworkConnection, watch: Watch) -> None:
        messages = network.read()
        if messages is None:
            return
        with self._changed:
            now_s = watch.note_life()
            self._session.heard(now_s)
            try:
                for message in messages:
                    self._session.receive(message, now_s)
            except ResumeProtocolError as error:
                reason = str(error).encode()[:MAX_REASON_BYTES].decode("utf-8", "ignore")
                network.close(CloseCode.PROTOCOL_ERROR, reason)

    def _leave(self, network: NetworkConnection, watch: Watch) -> None:
        """The network connection is over, or to be; with the lock held."""
        self._deliver()
        was_greeted = self._session.is_open
        self._ways.note_end(network.transport, watch.age_s(), was_greeted=was_greeted)
        if self._session.is_open:
            was_cut = self._session.has_exchanged and network.was_cut
            self._backoff.ended(watch.age_s(), was_cut=was_cut)
        if self._closing is not None and network.is_open:
            return
        code = network.close_code
        comes_back = self._session.lost(code)
        if comes_back and self._closing is None:
            self._last_error = ConnectionClosed(code, network.close_reason)
            if self._state is State.OPEN:
                self._state = State.WAITING
            self._changed.notify_all()
        else:
            self._end(*(self._closing or (code, network.close_reason)))

    def _linger(self, network: NetworkConnection) -> None:
        """Write the rest and a close frame, and wait for the server's."""
        if self._closing is not None and network.is_open:
            with self._changed:
                while self._session.has_outgoing:
                    network.send(self._session.next_outgoing())
            network.close(*self._closing)
        elif network.is_open:  # it was silent
            return
        network.flush()
        timeout_s = self._patience.close_timeout_s
        end_s = None if timeout_s is None else self._clock.now_s() + timeout_s
        while not network.is_over and not network.is_closed_by_server:
            left_s = None if end_s is None else end_s - self._clock.now_s()
            if left_s is not None and left_s <= 0:
                return
            network.wait(self._clock.real_s(left_s), reads=True)
            self._hear_waker()
            network.read()
            network.flush()
