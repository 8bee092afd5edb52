"""What reads a connection for its calls, and brings each message where it belongs.

Invariant: the thread that reads calls nothing of the application's, and never waits to send: what
the server acknowledges is behind what it says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from ..calls import messages
from ..calls.errors import CallError, CallErrorCode, call_error
from ..protocol.frames import Message
from ..runtime.threads import BackgroundThread
from .call_handlers import MAX_WAITING, CallableHandler, HandlersThread, ServerCall, logger
from .call_table import CallTable
from .connection import Connection, inside_of
from .errors import ConnectionClosed
from .session import Gap

ANSWER_S = 30.0
"""How long an answer of a handler waits for room; by then the server has given its call up."""
END_S = 5.0
"""How long the end of the calls waits for a handler that runs."""


class _Answer(msgspec.Struct):
    """What a wrong response may have of a right one."""

    id: int
    method: msgspec.UnsetType = msgspec.UNSET


class _Item(msgspec.Struct):
    id: int
    value: msgspec.Raw


_answer_decoder = msgspec.json.Decoder(_Answer)
_item_decoder = msgspec.json.Decoder(_Item)


def too_much_waits() -> CallError:
    """The error of a handler's call whose answer can't be read."""
    reason = f"{MAX_WAITING} calls or 4 MiB of the server's wait for this handler"
    return call_error(CallErrorCode.TOO_MANY_CALLS, reason)


class CallReader:
    """Of one connection, while its calls are in use. Its own thread's, except where noted."""

    def __init__(
        self,
        connection: Connection,
        handlers: dict[str, CallableHandler],
        on_message: Callable[[Message], object] | None,
    ) -> None:
        inside = inside_of(connection)
        self.connection = connection
        self.table = CallTable()
        self.handlers_thread = HandlersThread()
        self._link = inside.link
        self._on_gap = inside.on_gap
        self._handlers = handlers
        self._on_message = on_message
        #: Calls of the server's that are not answered, by their ids.
        self._server_calls: dict[Any, ServerCall] = {}
        self._has_ended = False
        self._thread = BackgroundThread("calls", self._run, logger, is_repeated=False)

    def start(self) -> None:
        """Begin to read. Any thread, once."""
        if not self.handlers_thread.start() or not self._thread.start():
            self.end()
            raise RuntimeError("the system has no thread for calls")

    def end(self) -> None:
        """Read no more, and fail what is under way. Any thread."""
        self._has_ended = True
        lost = call_error(CallErrorCode.CONNECTION_LOST, "the calls' block has ended")
        self.table.fail_all(lost, is_end=True)
        self._link.wake_receivers()
        self._thread.end()
        self.handlers_thread.end(END_S)
        self._thread.join(END_S)

    def say(self, text: str) -> bool:
        """Send something that must not wait: whether there was room. Any thread."""
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            self.connection.send(text, 0)
            return True
        return False

    def _run(self) -> None:
        error: CallError
        try:
            self._read_all()
        except ConnectionClosed as closed:
            error = call_error(CallErrorCode.CONNECTION_LOST, str(closed))
            error.__cause__ = closed
            self.table.fail_all(error, is_end=True)
        except TimeoutError:
            pass  # `end` has done all
        except BaseException:
            self.table.fail_all(call_error(CallErrorCode.CONNECTION_LOST), is_end=True)
            raise

    def _read_all(self) -> None:
        while True:
            message = self._link.receive(None, lambda: self._has_ended)
            if isinstance(message, Gap):
                self._take_gap(message)
            elif isinstance(message, str):
                self._take_text(message)
            else:
                self._take_other(message)

    def _take_gap(self, gap: Gap) -> None:
        if gap is Gap.MESSAGES:
            for each in list(self._server_calls.values()):
                each.is_of_the_past = True
            self._server_calls.clear()
            lost = call_error(CallErrorCode.CONNECTION_LOST, "another handler has begun")
            self.table.fail_all(lost, is_end=False)
        if self._on_gap is not None:
            on_gap = self._on_gap
            self._put(lambda: on_gap(gap), 0)

    def _take_other(self, message: Message) -> None:
        if self._on_message is not None:
            on_message = self._on_message
            self._put(lambda: on_message(message), len(message))

    def _put(self, job: Callable[[], object], size_bytes: int) -> None:
        if self.handlers_thread.is_full:
            # Its answer is behind what there is no room for.
            self.table.fail_all(too_much_waits(), is_end=False, of_handlers=True)
        self.handlers_thread.put(job, size_bytes, lambda: not self._has_ended)

    def _take_text(self, text: str) -> None:
        found = messages.parse(text)
        if isinstance(found, messages.Incoming):
            self._take(found, len(text))
        elif isinstance(found, list):
            for each, _ in found:
                if isinstance(each, messages.Incoming):
                    self._take(each, len(text))
        elif not self._take_wrong_answer(text, found.error):
            self._take_other(text)

    def _take_wrong_answer(self, text: str, error: CallError) -> bool:
        try:
            number = _answer_decoder.decode(text).id
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return False
        return self.table.answered_wrongly(number, str(error.data or error.message))

    def _take(self, incoming: messages.Incoming, size_bytes: int) -> None:
        method = incoming.method
        if not isinstance(method, str):
            self.table.answered(incoming)
        elif method == messages.ITEM:
            self._take_item(incoming.params)
        elif method == messages.CANCEL:
            cancelled = self._server_calls.get(messages.id_in(incoming.params))
            if cancelled is not None:
                cancelled.is_cancelled = True
        else:
            self._take_call(method, incoming, size_bytes)

    def _take_item(self, params: msgspec.Raw) -> None:
        try:
            item = _item_decoder.decode(params)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return
        what = self.table.item_came(item.id, bytes(item.value))
        if what is not None and self.say(messages.notification(what, {"id": item.id})):
            self.table.paused(item.id)

    def _take_call(self, method: str, incoming: messages.Incoming, size_bytes: int) -> None:
        handler = self._handlers.get(method)
        if handler is None and not incoming.has_answer:
            return
        call = ServerCall(incoming, handler)
        if incoming.has_answer:
            self._server_calls[incoming.id] = call
        self._put(lambda: self._answer(call), size_bytes)

    def _answer(self, call: ServerCall) -> None:
        """Call a handler, and send what it answers. The handlers' thread."""
        answer = call.run()
        if answer is None:
            return
        if self._server_calls.get(call.incoming.id) is call:
            self._server_calls.pop(call.incoming.id, None)
        try:
            if not call.is_of_the_past:
                self.connection.send(answer, ANSWER_S)
        except ConnectionClosed:
            pass
        except TimeoutError:  # not for ever: the thread that reads may wait for this one
            logger.warning("%s: no room for the answer in %g s", call.incoming.method, ANSWER_S)
