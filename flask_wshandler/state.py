"""What the extension keeps in `app.extensions`, for whoever has the app."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .process import MadeOnFirstUse

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from .hub import Hub
    from .log_throttle import LogThrottle
    from .settings import Settings
    from .slow import SlowCallbackWatch
    from .transports.engine import Engine

EXTENSION_KEY = "wshandler"


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """What serves an app in one process."""

    engine: Engine
    hub: Hub
    slow_callbacks: SlowCallbackWatch


class AppState:
    """All of one app, and of it in this process."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        log_throttle: LogThrottle,
        make_services: Callable[[], Services],
    ) -> None:
        """`make_services` is called when one of them is used, again in a forked child."""
        #: What tells the app from others on this machine, in all its processes: see `identity`.
        self.name = name
        self.settings = settings
        #: For lines that clients can provoke.
        self.log_throttle = log_throttle
        self.reasons_logged: set[str] = set()
        #: Whether the first WebSocket has come, and the configuration has been looked at once more.
        self.has_compared_config = False
        self._make_services = make_services

    _services = MadeOnFirstUse["Services"](lambda state: state._make_services())
    engine = MadeOnFirstUse["Engine"](lambda state: state._services.engine)
    hub = MadeOnFirstUse["Hub"](lambda state: state._services.hub)
    slow_callbacks = MadeOnFirstUse["SlowCallbackWatch"](
        lambda state: state._services.slow_callbacks
    )


def state_of(app: Flask) -> AppState:
    """The state of `app`. Raises RuntimeError if it was given to no `WebSockets` object."""
    state = app.extensions.get(EXTENSION_KEY)
    if not isinstance(state, AppState):
        raise RuntimeError(
            f"the app {app.name!r} has no WebSockets: call WebSockets(app), or "
            "init_app(app) of the WebSockets object"
        )
    return state
