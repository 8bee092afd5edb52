"""Routing for WebSocket requests: ordinary views get them, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from werkzeug.exceptions import NotFound
from werkzeug.routing import MapAdapter, WebsocketMismatch


class _UpgradeAdapter(MapAdapter):
    """Matches a WebSocket request to ordinary rules, too, after those with `websocket=True`."""

    def match(self, *args: Any, **kwargs: Any) -> Any:
        match: Callable[..., Any] = super().match  # has overloads, which can't be passed through
        try:
            return match(*args, **kwargs)
        except (WebsocketMismatch, NotFound):
            # Not found, too: an ordinary rule may have a redirect to its own slash for it.
            return match(*args, **{**kwargs, "websocket": False})


def admit_upgrades(app: Flask) -> None:
    """Have `app` match WebSocket requests to ordinary views."""
    create = app.create_url_adapter

    def create_url_adapter(request: Request | None) -> MapAdapter | None:
        adapter = create(request)
        if adapter is not None and adapter.websocket:
            # Not a new one, which would read the URL again: it is this app's own, and has no
            # other state.
            adapter.__class__ = _UpgradeAdapter
        return adapter

    app.create_url_adapter = create_url_adapter  # type: ignore[method-assign]  # Flask has no hook
