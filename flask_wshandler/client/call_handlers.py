"""What the server may call of a program, and the thread that calls it.

Invariant: one thing at a time, in the server's order; whatever a handler raises, the next is
called.
"""

from __future__ import annotations

import inspect
import queue
import threading
import typing
from collections.abc import Callable, Mapping
from inspect import Parameter as Kinds
from typing import Any

import msgspec

from ..calls import messages
from ..calls.errors import CallError, CallErrorCode, call_error
from ..calls.signatures import Parameter, Signature
from ..calls.validation import ArgumentsDecoder
from ..runtime import logs
from ..runtime.threads import BackgroundThread

MAX_WAITING = 256
MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Of what the server has called: then nothing is read, and TCP holds it up."""

logger = logs.logger("flask_wshandler.client")

Job = Callable[[], object]


class CallableHandler:
    """One function that the server may call."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        """Raises TypeError for one that can't be called by a message."""
        self._name = name
        self._function = function
        self._decoder = ArgumentsDecoder(_signature_of(name, function))

    def call(self, params: msgspec.Raw) -> bytes:
        """Call it; what it returns, as JSON. Raises `CallError`, and what it raises."""
        args, kwargs = self._decoder.decode(params)
        return messages.encoded(self._function(*args, **kwargs))


def handlers_of(given: Mapping[str, Callable[..., Any]] | object | None) -> dict[str, Any]:
    """What may be called, by name: of a dict, or the public methods of an object."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        names = [name for name in dir(given) if not name.startswith("_")]
        # Not by getattr: a property would be computed.
        methods = [name for name in names if callable(inspect.getattr_static(given, name, None))]
        given = {name: getattr(given, name) for name in methods}
    for name, function in given.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(f"handlers are functions by their names, not {name!r}: {function!r}")
    return {name: CallableHandler(name, function) for name, function in given.items()}


def _signature_of(name: str, function: Callable[..., Any]) -> Signature:
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(f"the handler {name} has to be a plain function, which returns its answer")
    try:
        given = tuple(inspect.signature(function).parameters.values())
    except ValueError:  # some of C have none
        given = (Kinds("arguments", Kinds.VAR_POSITIONAL),)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except TypeError:  # an object with __call__, or functools.partial
        hints = {}
    if any(each.kind is Kinds.VAR_KEYWORD for each in given):
        raise TypeError(f"the handler {name} has **arguments, which can't be called")
    parameters = tuple(
        Parameter(each.name, hints.get(each.name, Any), each.default, each.kind) for each in given
    )
    shown_name = getattr(function, "__qualname__", name)
    return Signature(name, name, shown_name, parameters, Any, False, "")


class ServerCall:
    """One call of the server's. Its answer is sent once."""

    def __init__(self, incoming: messages.Incoming, handler: CallableHandler | None) -> None:
        self.incoming = incoming
        self._handler = handler
        #: Written by the thread that reads: nobody waits for it any more.
        self.is_cancelled = False
        #: The same: it was another handler's, whose ids may be used again.
        self.is_of_the_past = False

    def run(self) -> str | None:
        """Call the handler. Returns the answer, if one is wanted."""
        if self.is_cancelled or self.is_of_the_past:
            return self._failed(call_error(CallErrorCode.CANCELLED))
        if self._handler is None:
            reason = f"nothing is called {self.incoming.method!r:.100}"
            return self._failed(call_error(CallErrorCode.METHOD_NOT_FOUND, reason))
        try:
            result = self._handler.call(self.incoming.params)
        except CallError as error:
            return self._failed(error)
        except BaseException as error:
            logger.error("an exception in the handler %s", self.incoming.method, error=error)
            return self._failed(call_error(CallErrorCode.INTERNAL_ERROR))
        if self.is_cancelled:
            return self._failed(call_error(CallErrorCode.CANCELLED))
        return messages.result(self._id, result) if self.incoming.has_answer else None

    @property
    def _id(self) -> messages.Id:
        return self.incoming.id  # type: ignore[return-value]  # floats are refused

    def _failed(self, error: CallError) -> str | None:
        return messages.error(self._id, error) if self.incoming.has_answer else None


class HandlersThread:
    """Does one job after the other. Any thread may call its methods, `__del__` of anything too."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Job, int] | None] = queue.SimpleQueue()
        self._room = threading.Condition()
        # Guarded by _room's lock.
        self._waiting = 0
        self._waiting_bytes = 0
        self._is_over = False
        self._thread = BackgroundThread("call handlers", self._run, logger, is_repeated=False)

    def start(self) -> bool:
        """Begin. False if the system has no thread."""
        return self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether it is this thread."""
        return self._thread.is_current

    def put(self, job: Job, size_bytes: int, is_needed: Callable[[], bool]) -> None:
        """Have a job done, as soon as there is room for it; unless before it `is_needed` no more.

        Not for a `__del__`.
        """
        with self._room:
            self._room.wait_for(lambda: self._has_room or self._is_over or not is_needed())
            self._waiting += 1
            self._waiting_bytes += size_bytes
        self._jobs.put((job, size_bytes))

    def put_soon(self, job: Job) -> None:
        """Have a short job done. For a `__del__`: it takes no lock."""
        self._jobs.put((job, -1))

    @property
    def _has_room(self) -> bool:
        return self._waiting < MAX_WAITING and self._waiting_bytes < MAX_WAITING_BYTES

    @property
    def is_full(self) -> bool:
        """Whether `put` would wait."""
        with self._room:
            return not self._has_room

    def end(self, seconds: float) -> None:
        """Drop what waits, and wait for what runs, for so long at most."""
        with self._room:
            self._is_over = True
            self._room.notify_all()
        self._jobs.put(None)
        self._thread.end()
        self._thread.join(seconds)

    def _run(self) -> None:
        while (found := self._jobs.get()) is not None:
            job, size_bytes = found
            try:
                if not self._is_over or size_bytes < 0:
                    job()
            except BaseException as error:  # a SystemExit of the application's ends nothing, either
                logger.error("an exception in a callback of a client", error=error)
            if size_bytes >= 0:
                with self._room:
                    self._waiting -= 1
                    self._waiting_bytes -= size_bytes
                    self._room.notify_all()
