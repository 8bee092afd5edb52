"""What is kept of an app for all of its handlers, in `app.extensions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from flask import Flask

    from ..runtime.counter import KeyedCounter
    from ..runtime.timer import Timer

EXTENSION_KEY = "wshandler"


class AppRecords(Protocol):
    """Of an app's state, what the running of callbacks adds to."""

    @property
    def failures(self) -> KeyedCounter[str]:
        """Exceptions of callbacks, by the callbacks' names."""

    @property
    def reasons_logged(self) -> set[str]:
        """What the log has been told of once, and is not told of again."""

    @property
    def timer(self) -> Timer:
        """Wakes what is to happen later to a client of the app."""


def records_of(app: Flask) -> AppRecords:
    """Those of an app that has WebSockets."""
    return cast("AppRecords", app.extensions[EXTENSION_KEY])
