"""The user's side: subclass `Hub`, mark what the page may call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, overload

from ..handlers.handler import WebSocketHandler
from .callees import callees_of
from .client import Broadcasts, ClientCalls, CollectionCalls, check_contract
from .running import HubCallbacks
from .signatures import checked_name, contract_of, mark

if TYPE_CHECKING:
    from .answers import Answers

Contract = TypeVar("Contract")
Method = TypeVar("Method", bound=Callable[..., Any])


@overload
def call(function: Method, /) -> Method: ...


@overload
def call(name: str | None = None, /, *, thread: bool = False) -> Callable[[Method], Method]: ...


def call(
    function_or_name: Callable[..., Any] | str | None = None, /, *, thread: bool = False
) -> Any:
    """Mark a method of a `Hub` that its client may call; nothing else can be.

    `@call`, or `@call("name", thread=True)`: by another name; in a thread of its own, beside the
    client's other callbacks, for what blocks for long. A process has at most 32 such threads, a
    client 8 of them.

    Arguments are held to the annotations, and so is what the method returns: what msgspec reads
    and writes, such as dataclasses, TypedDicts, its structs, and the standard library's types. What
    yields, or is annotated as an Iterator, is a stream: one item after the other is sent, as fast
    as the client takes them, and `$/cancel` closes the generator.

    It runs in Flask's contexts as any callback does. `CallError` is what the client gets, `abort`
    with a 4xx too; anything else that is raised is logged, and the client is told that there was
    an error. It stays connected.
    """

    def decorate(function: Any) -> Any:
        if not callable(function):
            raise TypeError(f"@call marks methods, not {function!r}")
        wanted = function_or_name if isinstance(function_or_name, str) else function.__name__
        name = checked_name(wanted, function)
        mark(function, name, in_thread=thread)
        return function

    if callable(function_or_name):
        return decorate(function_or_name)
    return decorate


class Hub(WebSocketHandler, Generic[Contract]):
    """A handler whose client calls its methods, and whose client's functions it calls.

    What is marked with `call` can be called by any client that speaks JSON-RPC 2.0 in text
    messages; `calls.js` and `flask_wshandler.client.calls` do, and the test client. The calls of
    one client run one after the other, as its callbacks do. A hub may have `on_binary` besides.

    `Hub[Page]` names a contract: a class, mostly a `typing.Protocol`, whose methods say what the
    page offers. One that returns None is not answered, others are.
    """

    _wshandler_hub: ClassVar[bool] = True
    _callbacks_class: ClassVar[Any] = HubCallbacks
    _contract: ClassVar[type | None] = None

    #: Calls that go on at a time, in each direction; more are refused, or raise `CallError`.
    max_calls: int = 100
    #: Seconds in which the client has to answer a call.
    call_timeout_s: float = 30.0

    _answers: Answers | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.on_text is not WebSocketHandler.on_text:
            raise TypeError(
                f"{cls.__qualname__}.on_text would never be called: a hub's text messages are calls"
            )
        cls._contract = contract_of(cls)
        try:
            callees_of(cls)
            if cls._contract is not None:
                check_contract(cls._contract)
        except NameError:
            pass  # of what stands below it; at the first client it is tried again

    @property
    def client(self) -> Contract:
        """The client: `self.client.confirm("Really?")` calls its function of that name.

        What the contract says is not answered returns whether it was sent, as `send` does. Else an
        `Answer`: give what is to follow to `.then(…)`, or wait in another thread by `.result()`.
        Raises TypeError for arguments that the contract does not allow, AttributeError for what it
        does not have, `CallError` if `max_calls` are under way, and RuntimeError before the handler
        is accepted.
        """
        if self._answers is None:
            raise self._not_connected()
        return cast("Contract", ClientCalls(self._contract, self, self._answers))

    @classmethod
    def to(cls, members: Broadcasts, *, exclude: WebSocketHandler | None = None) -> Contract:
        """What calls the clients of a collection, in all processes: `Board.to(players).moved(…)`.

        See `to`.
        """
        return cast("Contract", CollectionCalls(cls._contract, members, exclude))

    def use_answers(self, answers: Answers) -> None:
        """Have its client called by `answers`. Of the package."""
        self._answers = answers
