"""What the extension keeps in `app.extensions`, for whoever has the app."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from .hub import Hub
    from .log_throttle import LogThrottle
    from .settings import Settings
    from .slow import SlowCallbackWatch
    from .transports.engine import Engine

EXTENSION_KEY = "wshandler"


@dataclasses.dataclass(slots=True)
class AppState:
    """All of one app in this process."""

    #: What tells the app from others on this machine, in all its processes: see `identity`.
    name: str
    settings: Settings
    engine: Engine
    hub: Hub
    slow_callbacks: SlowCallbackWatch
    #: For lines that clients can provoke.
    log_throttle: LogThrottle
    reasons_logged: set[str] = dataclasses.field(default_factory=set)
    #: Whether the first WebSocket has come, and the configuration has been looked at once more.
    has_compared_config: bool = False


def state_of(app: Flask) -> AppState:
    """The state of `app`. Raises RuntimeError if it was given to no `WebSockets` object."""
    state = app.extensions.get(EXTENSION_KEY)
    if not isinstance(state, AppState):
        raise RuntimeError(
            f"the app {app.name!r} has no WebSockets: call WebSockets(app), or "
            "init_app(app) of the WebSockets object"
        )
    return state
