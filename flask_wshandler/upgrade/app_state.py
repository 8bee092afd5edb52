"""What the extension keeps in `app.extensions`, for whoever has the app."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..collections import current
from ..handlers.app_records import EXTENSION_KEY
from ..runtime import logs
from ..runtime.first_use import MadeOnFirstUse
from ..settings import Settings, keys_set_late

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from ..collections.registry import CollectionRegistry
    from ..handlers.slow_callbacks import SlowCallbackWatch
    from ..resume.registry import Resumables
    from ..runtime.counter import KeyedCounter
    from ..runtime.log_throttle import LogThrottle
    from ..runtime.timer import Timer
    from ..transports.engine import Engine


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """What serves an app in one process."""

    engine: Engine
    collections: CollectionRegistry
    slow_callbacks: SlowCallbackWatch
    resumables: Resumables


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
        self._has_compared_config = False
        self._make_services = make_services

    _services = MadeOnFirstUse["Services"](lambda state: state._make_services())
    engine = MadeOnFirstUse["Engine"](lambda state: state._services.engine)
    collections = MadeOnFirstUse["CollectionRegistry"](lambda state: state._services.collections)
    slow_callbacks = MadeOnFirstUse["SlowCallbackWatch"](
        lambda state: state._services.slow_callbacks
    )
    resumables = MadeOnFirstUse["Resumables"](lambda state: state._services.resumables)

    @property
    def timer(self) -> Timer:
        """The one of the engine."""
        return self.engine.timer

    @property
    def failures(self) -> KeyedCounter[str]:
        """Exceptions of callbacks in this process, by the callbacks' names."""
        return self.engine.failures

    def compare_config(self, app: Flask) -> None:
        """Log once, at the first WebSocket, what was set too late to have an effect."""
        if self._has_compared_config:
            return
        self._has_compared_config = True
        late = keys_set_late(app.config, self.settings)
        if late:
            logs.of_app(app).warning(
                "%s: changed after WebSockets(app) had read the settings, and without effect. Set "
                "it before, or call init_app(app) when all is set.",
                ", ".join(late),
            )


def set_state(app: Flask, state: AppState) -> None:
    """Have `state` be that of `app`."""
    app.extensions[EXTENSION_KEY] = state
    current.add_app(app, state)


def find_state(app: Flask) -> AppState | None:
    """The state of `app`; None if it was given to no `WebSockets` object."""
    state = app.extensions.get(EXTENSION_KEY)
    return state if isinstance(state, AppState) else None


def state_of(app: Flask) -> AppState:
    """The state of `app`. Raises RuntimeError if it was given to no `WebSockets` object."""
    state = find_state(app)
    if state is None:
        raise RuntimeError(lack_of_websockets(app))
    return state


def lack_of_websockets(app: Flask) -> str:
    """What is wrong with an app that was given to no `WebSockets` object, and what to write."""
    return (
        f"the app {app.name!r} has no WebSockets: call WebSockets(app), or init_app(app) of the "
        "WebSockets object"
    )
