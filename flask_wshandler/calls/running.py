"""A hub's callbacks: text messages are calls, and answers to calls.

Invariant: what a client calls, answers or cancels, and what a call raises, ends nothing but that
call.
"""

from __future__ import annotations

import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..handlers.app_records import records_of
from ..handlers.callback_context import ContextApart
from ..handlers.callbacks import HandlerCallbacks, run
from ..handlers.flask_internals import entered
from ..handlers.handler import connection_of
from ..handlers.named_callback import NamedCallback
from ..handlers.signals import message_received, with_message_signal
from ..runtime import logs, threads
from . import messages
from .answers import Answer, Answers
from .callees import callees_of, take_seat
from .errors import CallError, CallErrorCode, call_error
from .requests import Request, Send, Stream, ThreadedCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handlers.handler import WebSocketHandler
    from ..handlers.request_snapshot import RequestSnapshot
    from ..handlers.slow_callbacks import Running
    from ..protocol.frames import Message

logger = logs.logger(__package__)

_MOST_THREADS_OF_A_CLIENT = 8
"""Of those of the process, so that one client leaves some to others."""


class CallableHandler(Protocol):
    """What a hub is to its callbacks."""

    max_calls: int

    def use_answers(self, answers: Answers) -> None: ...


def _run_apart(
    callbacks: HubCallbacks, callback: Callable[..., object], message: Message | None
) -> BaseException | None:
    """Call `callback` in Flask's contexts, beside the client's callbacks.

    Not `run`, whose every instruction is paid for each message: this one may be current beside it,
    keeps no variables for the next callback, and is not watched for being slow.

    Returns what it or a teardown function raises.
    """
    error: BaseException | None = None
    fault: BaseException | None = None
    context = entered(ContextApart, callbacks.snapshot)
    try:
        callback(message)
    except BaseException as raised:
        error = raised
        callbacks.report(callback, raised)
        fault = raised if callbacks.is_fault(raised) else None
    try:
        context.end(fault)
    except BaseException as raised:
        error = error or raised
        callbacks.report_teardown(callback, raised)
    context.leave()
    context.tokens = None
    return error


class _Gathered:
    """The responses to a batch, until there are all."""

    def __init__(self, expected: int, send: Send) -> None:
        self._expected = expected
        self._send = send
        self._lock = threading.Lock()
        self._responses: list[str] = []

    def add(self, response: str) -> None:
        """Take one. Any thread."""
        with self._lock:
            self._responses.append(response)
            is_all = len(self._responses) == self._expected
        if is_all:
            self._send(messages.batch(self._responses))


def _is_call(incoming: messages.Incoming) -> bool:
    """Whether it is answered."""
    return incoming.has_answer and isinstance(incoming.method, str)


class HubCallbacks(HandlerCallbacks):
    """Calls one hub. In the connection's turn, except where noted."""

    __slots__ = ("_apart", "_callees", "_request", "_thread_count", "_under_way", "answers")

    def __init__(
        self, handler: WebSocketHandler, snapshot: RequestSnapshot, running: Running
    ) -> None:
        super().__init__(handler, snapshot, running)
        self._callees = callees_of(type(handler))
        #: What is called in the turn at this moment; None for a callback.
        self._request: Request | None = None
        #: The same beside the turn, by the thread that does. Its operations are atomic.
        self._apart: dict[int, Request] = {}
        # What goes on after its turn, by the caller's id. The turn's.
        self._under_way: dict[messages.Id, Stream | ThreadedCall] = {}
        # How many threads its calls have, also those that are not answered.
        self._thread_count = 0
        self.answers = Answers(handler, self._timer, self._warn, self._is_in_turn, self._run_later)
        self._hub.use_answers(self.answers)

    @property
    def _hub(self) -> CallableHandler:
        return self._handler  # type: ignore[return-value]  # of no other kind

    def _timer(self) -> Any:
        return records_of(self._snapshot.app).timer

    def _warn(self, text: str) -> None:
        logs.of_app(self._snapshot.app).warning("%s", text)

    def _is_in_turn(self) -> bool:
        """Whether this thread runs one of the client's callbacks. Any thread."""
        found = self._running.get(threading.get_ident())
        return found is not None and getattr(found, "__self__", None) is self._handler

    # What comes.

    def message_received(self, message: Message) -> int | None:
        """Take a call, or an answer; a binary message as any handler does."""
        if type(message) is not str:
            return super().message_received(message)
        found = messages.parse(message)
        if type(found) is messages.Incoming:
            return self._take(found, message, self._handler.send)
        if isinstance(found, messages.Invalid):
            self._handler.send(messages.error(None, found.error))
            return None
        assert isinstance(found, list)
        return self._take_batch(found)

    def _take_batch(self, batch: messages.Batch) -> int | None:
        expected = sum(isinstance(each, messages.Invalid) or _is_call(each) for each, _ in batch)
        gathered = _Gathered(expected, self._handler.send)
        code = None
        for each, text in batch:
            if isinstance(each, messages.Invalid):
                gathered.add(messages.error(None, each.error))
            else:
                code = code or self._take(each, text, gathered.add)
        return code

    def _take(self, incoming: messages.Incoming, text: str, send: Send) -> int | None:
        method = incoming.method
        if not isinstance(method, str):
            answer = self.answers.answered(incoming)
            return None if answer is None else self._run_then(answer)
        callee = self._callees.get(method)
        if callee is None:
            if not incoming.has_answer:
                self._take_note(method, incoming.params)
            else:
                reason = f"nothing is called {method!r:.100}"
                error = call_error(CallErrorCode.METHOD_NOT_FOUND, reason)
                send(messages.error(incoming.id, error))  # type: ignore[arg-type]  # no float
            return None
        request = Request(self._handler, callee, incoming, text, send)
        if self._under_way and self._refuses(request, send):
            return None
        if callee.signature.in_thread:
            self._start_thread(request, text)
        else:
            self._serve(request, text)
        return None

    def _refuses(self, request: Request, send: Send) -> bool:
        """Whether what is under way leaves no place for another call; then that is answered."""
        found = self._under_way.get(request.id) if request.has_answer else None
        if found is not None and found.request.is_answered:
            del self._under_way[request.id]  # whose thread has not come to it yet
        elif found is not None:
            # Not with this id: that would be the first one's answer.
            error = call_error(CallErrorCode.INVALID_REQUEST, f"{request.id!r} is under way")
            send(messages.error(None, error))
            return True
        signature, most = request.callee.signature, self._hub.max_calls
        if (signature.is_stream or signature.in_thread) and len(self._under_way) >= most:
            reason = f"{most} of this client's are under way"
            request.fail(call_error(CallErrorCode.TOO_MANY_CALLS, reason))
            return True
        return False

    def _take_note(self, method: str, params: msgspec.Raw) -> None:
        """Take what concerns a call that is under way."""
        if method not in (messages.CANCEL, messages.PAUSE, messages.RESUME):
            return
        found = self._under_way.get(messages.id_in(params))
        if found is None:
            return
        if method == messages.PAUSE:
            found.pause()
        elif method == messages.RESUME:
            found.resume()
        else:
            self._cancel(found, call_error(CallErrorCode.CANCELLED))

    def _cancel(self, found: Stream | ThreadedCall, error: CallError) -> None:
        request = found.request
        if isinstance(found, ThreadedCall):
            found.cancel()
            request.fail(error)
        else:
            self._call_for(request, request.callback(found.close))
            request.fail(error)
        self._under_way.pop(request.id, None)

    # Calls.

    def _serve(self, request: Request, text: str) -> None:
        is_stream = request.callee.signature.is_stream
        callback: Any = request.callback(self._beginning(request) if is_stream else request.run)
        if message_received.receivers:
            callback = with_message_signal(callback, self._handler, self._snapshot.app)
        self._call_for(request, callback, text)
        if not request.is_answered and request.id not in self._under_way:
            # A middleware has kept it from the call, and has raised nothing.
            request.fail(call_error(CallErrorCode.INTERNAL_ERROR, "it was not let through"))

    def _beginning(self, request: Request) -> Callable[..., None]:
        stream = Stream(self._handler, request, self._run_stream)

        def begin(text: str | None = None) -> None:
            items = request.invoke(text)
            if request.has_answer:
                self._under_way[request.id] = stream
                stream.begin(iter(items))

        return begin

    def _run_stream(self, stream: Stream) -> None:
        self._call_for(stream.request, stream.request.callback(stream.take_items))
        if stream.request.is_answered or stream.is_over:
            self._under_way.pop(stream.request.id, None)

    def _call_for(
        self, request: Request, callback: Callable[..., object], text: str | None = None
    ) -> None:
        self._request = request
        try:
            self.call(callback, text)
        finally:
            self._request = None

    def _call_apart(self, request: Request, callback: Callable[..., object], text: str) -> None:
        ident = threading.get_ident()
        self._apart[ident] = request
        try:
            self.call(callback, text)
        finally:
            del self._apart[ident]

    def call(self, callback: Callable[..., object], message: Message | None = None) -> int | None:
        """Call `callback` in Flask's contexts; what a call raises is answered."""
        request = self._current if self._apart else self._request
        if request is None:
            return super().call(callback, message)
        variables = self._snapshot.variables or Context()
        if request.callee.signature.in_thread:
            error = variables.copy().run(_run_apart, self, callback, message)
        else:
            error = variables.run(run, self, variables, callback, message)
        if error is not None:
            request.fail(error)
        return None

    @property
    def _current(self) -> Request | None:
        """What this thread calls; None in a callback."""
        return self._apart.get(threading.get_ident()) or self._request

    def is_fault(self, error: BaseException) -> bool:
        """Whether it is no answer to a client."""
        if isinstance(error, CallError) and self._current is not None:
            return False
        return super().is_fault(error)

    def report(self, callback: Callable[..., object], error: BaseException) -> None:
        """Log what `callback` has raised, unless it is for the caller."""
        if self._current is None or self.is_fault(error):
            super().report(callback, error)

    # In threads of their own.

    def _start_thread(self, request: Request, text: str) -> None:
        if self._thread_count >= _MOST_THREADS_OF_A_CLIENT:
            reason = f"{_MOST_THREADS_OF_A_CLIENT} threads run for this client"
            request.fail(call_error(CallErrorCode.TOO_MANY_CALLS, reason))
            return
        seat = take_seat()
        if seat is None:
            error = call_error(CallErrorCode.TOO_MANY_CALLS, "the server has no thread for it")
            request.fail(error)
            return
        threaded = ThreadedCall(self._handler, request)

        def run_apart() -> None:
            try:
                self._call_apart(request, request.callback(threaded.run), text)
            finally:
                seat.release()
                self._in_turn(lambda: self._forget(threaded))

        thread = threads.BackgroundThread(
            "call", run_apart, logger, may_wait_for_logs=True, is_repeated=False
        )
        self._thread_count += 1
        if request.has_answer:
            self._under_way[request.id] = threaded
        if not thread.start():
            seat.release()
            self._forget(threaded)
            thread.end()
            error = call_error(CallErrorCode.TOO_MANY_CALLS, "the system has no thread for it")
            request.fail(error)

    def _forget(self, threaded: ThreadedCall) -> None:
        self._thread_count -= 1
        if self._under_way.get(threaded.request.id) is threaded:
            del self._under_way[threaded.request.id]

    def _in_turn(self, do: Callable[[], object]) -> None:
        connection = connection_of(self._handler)
        if connection is not None:
            connection.in_turn(do)

    # Answers.

    def _run_later(self, answer: Answer[Any]) -> None:
        code = self._run_then(answer)
        if code is not None:
            self._handler.close(code)

    def _run_then(self, answer: Answer[Any]) -> int | None:
        code = None
        for call in answer.take_then():
            code = code or self.call(NamedCallback(self._handler, call.__name__, call))
        return code

    def closed(self, code: int, reason: str) -> None:
        """End what is under way, and call `on_close`."""
        lost = call_error(CallErrorCode.CONNECTION_LOST)
        for found in list(self._under_way.values()):
            self._cancel(found, lost)
        for answer in self.answers.end():
            self._run_then(answer)
        super().closed(code, reason)
