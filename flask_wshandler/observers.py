"""Who watches an app's callbacks: what measures them, and what traces them.

Which callbacks are watched is decided when a connection is accepted, so an app that nobody watches
does nothing for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from flask import Flask

from .callbacks import HandlerCallbacks
from .errors import CloseCode
from .signals import announced_message, message_received
from .wrapped import Wrapped

if TYPE_CHECKING:
    from .context import RequestSnapshot
    from .frames import Message
    from .handler import WebSocketHandler
    from .slow import SlowCallbackWatch

Around = Callable[..., None]
"""Is called with a callback and its arguments: calls it with them, and lets out what it raises."""

_KEY = "wshandler.observers"


class Observer(Protocol):
    """What wants to know of an app's WebSockets."""

    def handshake_came(self) -> None:
        """A handshake is about to be accepted or refused. In its request; must not wait."""

    def accepted(self, handler: WebSocketHandler, snapshot: RequestSnapshot) -> Around:
        """A handshake is accepted, in this request. Returns what goes around each callback."""


def observe(app: Flask, observer: Observer) -> None:
    """Have `observer` told of all connections that are accepted from now on."""
    app.extensions.setdefault(_KEY, []).append(observer)


def observers_of(app: Flask) -> Sequence[Observer]:
    """Who watches `app`."""
    observers: Sequence[Observer] = app.extensions.get(_KEY, ())
    return observers


class ObservedCallbacks(HandlerCallbacks):
    """Calls one handler, with somebody around."""

    __slots__ = ("_arounds",)

    def __init__(
        self,
        handler: WebSocketHandler,
        snapshot: RequestSnapshot,
        slow_callbacks: SlowCallbackWatch,
        arounds: Sequence[Around],
    ) -> None:
        super().__init__(handler, snapshot, slow_callbacks)
        self._arounds = arounds

    def message_received(self, message: Message) -> int | None:
        """Call `on_text` or `on_binary`, which call `on_message` unless overridden."""
        handler = self._handler
        name = handler._text_callback if type(message) is str else handler._binary_callback
        if name is None:
            return CloseCode.UNSUPPORTED_DATA
        callback = getattr(handler, name)
        if message_received.receivers:
            callback = announced_message(callback, handler, self._snapshot.app)
        return self._call(callback, message)

    def _call(self, callback: Callable[..., None], message: Message | None = None) -> int | None:
        for around in self._arounds:
            callback = Wrapped(callback, functools.partial(around, callback))
        return super()._call(callback, message)
