"""What a program calls: the hub's methods, and the streams of what they yield."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec

from ..calls import messages
from ..calls.errors import CallErrorCode, call_error
from ..calls.signatures import Signature, calls_of, signatures_of_contract
from ..calls.validation import converted_arguments
from ..protocol.frames import Message
from .call_handlers import handlers_of
from .call_reader import CallReader, too_much_waits
from .call_table import PendingCall, PendingStream, copy_of, wrong_answer
from .connection import Connection
from .errors import ConnectionClosed

Contract = TypeVar("Contract")


class Calls(Generic[Contract]):
    """The calls over a connection, as long as its block lasts. Made by `calls`."""

    def __init__(
        self,
        connection: Connection,
        handlers: Mapping[str, Callable[..., Any]] | object | None,
        of: type[Contract] | None,
        timeout_s: float | None,
        on_message: Callable[[Message], object] | None,
    ) -> None:
        """Raises TypeError for handlers or a contract that can't be used."""
        if of is not None and not isinstance(of, type):
            raise TypeError(f"a contract is a class, not {of!r}")
        self._reader = CallReader(connection, handlers_of(handlers), on_message)
        self._caller = Caller(self._reader, timeout_s)
        self._proxy = Proxy(self._caller, of)

    def __enter__(self) -> Contract:
        self._reader.start()
        return cast("Contract", self._proxy)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._reader.end()


class Proxy:
    """Has the hub's methods."""

    def __init__(self, caller: Caller, contract: type | None) -> None:
        self._caller = caller
        self._contract = contract
        self._methods: dict[str, Method] | None = None
        if contract is not None:
            found = calls_of(contract) or signatures_of_contract(contract)
            self._methods = {each.attribute: Method(caller, each) for each in found.values()}

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._methods is None:
            return Method(self._caller, Signature(name, name, name, (), Any, False, ""), False)
        try:
            return self._methods[name]
        except KeyError:
            known = ", ".join(sorted(self._methods)) or "nothing"
            of = getattr(self._contract, "__qualname__", "the contract")
            raise AttributeError(f"{of} has no {name}, but {known}") from None


class Method:
    """One of the hub's. Any thread."""

    def __init__(self, caller: Caller, signature: Signature, is_of_contract: bool = True) -> None:
        self._caller = caller
        self._signature = signature
        self._is_of_contract = is_of_contract
        returns = types.NoneType if signature.returns is None else signature.returns
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(returns)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and wait for the result: for what yields, an iterator. Raises `CallError`."""
        if self._signature.is_stream:
            return self.stream(*args, **kwargs)
        arguments = self._arguments(args, kwargs)
        return self._caller.call(self._signature.name, arguments, self._decoder)

    def stream(self, *args: Any, **kwargs: Any) -> Items:
        """Call it, and iterate over what it yields. Leaving the loop early cancels it."""
        is_known = not self._is_of_contract or self._signature.is_stream
        if not is_known:
            raise TypeError(f"{self._signature.shown_name} yields nothing: it returns its result")
        arguments = self._arguments(args, kwargs)
        return self._caller.stream(self._signature.name, arguments, self._decoder)

    def notify(self, *args: Any, **kwargs: Any) -> None:
        """Call it, and wait for nothing: what becomes of it is not told."""
        self._caller.notify(self._signature.name, self._arguments(args, kwargs))

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and kwargs:
            raise TypeError("arguments go by their places or by their names, not both")
        if kwargs:
            return kwargs
        return converted_arguments(self._signature, args) if self._is_of_contract else list(args)

    def __repr__(self) -> str:
        return f"<Method {self._signature.shown_name}>"


class Caller:
    """Makes calls by what reads their answers. Any thread."""

    def __init__(self, reader: CallReader, timeout_s: float | None) -> None:
        self._reader = reader
        self._table = reader.table
        self._timeout_s = timeout_s

    def call(self, name: str, arguments: Any, decoder: msgspec.json.Decoder[Any]) -> Any:
        """The result of a call. Raises `CallError`."""
        pending = self._begin(name, arguments, is_stream=False)
        try:
            self._wait(pending)
            if pending.is_misread:
                raise TypeError(f"{name} yields items: iterate over {name}.stream(…)")
            return _result(pending, decoder)
        finally:
            self.cancel(pending)

    def stream(self, name: str, arguments: Any, decoder: msgspec.json.Decoder[Any]) -> Items:
        """What a call yields."""
        pending = self._begin(name, arguments, is_stream=True)
        assert isinstance(pending, PendingStream)
        return Items(self, pending, decoder)

    def notify(self, name: str, arguments: Any) -> None:
        """Call without an answer. Raises `CallError` where it can't be sent."""
        self._send(messages.notification(name, arguments))

    def next_item(self, stream: PendingStream) -> bytes | None:
        """Wait for the next item; None at the end. Raises `CallError`."""
        while (item := self._table.take(stream)) is None:
            if stream.is_over and not stream.items:
                if stream.error is not None:
                    raise copy_of(stream.error)
                return None
            if not stream.may_resume:
                self._wait(stream)
            self._resume(stream)
        self._resume(stream)
        return item

    def _resume(self, stream: PendingStream) -> None:
        if stream.may_resume:
            self._send(messages.notification(messages.RESUME, {"id": stream.number}))
            self._table.resumed(stream)

    def cancel(self, pending: PendingCall) -> None:
        """Tell the server that nobody waits for it, unless it is over."""
        if self._table.drop(pending):
            self._reader.say(messages.notification(messages.CANCEL, {"id": pending.number}))

    def cancel_later(self, pending: PendingCall) -> None:
        """The same. For a `__del__`: it takes no lock."""
        if not pending.is_over:
            self._reader.handlers_thread.put_soon(lambda: self.cancel(pending))

    def _begin(self, name: str, arguments: Any, *, is_stream: bool) -> PendingCall:
        thread = self._reader.handlers_thread
        is_of_handler = thread.is_current
        pending = self._table.begin(name, is_stream=is_stream, is_of_handler=is_of_handler)
        try:
            if is_of_handler and thread.is_full:
                raise too_much_waits()
            self._send(messages.request(pending.number, name, arguments))
        except BaseException:
            self._table.drop(pending)
            raise
        return pending

    def _wait(self, pending: PendingCall) -> None:
        if not self._table.wait(pending, self._timeout_s):
            reason = f"{pending.name} has said nothing for {self._timeout_s:g} s"
            self.cancel(pending)
            raise call_error(CallErrorCode.TIMED_OUT, reason)

    def _send(self, text: str) -> None:
        try:
            self._reader.connection.send(text, self._timeout_s)
        except ConnectionClosed as closed:
            raise call_error(CallErrorCode.CONNECTION_LOST, str(closed)) from closed
        except TimeoutError as error:
            raise call_error(CallErrorCode.TIMED_OUT, str(error)) from error


class Items(Iterator[Any]):
    """What a call yields, one after the other. One thread at a time.

    Leaving a loop over it early, or `close`, cancels the call. Raises `CallError` for what the call
    has raised.
    """

    def __init__(
        self, caller: Caller, stream: PendingStream, decoder: msgspec.json.Decoder[Any]
    ) -> None:
        self._caller = caller
        self._stream = stream
        self._decoder = decoder
        self._is_closed = False

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        if self._is_closed:
            raise StopIteration
        try:
            item = self._caller.next_item(self._stream)
            if item is not None:
                return _decoded(self._stream, item, self._decoder)
        except BaseException:
            self.close()
            raise
        self._is_closed = True
        raise StopIteration

    def close(self) -> None:
        """Cancel it, unless it is over."""
        self._is_closed = True
        self._caller.cancel(self._stream)

    def __enter__(self) -> Items:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self.__dict__.get("_is_closed", True):
            with contextlib.suppress(Exception):  # at the interpreter's end
                self._caller.cancel_later(self._stream)


def _result(pending: PendingCall, decoder: msgspec.json.Decoder[Any]) -> Any:
    if pending.error is not None:
        raise copy_of(pending.error)
    return _decoded(pending, pending.result, decoder)


def _decoded(
    pending: PendingCall, raw: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[Any]
) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise wrong_answer(pending, str(error)) from None
