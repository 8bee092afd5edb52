"""What instruments an app's callbacks: measures them, or traces them.

Which callbacks are instrumented is decided when a connection is accepted, so an app without
instrumentations does nothing for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from flask import Flask

from .callbacks import HandlerCallbacks
from .named_callback import around

if TYPE_CHECKING:
    from ..protocol.frames import Message
    from .handler import WebSocketHandler
    from .request_snapshot import RequestSnapshot
    from .slow_callbacks import Running

Interceptor = Callable[..., None]
"""Is called with a callback and its arguments: calls it with them, and lets out what it raises."""

_KEY = "wshandler.observers"


class Instrumentation(Protocol):
    """What wants to know of an app's WebSockets."""

    def request_came(self) -> None:
        """A client's handshake, or what it posts, is about to be accepted or refused.

        In the request's thread; must not wait.
        """

    def accepted(self, handler: WebSocketHandler, snapshot: RequestSnapshot) -> Interceptor:
        """A handshake is accepted, in this request. Returns what goes around each callback."""


def instrument(app: Flask, instrumentation: Instrumentation) -> None:
    """Have `instrumentation` told of all connections that are accepted from now on."""
    app.extensions.setdefault(_KEY, []).append(instrumentation)


def instrumentations_of(app: Flask) -> Sequence[Instrumentation]:
    """The instrumentations of `app`."""
    instrumentations: Sequence[Instrumentation] = app.extensions.get(_KEY, ())
    return instrumentations


class _Instrumented(HandlerCallbacks):
    """Calls one handler through interceptors."""

    _interceptors: Sequence[Interceptor]

    __slots__ = ()

    def __init__(
        self,
        handler: WebSocketHandler,
        snapshot: RequestSnapshot,
        running: Running,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        super().__init__(handler, snapshot, running)
        self._interceptors = interceptors  # type: ignore[misc]  # a slot of the derived class

    def call(self, callback: Callable[..., object], message: Message | None = None) -> int | None:
        """Call `callback` through each of the interceptors."""
        for interceptor in self._interceptors:
            callback = around(callback, functools.partial(interceptor, callback))
        return super().call(callback, message)


def instrumented(kind: type[HandlerCallbacks]) -> Callable[..., HandlerCallbacks]:
    """A class like `kind`, which is given interceptors, too, and calls the handler through them."""
    return _instrumented(kind)  # type: ignore[arg-type]  # a class is hashable


@functools.lru_cache(16)
def _instrumented(kind: type[HandlerCallbacks]) -> Callable[..., HandlerCallbacks]:
    name = f"Instrumented{kind.__name__}"
    return type(name, (_Instrumented, kind), {"__slots__": ("_interceptors",)})
