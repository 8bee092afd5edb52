"""The calls of a program that are under way, and what the server answers to them.

Invariant: a call leaves the table once, by its answer, its time, its caller or the connection's
end; what comes for it afterwards is dropped.
"""

from __future__ import annotations

import collections
import threading

import msgspec

from ..calls import messages
from ..calls.errors import CallError, CallErrorCode, call_error

PAUSE_ABOVE = 64
RESUME_AT = 32
"""Items of a stream that wait."""

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Of a stream's items: more than is on its way while a server hears that it is to pause."""

_BYTES_PER_ITEM = 128


class PendingCall:
    """One call. Guarded by the table's lock."""

    def __init__(self, number: int, name: str, changed: threading.Condition) -> None:
        self.number = number
        self.name = name
        self.changed = changed
        #: Whether a handler makes it, so that no other is called before it is over.
        self.is_of_handler = False
        self.is_over = False
        self.result = msgspec.Raw()
        self.error: CallError | None = None
        #: Set where the caller waits for one result, and items come.
        self.is_misread = False

    @property
    def has_news(self) -> bool:
        """Whether its caller has something to do."""
        return self.is_over or self.is_misread


class PendingStream(PendingCall):
    """One call that is answered by a stream."""

    def __init__(self, number: int, name: str, changed: threading.Condition) -> None:
        super().__init__(number, name, changed)
        self.items: collections.deque[bytes] = collections.deque()
        self.size_bytes = 0
        #: Set when the server has been told, so that the caller resumes it after that.
        self.is_paused = False

    @property
    def may_resume(self) -> bool:
        """Whether the server is to be told to go on."""
        return self.is_paused and not self.is_over and len(self.items) <= RESUME_AT

    @property
    def has_news(self) -> bool:
        """Whether its caller has something to do."""
        return bool(self.items) or self.may_resume or super().has_news

    def put(self, item: bytes) -> None:
        """Add an item as the last."""
        self.items.append(item)
        self.size_bytes += len(item) + _BYTES_PER_ITEM

    def get(self) -> bytes:
        """Take the first."""
        item = self.items.popleft()
        self.size_bytes -= len(item) + _BYTES_PER_ITEM
        return item


class CallTable:
    """Of one connection. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._last = 0
        self._pending: dict[int, PendingCall] = {}
        self._end: CallError | None = None

    def begin(self, name: str, *, is_stream: bool, is_of_handler: bool) -> PendingCall:
        """Note a call that is about to be sent. Raises `CallError` after the end."""
        kind = PendingStream if is_stream else PendingCall
        with self._lock:
            if self._end is not None:
                raise copy_of(self._end)
            self._last += 1
            pending = kind(self._last, name, threading.Condition(self._lock))
            pending.is_of_handler = is_of_handler
            self._pending[self._last] = pending
        return pending

    def drop(self, pending: PendingCall) -> bool:
        """Expect nothing more for it. False if it was over."""
        with self._lock:
            return self._pending.pop(pending.number, None) is not None

    def wait(self, pending: PendingCall, timeout_s: float | None) -> bool:
        """Wait until its caller has something to do. False if there was nothing in time."""
        with self._lock:
            return pending.changed.wait_for(lambda: pending.has_news, timeout_s)

    def take(self, stream: PendingStream) -> bytes | None:
        """The next item; None if none has come."""
        with self._lock:
            return stream.get() if stream.items else None

    def resumed(self, stream: PendingStream) -> None:
        """The server has been told to go on with a stream."""
        with self._lock:
            stream.is_paused = False

    def fail_all(self, error: CallError, *, is_end: bool, of_handlers: bool = False) -> None:
        """End all that is under way, or all `of_handlers`; and if it `is_end`, all later calls."""
        with self._lock:
            if is_end and self._end is None:
                self._end = error
            for pending in list(self._pending.values()):
                if pending.is_of_handler or not of_handlers:
                    del self._pending[pending.number]
                    _finish(pending, msgspec.Raw(), error)

    # What comes from the server.

    def answered(self, response: messages.Incoming) -> None:
        """Take a response; one that nobody waits for is dropped."""
        if type(response.id) is int:
            with self._lock:
                pending = self._pending.pop(response.id, None)
                if pending is not None:
                    _finish(pending, response.result, messages.error_in(response))

    def answered_wrongly(self, number: object, reason: str) -> bool:
        """Take what is no valid response. False if nobody waits for one with that id."""
        if type(number) is not int:
            return False
        with self._lock:
            pending = self._pending.pop(number, None)
            if pending is not None:
                _finish(pending, msgspec.Raw(), wrong_answer(pending, reason))
            return pending is not None

    def item_came(self, number: object, item: bytes) -> str | None:
        """Take one of a stream. Returns what the server is to be told of it, if anything."""
        if type(number) is not int:
            return None
        with self._lock:
            pending = self._pending.get(number)
            if pending is None:
                return None
            if not isinstance(pending, PendingStream):
                pending.is_misread = True
                pending.changed.notify_all()
                return None
            if pending.size_bytes > MAX_WAITING_BYTES:
                del self._pending[number]
                reason = f"{pending.name} sends on though it was told to pause"
                _finish(pending, msgspec.Raw(), call_error(CallErrorCode.TOO_MANY_CALLS, reason))
                return messages.CANCEL
            pending.put(item)
            pending.changed.notify_all()
            if len(pending.items) > PAUSE_ABOVE and not pending.is_paused:
                return messages.PAUSE
            return None

    def paused(self, number: int) -> None:
        """The server has been told to pause a stream."""
        with self._lock:
            pending = self._pending.get(number)
            if isinstance(pending, PendingStream):
                pending.is_paused = True
                pending.changed.notify_all()


def wrong_answer(pending: PendingCall, reason: str) -> CallError:
    """The error of a call whose answer is of no use."""
    return call_error(CallErrorCode.INTERNAL_ERROR, f"{pending.name} has a wrong answer: {reason}")


def copy_of(error: CallError) -> CallError:
    """An exception to be raised: each thread has a traceback of its own."""
    copy = CallError(error.code, error.message, error.data)
    copy.__cause__ = error.__cause__
    return copy


def _finish(pending: PendingCall, result: msgspec.Raw, error: CallError | None) -> None:
    pending.is_over = True
    pending.result = result
    pending.error = error
    pending.changed.notify_all()
