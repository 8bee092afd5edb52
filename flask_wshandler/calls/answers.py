"""The calls to one client that are under way, and what becomes of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from ..handlers.handler import connection_of
from ..runtime import locks
from . import messages
from .errors import CallError, CallErrorCode, call_error

if TYPE_CHECKING:
    from ..handlers.handler import WebSocketHandler
    from ..runtime.timer import Timer
    from .validation import ResultChecker

T = TypeVar("T")


class BoundCallback:
    """A callback with what it is given, that is called like the callback."""

    def __init__(self, callback: Callable[[Any], object], argument: Any) -> None:
        self.__name__ = getattr(callback, "__name__", "then")
        self._callback = callback
        self._argument = argument

    def __call__(self) -> None:
        self._callback(self._argument)


class Answer(Generic[T]):
    """What a client will answer to a call. Any thread.

    As the return type in a contract, `Answer[bool]` is for type checkers: `bool` means the same.
    """

    _wshandler_answer: ClassVar[bool] = True

    def __init__(self, answers: Answers, number: int, due_s: float, shown_name: str) -> None:
        self._answers = answers
        self._number = number
        #: By the timer's clock.
        self.due_s = due_s
        self.shown_name = shown_name
        self._is_settled = threading.Event()
        # Guarded by the lock of `answers`.
        self._value: Any = None
        self._error: CallError | None = None
        self._then: list[tuple[Callable[[T], object], Callable[[CallError], object] | None]] = []

    def then(
        self,
        callback: Callable[[T], object],
        on_error: Callable[[CallError], object] | None = None,
    ) -> None:
        """Have `callback` called with the answer, or `on_error` with a `CallError`.

        Both as callbacks of the handler, in the client's order. Without `on_error` an error is a
        line in the log, unless it is that the client is gone.
        """
        with self._answers.lock:
            self._then.append((callback, on_error))
            is_settled = self._is_settled.is_set()
        if is_settled:
            self._answers.settle_later(self)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the answer, for `timeout` seconds at most.

        For a view, or a call with a thread of its own. Raises `CallError` for an error, as when the
        client is gone or its time is over; TimeoutError; and RuntimeError in a callback of this
        client, where its answer can't come.
        """
        if not self._is_settled.is_set() and self._answers.is_in_turn():
            raise RuntimeError(
                f"{self.shown_name} can't be answered while a callback of this client runs: give "
                "what is to follow to .then(…), or mark the call with @call(thread=True)"
            )
        if not self._is_settled.wait(timeout):
            raise TimeoutError(f"{self.shown_name} is not answered in {timeout:g} s")
        if self._error is not None:
            raise CallError(self._error.code, self._error.message, self._error.data)
        value: T = self._value
        return value

    def settle(self, value: Any, error: CallError | None) -> None:
        """Let those know who wait. With the lock held, once."""
        self._value, self._error = value, error
        self._is_settled.set()

    def take_then(self) -> list[BoundCallback]:
        """What is to be called now, each once."""
        with self._answers.lock:
            waiting, self._then = self._then, []
        calls: list[BoundCallback] = []
        for callback, on_error in waiting:
            if self._error is None:
                calls.append(BoundCallback(callback, self._value))
            elif on_error is not None:
                calls.append(BoundCallback(on_error, self._error))
            elif self._error.code != CallErrorCode.CONNECTION_LOST:
                self._answers.log_unhandled(self.shown_name, self._error)
        return calls

    def __repr__(self) -> str:
        state = "answered" if self._is_settled.is_set() else "under way"
        return f"<Answer of {self.shown_name}, {state}>"


class Answers:
    """The calls to one client. Any thread, except where noted."""

    def __init__(
        self,
        handler: WebSocketHandler,
        timer: Callable[[], Timer],
        log: Callable[[str], None],
        is_in_turn: Callable[[], bool],
        settled: Callable[[Answer[Any]], None],
    ) -> None:
        """`settled` calls what waits for an answer, in the client's turn."""
        self._handler = handler
        self._timer = timer
        self._log = log
        self._settled = settled
        self.is_in_turn = is_in_turn
        self.due_tick: int | None = None  # the timer's
        self.lock = locks.Lock()
        # Guarded by lock.
        # By chance: what a client answers to the handler before a restart is not for this one.
        self._last = random.getrandbits(40)
        self._pending: dict[int, tuple[Answer[Any], ResultChecker | None]] = {}
        self._is_over = False

    def call(
        self,
        shown_name: str,
        name: str,
        arguments: list[Any],
        checker: ResultChecker | None,
        most: int,
        timeout_s: float,
    ) -> Answer[Any]:
        """Call the client. Raises `CallError` when `most` calls are under way."""
        timer = self._timer()
        with self.lock:
            if len(self._pending) >= most:
                raise call_error(
                    CallErrorCode.TOO_MANY_CALLS, f"{most} calls of this client's are not answered"
                )
            self._last += 1
            number = self._last
            due_s = timer.clock.now_s() + timeout_s
            answer: Answer[Any] = Answer(self, number, due_s, shown_name)
            text = messages.request(number, name, arguments)
            self._pending[number] = answer, checker
        try:
            is_sent = not self._is_over and self._handler.send(text)
        except BaseException:
            with self.lock:
                self._pending.pop(number, None)
            raise
        if is_sent:
            timer.wake(self, timeout_s)
        else:
            self._fail(number, call_error(CallErrorCode.CONNECTION_LOST))
        return answer

    def _fail(self, number: int, error: CallError) -> None:
        with self.lock:
            pending = self._pending.pop(number, None)
            if pending is not None:
                pending[0].settle(None, error)
        if pending is not None:
            self.settle_later(pending[0])

    def settle_later(self, answer: Answer[Any]) -> None:
        """Have what waits for an answer called in the client's turn."""
        connection = connection_of(self._handler)
        if connection is not None:
            connection.in_turn(lambda: self._settled(answer))

    def answered(self, response: messages.Incoming) -> Answer[Any] | None:
        """Take a response. None for one that nobody waits for. In the turn."""
        with self.lock:
            number = response.id
            pending = self._pending.pop(number, None) if type(number) is int else None
            if pending is None:
                return None
            answer, checker = pending
            error = messages.error_in(response)
            value = None
            if error is None:
                try:
                    value = _read(response.result, checker)
                except (msgspec.DecodeError, RecursionError, ValueError) as wrong:
                    reason = f"{answer.shown_name} has a wrong answer: {wrong}"
                    error = call_error(CallErrorCode.INTERNAL_ERROR, reason)
            answer.settle(value, error)
        return answer

    def on_time(self, now_s: float) -> float | None:
        """Fail the calls whose time is over. The timer's thread."""
        with self.lock:
            due = [n for n, (answer, _) in self._pending.items() if answer.due_s <= now_s]
            rest = [answer.due_s for n, (answer, _) in self._pending.items() if n not in due]
        for number in due:
            self._handler.send(messages.notification(messages.CANCEL, {"id": number}))
            self._fail(number, call_error(CallErrorCode.TIMED_OUT))
        return min(rest) - now_s if rest else None

    def end(self) -> list[Answer[Any]]:
        """Fail all: the client is gone. In the turn."""
        with self.lock:
            self._is_over = True
            pending, self._pending = self._pending, {}
            for answer, _ in pending.values():
                answer.settle(None, call_error(CallErrorCode.CONNECTION_LOST))
        if pending:
            self._timer().cancel(self)
        return [answer for answer, _ in pending.values()]

    def log_unhandled(self, shown_name: str, error: CallError) -> None:
        """Say what a client has answered that nobody takes."""
        self._log(f"{shown_name} has failed, and nobody was to be told: {error!s:.200}")


def _read(raw: msgspec.Raw, checker: ResultChecker | None) -> Any:
    # What has no result and no error is null, as from a function that returns nothing.
    data = bytes(raw) or b"null"
    return msgspec.json.decode(data) if checker is None else checker.decoder.decode(data)
