"""An app that was given to no `WebSockets` object: Flask refuses its WebSockets before any view is
called, so nothing of this package would be asked.

It is looked for as long as no app of the process has been given to one. After that nothing is done
for it, at no cost to any request.
"""

from __future__ import annotations

from flask import Flask, request, request_started
from werkzeug.exceptions import NotFound
from werkzeug.routing import WebsocketMismatch

from ..protocol import opening_handshake
from ..runtime import logs
from ..runtime.redaction import shown_path
from .app_state import lack_of_websockets

_told: set[str] = set()


def look_for_forgotten_apps() -> None:
    """Have each request looked at from now on."""
    request_started.connect(_look)


def stop_looking() -> None:
    """There is an app with WebSockets."""
    request_started.disconnect(_look)


def _look(app: Flask, **_: object) -> None:
    """Say once of an app why a WebSocket is refused: in the log, and in Flask's 400."""
    refusal = request.routing_exception
    if not isinstance(refusal, WebsocketMismatch | NotFound):
        return
    if not opening_handshake.asks_for_upgrade(request.environ):
        return
    reason = lack_of_websockets(app)
    if isinstance(refusal, WebsocketMismatch):
        refusal.description = reason
    if reason not in _told:
        _told.add(reason)
        path = shown_path(request.environ.get("PATH_INFO", ""))
        logs.of_app(app).error("A WebSocket on %s was refused: %s", path, reason)
