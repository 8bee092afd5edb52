"""What other code can hear of WebSockets, as of Flask's own signals.

The sender is the app, and each is sent in the contexts of the callback that it belongs to, so
`request`, `session` and that callback's `g` are there. What a receiver raises counts as raised by
the callback: it is logged, given to `on_error`, and closes the client with 1011. The receivers
after it are not called, nor the callback if it has not been.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import blinker

from .named_callback import NamedCallback, around

if TYPE_CHECKING:
    from flask import Flask

    from .handler import WebSocketHandler

_signals = blinker.Namespace()

websocket_connected = _signals.signal(
    "websocket-connected",
    doc="A client is connected; sent before `on_open`. Arguments: `handler`.",
)
message_received = _signals.signal(
    "websocket-message-received",
    doc="A message came; sent before its callback. Arguments: `handler`, and `message`, str or "
    "bytes.",
)
websocket_disconnected = _signals.signal(
    "websocket-disconnected",
    doc="A client is gone; sent after `on_close`, also if that has raised. Arguments: `handler`, "
    "whose `close_code` and `close_reason` say how.",
)


def with_connected_signal(
    callback: Callable[..., None], handler: WebSocketHandler, app: Flask
) -> NamedCallback:
    """`on_open`, after its signal."""

    def call() -> None:
        websocket_connected.send(app, _async_wrapper=app.ensure_sync, handler=handler)
        callback()

    return around(callback, call)


def with_message_signal(
    callback: Callable[..., None], handler: WebSocketHandler, app: Flask
) -> NamedCallback:
    """The callback of a message, after its signal."""

    def call(message: Any) -> None:
        message_received.send(app, _async_wrapper=app.ensure_sync, handler=handler, message=message)
        callback(message)

    return around(callback, call)


def with_disconnected_signal(
    callback: Callable[..., None], handler: WebSocketHandler, app: Flask
) -> NamedCallback:
    """`on_close`, and its signal."""

    def call() -> None:
        try:
            callback()
        finally:
            websocket_disconnected.send(app, _async_wrapper=app.ensure_sync, handler=handler)

    return around(callback, call)
