"""Typed calls over a connection, for Python programs: the way in. msgspec is needed from here on.

with connect("wss://game.example.org/board") as connection, calls(connection) as board:
    print(board.move({"x": 1}))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from .call_proxy import Calls
    from .connection import Connection

Contract = TypeVar("Contract")
OnMessage = Callable[[str | bytes], object]


@overload
def calls(
    connection: Connection,
    handlers: Mapping[str, Callable[..., Any]] | object | None = None,
    *,
    timeout: float | None = 30.0,
    on_message: OnMessage | None = None,
) -> Calls[Any]: ...


@overload
def calls(
    connection: Connection,
    handlers: Mapping[str, Callable[..., Any]] | object | None = None,
    *,
    of: Callable[..., Contract],  # a class; mypy refuses protocols as type[Contract]
    timeout: float | None = 30.0,
    on_message: OnMessage | None = None,
) -> Calls[Contract]: ...


def calls(
    connection: Connection,
    handlers: Mapping[str, Callable[..., Any]] | object | None = None,
    *,
    of: Any = None,
    timeout: float | None = 30.0,
    on_message: OnMessage | None = None,
) -> Calls[Any]:
    """Call the methods of a hub, and have it call functions here. A context manager.

    In the block it gives what has the hub's methods. While the block lasts, nothing else can
    receive from the connection, which stays open after it.

    `board.move({"x": 1})` waits for the result, and returns it. Arguments go by their places or by
    their names, not both. `board.replay.stream(7)` is an iterator over what a generator yields
    there; leaving the loop early, or its `close`, cancels it. `board.move.notify(…)` waits for
    nothing. `of` may be a class whose methods say with their annotations what the hub's return, a
    `typing.Protocol` for one: results are read as these types then, a method that returns an
    Iterator is called as `board.replay(7)`, and there are no other methods.

    `handlers` are what the server may call: a dict of functions, or an object, of which it has the
    public methods. Arguments are held to their annotations. They are called one after the other, in
    a thread of their own, so they may call the server and wait; and so are `on_message`, with each
    message that is no JSON-RPC, and the connection's `on_gap`. A `CallError` that a handler raises
    is what the server gets; what else it raises is logged.

    A call raises `CallError` of `flask_wshandler.calls`: the server's, or with the code -32001
    where the connection was closed or a new handler has begun, and the call may have run or not, or
    -32002 where there was no answer, or no next item, in `timeout` seconds. Any thread may call.
    Raises ImportError without msgspec, TypeError for handlers that can't be called.
    """
    # First, since it says what to install where msgspec is missing.
    from ..calls import CallError as _  # noqa: F401
    from .call_proxy import Calls

    return Calls(connection, handlers, of, timeout, on_message)
