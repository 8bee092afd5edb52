"""An app whose WebSockets are measured, as one process of it and as all of them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ..handlers.handler import shown_name_of
from ..handlers.instrumentation import Interceptor
from ..runtime import lifecycle
from ..upgrade.app_state import state_of
from .callback_histogram import CallbackTimes
from .samples import Figures, figures_of, figures_of_times
from .server_totals import Ledger

if TYPE_CHECKING:
    from flask import Flask

    from ..handlers.handler import WebSocketHandler
    from ..handlers.request_snapshot import RequestSnapshot


class Measured:
    """Observes an app, and knows the figures of all processes of its server. Any thread."""

    def __init__(self, app: Flask) -> None:
        self.app_name = app.name
        self._app = weakref.ref(app)
        self._times = CallbackTimes()
        # Many apps are called "app": the directory tells them apart.
        self.ledger_name = f"{app.import_name} in {app.root_path}"
        self._ledger = Ledger(self.ledger_name, self._figures)
        # An app that was made for a test leaves no thread.
        weakref.finalize(app, self._ledger.leave).atexit = False
        lifecycle.register(self, lifecycle.Stage.FIGURES)

    @property
    def is_gone(self) -> bool:
        """Whether the app has been collected as garbage."""
        return self._app() is None

    def sum(self) -> Figures | None:
        """The figures of all processes; None while they can't be known. Waits a second at most."""
        return self._ledger.sum()

    def _figures(self) -> Figures:
        app = self._app()
        if app is None:
            return {}
        state = state_of(app)
        collections = state.collections
        figures = figures_of(
            state.engine.stats(), collections.bus.stats(), collections.logged.stats()
        )
        return figures | figures_of_times(self._times)

    # What an instrumentation is told.

    def request_came(self) -> None:
        """From now on this process has something to tell."""
        self._ledger.join()

    def accepted(self, handler: WebSocketHandler, snapshot: RequestSnapshot) -> Interceptor:
        """Have the handler's callbacks timed."""
        del snapshot
        return self._times.interceptor(shown_name_of(handler))

    # What a process is told.

    def stop(self) -> None:
        """The process ends: leave its figures to the others."""
        self._ledger.stop()

    def stop_now(self) -> None:
        """Do nothing: `stop` does not wait."""

    def reset_after_fork(self) -> None:
        """Begin in a forked child with nothing counted."""
        self._times = CallbackTimes()
        self._ledger.reset_after_fork()
