"""The thread that listens to a Redis, and subscribes there to what its process wants to hear.

Whoever wants to hear a channel, or not any more, notes that and wakes the thread, which alone uses
the connection. It asks for some thousands at a time and reads between, because Redis cuts off who
has too many answers waiting.

Invariants:
- Redis works when it has confirmed all that was wanted when the connection was made. A connection
  is no proof, nor is a command that was sent.
- `_changed` guards what is said below; no call to Redis is made and nothing logged with it held.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import Any, Protocol

from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import ResponseError

from ..runtime import lifecycle, locks, logs, threads
from .outage import Backoff, Silence
from .redis_address import LOST, RedisAddress, reason_of
from .redis_publisher import Refused

logger = logs.logger(__package__)

_MOST_CHANNELS = 4000
_MOST_CHANNEL_BYTES = 256 * 1024
"""Of one command, and about those of its answers."""
_BATCH = 512
"""As many messages are delivered together."""
_SHORTEST_ANSWER_S = 5.0
"""What Redis is given for an answer, however often it is asked."""
_NOBODYS = b"wshandler:?sign"
"""A channel to unsubscribe from, which Redis answers also while it loads its data, when it refuses
a PING and carries messages all the same."""


class Owner(Protocol):
    """The bus, as far as it concerns the subscriber."""

    def subscriber_works(self) -> None: ...

    def subscriber_fails(self, reason: str) -> None: ...

    def deliver(self, came: list[bytes]) -> None: ...


class Subscriber:
    """What a process wants to hear, and the thread that hears it. Any thread may call it."""

    def __init__(self, address: RedisAddress, owner: Owner, silence: Silence) -> None:
        self._address = address
        self._owner = owner
        self._silence = silence
        self._changed = locks.new_condition()
        # Guarded by _changed.
        self._wanted: dict[bytes, None] = {}
        #: Channels that are wanted, or not wanted any more, with the number of that request;
        #: they are in the order of these numbers.
        self._requests: dict[bytes, int] = {}
        self._requested = 0
        self._confirmed = 0
        self._is_failing = False
        self._has_waited_in_vain = False
        self._is_to_connect_anew = False
        self._is_closed = False
        self._thread = threads.BackgroundThread("listen", self._run, logger)
        self._waker: socket.socket | None = None
        self._is_woken = False
        # The thread's own.
        self._wakee: socket.socket | None = None
        self._session: _Session | None = None
        self._works_since_s: float | None = None
        #: How long the last connection was silent before it was lost, if it had worked.
        self._silent_s = 0.0

    def subscribe(self, channel: bytes) -> None:
        """Want to hear a channel; `wait` has it subscribed to. Never waits."""
        with self._changed:
            self._wanted[channel] = None
            self._request(channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Want to hear it no more; `wait` has it unsubscribed from. Never waits."""
        with self._changed:
            self._wanted.pop(channel, None)
            self._request(channel)

    def wait(self, timeout_s: float) -> bool:
        """Have the thread see to all that is wanted, and wait for Redis's word."""
        if self._confirmed >= self._requested:
            return True
        with self._changed:
            trouble = self._start()
            wanted = self._requested
            self._wake()
            until_s = time.monotonic() + timeout_s
            while self._confirmed < wanted and not trouble:
                if self._is_failing or self._has_waited_in_vain or self._is_closed:
                    return False
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    # Nobody else shall wait, until Redis is heard of again.
                    self._has_waited_in_vain = timeout_s > 0
                    return False
                self._changed.wait(rest_s)
        if trouble:
            self._owner.subscriber_fails(trouble)
        return not trouble

    def connect_anew(self) -> None:
        """Have the thread give up its connection for another one. Never waits."""
        with self._changed:
            self._is_to_connect_anew = True
            self._wake()

    def close(self, until_s: float) -> None:
        """End the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._wake()
            self._thread.end()
        self._thread.join(until_s - time.monotonic())

    def abandon(self) -> None:
        """In a forked child: close its copies of descriptors, and leave the connection be."""
        for sock in (self._waker, self._wakee):
            if sock is not None:
                sock.close()
        if self._session is not None:
            self._session.close()

    # With _changed held.

    def _request(self, channel: bytes) -> None:
        self._requested += 1
        self._requests.pop(channel, None)
        self._requests[channel] = self._requested

    def _start(self) -> str:
        """Have the thread; returns why there is none."""
        if self._is_closed:
            return ""
        lifecycle.stop_at_exit()
        return "" if self._thread.start() else "no thread can start to listen"

    def _wake(self) -> None:
        if self._waker is not None and not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(OSError):  # full: it will wake up anyway; closed: it has ended
                self._waker.send(b"\0")

    # The thread.

    def _run(self) -> None:
        backoff = Backoff()
        while not self._is_closed:
            reason = ""
            self._works_since_s = None
            silent_s = 0.0
            try:
                self._have_waker()
                self._session = _Session(self._address, self._wakee, self._silence)
                self._listen(self._session)
            except LOST as error:
                reason = reason_of(error)
                if self._session is not None and self._works_since_s is not None:
                    silent_s = self._session.silent_s
            finally:
                session, self._session = self._session, None
                if session is not None:
                    session.close()
            self._silent_s = silent_s
            if reason and not self._is_closed:
                now_s = time.monotonic()
                self._fail(reason)
                self._pause(backoff.failed(now_s - (self._works_since_s or now_s)))
        self._end()

    def _have_waker(self) -> None:
        """Make it. In the thread, which tries again when there is no descriptor at this moment."""
        if self._waker is not None:
            return
        with contextlib.ExitStack() as opened:
            waker, wakee = map(opened.enter_context, socket.socketpair())
            waker.setblocking(False)
            wakee.setblocking(False)
            opened.pop_all()
        with self._changed:
            self._waker, self._wakee = waker, wakee

    def _listen(self, session: _Session) -> None:
        """Be subscribed to what is wanted, and deliver what comes. Raises `LOST`."""
        restored = self._request_all()
        while not self._is_closed:
            if session.is_answered:
                if self._confirm(session.answers_up_to) >= restored:
                    if self._works_since_s is None:
                        self._works_since_s = time.monotonic()
                        self._silence.was_too_long(self._silent_s)
                    self._owner.subscriber_works()
                self._ask(session)
            came: list[bytes] = []
            try:
                session.receive(came)
            finally:
                if came:
                    self._owner.deliver(came)
            if self._is_to_connect_anew:
                raise Unreachable("its address may be another Redis's now")

    def _request_all(self) -> int:
        """Begin anew with a connection that has subscribed to nothing."""
        with self._changed:
            self._is_to_connect_anew = False
            self._requested += 1
            self._requests = dict.fromkeys(self._wanted, self._requested)
            return self._requested

    def _confirm(self, number: int) -> int:
        with self._changed:
            if number > self._confirmed:
                self._confirmed = number
                self._is_failing = self._has_waited_in_vain = False
                self._changed.notify_all()
            return self._confirmed

    def _ask(self, session: _Session) -> None:
        """Have the session ask for the next channels, if something is wanted of it."""
        wanted: list[bytes] = []
        unwanted: list[bytes] = []
        size = 0
        with self._changed:
            self._is_woken = False
            if session.answers_up_to >= self._requested:
                return
            while self._requests and size < _MOST_CHANNEL_BYTES:
                if len(wanted) + len(unwanted) == _MOST_CHANNELS:
                    break
                channel = next(iter(self._requests))
                del self._requests[channel]
                size += len(channel)
                (wanted if channel in self._wanted else unwanted).append(channel)
            following = next(iter(self._requests.values()), self._requested + 1)
        session.ask(wanted, unwanted, following - 1)

    def _fail(self, reason: str) -> None:
        with self._changed:
            self._is_failing = True
            self._changed.notify_all()
        self._owner.subscriber_fails(reason)

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, or for the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _end(self) -> None:
        with self._changed:
            waker, self._waker = self._waker, None
        for sock in (waker, self._wakee):
            if sock is not None:
                sock.close()


class _Session:
    """One connection that listens, and the questions on it. The thread's own."""

    def __init__(
        self, address: RedisAddress, wakee: socket.socket | None, silence: Silence
    ) -> None:
        """Connect. Raises `LOST`."""
        self._answer_s = max(address.silence_s, _SHORTEST_ANSWER_S)
        self._silence = silence
        self._wakee = wakee
        self._connection: Any = address.connect()
        self._selector = selectors.DefaultSelector()
        # redis-py has no public name for its socket, and no way to wait for two.
        self._selector.register(self._connection._sock, selectors.EVENT_READ)
        if wakee is not None:
            self._selector.register(wakee, selectors.EVENT_READ)
        self._subscribed: set[bytes] = set()
        #: The last request that all answers so far answer.
        self.answers_up_to = 0
        self._asks_up_to = 0
        self._awaited_count = 0
        self._is_sign_awaited = False
        self._asked_s = self._heard_s = time.monotonic()
        self._silent_before_s = 0.0
        self._is_more = False

    @property
    def is_answered(self) -> bool:
        """Whether Redis owes no answer."""
        return not self._awaited_count and not self._is_sign_awaited

    @property
    def silent_s(self) -> float:
        """How long it has been silent, or was when Redis was asked what it has not answered."""
        if self.is_answered:
            return time.monotonic() - max(self._asked_s, self._heard_s)
        return self._silent_before_s if self._heard_s <= self._asked_s else 0.0

    def close(self) -> None:
        """Close the connection, and in a forked child its descriptor only."""
        self._connection.disconnect()
        self._selector.close()  # and nothing unregistered: an epoll set is shared with a parent

    def ask(self, wanted: list[bytes], unwanted: list[bytes], up_to: int) -> None:
        """Ask for channels, and for the end of others; or, where nothing is new, for a sign."""
        wanted = [channel for channel in wanted if channel not in self._subscribed]
        unwanted = [channel for channel in unwanted if channel in self._subscribed]
        self._asks_up_to = up_to
        if not wanted and not unwanted:
            self._ask_for_sign()
            return
        self._subscribed.update(wanted)
        self._subscribed.difference_update(unwanted)
        self._note_asked()
        self._awaited_count = len(wanted) + len(unwanted)
        for command, channels in (("SUBSCRIBE", wanted), ("UNSUBSCRIBE", unwanted)):
            if channels:
                self._connection.send_command(command, *channels)

    def _ask_for_sign(self) -> None:
        self._note_asked()
        self._is_sign_awaited = True
        self._connection.send_command("UNSUBSCRIBE", _NOBODYS)

    def _note_asked(self) -> None:
        self._silent_before_s = self.silent_s
        self._asked_s = time.monotonic()

    def receive(self, came: list[bytes]) -> None:
        """Wait until something comes or is to be done; append to `came` what was published.

        Raises `LOST`, also when Redis is silent though it was asked.
        """
        timeout_s = 0.0 if self._is_more else self._seconds_until_due()
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._wakee:
                self._wakee.recv(4096)
        count = 0
        while count < _BATCH and self._connection.can_read(0):
            self._read(came)
            count += 1
        self._is_more = count == _BATCH
        now_s = time.monotonic()
        if count:
            self._heard_s = now_s
        self._check_silence(now_s)

    def _seconds_until_due(self) -> float:
        if self.is_answered:
            due_s = self._asked_s + self._silence.allowed_s
        else:
            due_s = max(self._asked_s, self._heard_s) + self._answer_s
        return max(0.0, due_s - time.monotonic())

    def _check_silence(self, now_s: float) -> None:
        if self._seconds_until_due() > 0:
            return
        if self.is_answered:
            self._ask_for_sign()
        else:
            raise Unreachable(f"Redis has not answered for {self._answer_s:g} seconds")

    def _read(self, came: list[bytes]) -> None:
        try:
            response = self._connection.read_response()
        except ResponseError as error:
            if self._awaited_count:
                raise Refused(f"Redis refuses SUBSCRIBE: {error}") from None
            self._is_sign_awaited = False  # a refusal is a sign as well
            response = None
        what = response[0] if isinstance(response, list) else response
        if what == b"message":
            came.append(response[2])
        elif what == b"unsubscribe" and response[1] == _NOBODYS:
            self._is_sign_awaited = False
        elif what in (b"subscribe", b"unsubscribe"):
            self._awaited_count = max(0, self._awaited_count - 1)
        if self.is_answered:
            self.answers_up_to = self._asks_up_to
