"""What a page offers, called from here: one page, or all of a collection."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from . import messages
from .signatures import Signature, checked_name, is_notification, signatures_of_contract
from .validation import ResultChecker, converted_arguments

if TYPE_CHECKING:
    from ..handlers.handler import WebSocketHandler
    from .answers import Answers

Contract = TypeVar("Contract")


class Broadcasts(Protocol):
    """A collection, a group, or whatever has its `broadcast`."""

    def broadcast(self, message: str, *, exclude: WebSocketHandler | None = None) -> object: ...


class CallsClients(Protocol):
    """A handler whose client is called."""

    max_calls: int
    call_timeout_s: float

    def send(self, message: str) -> bool: ...


@functools.lru_cache(256)
def _offers(contract: type) -> Mapping[str, tuple[Signature, ResultChecker]]:
    signatures = signatures_of_contract(contract)
    return {name: (each, ResultChecker(each)) for name, each in signatures.items()}


def check_contract(contract: type) -> None:
    """Raise TypeError for types that can't be used, NameError for some that are not there yet."""
    _offers(contract)


class _Proxy:
    """Has a method for each thing that pages offer."""

    def __init__(self, contract: type | None) -> None:
        self._contract = contract

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        offered = None
        if self._contract is not None:
            offers = _offers(self._contract)
            if name not in offers:
                known = ", ".join(sorted(offers)) or "nothing"
                raise AttributeError(f"{self._contract.__qualname__} has no {name}: {known}")
            offered = offers[name]
        return functools.partial(self._call, name, offered)

    def _call(
        self, name: str, offered: tuple[Signature, ResultChecker] | None, /, *arguments: Any
    ) -> Any:
        raise NotImplementedError


class ClientCalls(_Proxy):
    """Calls one client."""

    def __init__(self, contract: type | None, hub: CallsClients, answers: Answers) -> None:
        super().__init__(contract)
        self._hub = hub
        self._answers = answers

    def _call(
        self, name: str, offered: tuple[Signature, ResultChecker] | None, /, *arguments: Any
    ) -> Any:
        hub, checker, shown_name, given = self._hub, None, name, list(arguments)
        if offered is not None:
            signature, checker = offered
            given, shown_name = converted_arguments(signature, arguments), signature.shown_name
            if is_notification(signature):
                return hub.send(messages.notification(name, given))
        return self._answers.call(
            shown_name, name, given, checker, hub.max_calls, hub.call_timeout_s
        )


class CollectionCalls(_Proxy):
    """Calls all clients of a collection: nobody answers."""

    def __init__(
        self, contract: type | None, members: Broadcasts, exclude: WebSocketHandler | None
    ) -> None:
        super().__init__(contract)
        self._members = members
        self._exclude = exclude

    def _call(
        self, name: str, offered: tuple[Signature, ResultChecker] | None, /, *arguments: Any
    ) -> None:
        given = list(arguments)
        if offered is not None:
            signature, _ = offered
            if not is_notification(signature):
                raise TypeError(
                    f"{signature.shown_name} is answered, which many can't: its return type has to "
                    "be None, or call one client by self.client"
                )
            given = converted_arguments(signature, arguments)
        text = messages.notification(checked_name(name, self._call), given)
        self._members.broadcast(text, exclude=self._exclude)


def to(
    members: Broadcasts, contract: type[Contract], *, exclude: WebSocketHandler | None = None
) -> Contract:
    """What calls the clients of a collection, in all processes: `to(players, Page).moved(…)`.

    `members` is a `WebSocketCollection` or a group; a call is encoded once. It returns None, and
    raises what `broadcast` does, TypeError for arguments that the contract does not allow or a
    method of it that is answered, and AttributeError for what the contract does not have.
    """
    return cast("Contract", CollectionCalls(contract, members, exclude))
