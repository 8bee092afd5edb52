"""What a resumable connection needs around it: the process that it lives in, and its handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..protocol.connection import Callbacks, NoCallbacks

if TYPE_CHECKING:
    import socket

    from ..protocol.connection import Connection
    from ..runtime.timer import Timer


class ResumableCallbacks(Callbacks, Protocol):
    """What a resumable connection calls besides. Neither of them raises."""

    def went_away(self) -> int | None:
        """The client is lost, and may come back. Returns a close code to end it, or None."""

    def came_back(self) -> int | None:
        """The client is back. Returns a close code to close it with, or None."""


class NoResumableCallbacks(NoCallbacks):
    """After the last one."""

    def went_away(self) -> int | None:
        return None

    def came_back(self) -> int | None:
        return None


class Resident(Protocol):
    """A resumable connection, as its home knows it."""

    due_tick: int | None
    slow_turns: int
    is_corked: bool

    @property
    def connection(self) -> Resident: ...

    @property
    def is_away(self) -> bool:
        """Whether its client is waited for; else it is between two requests."""

    @property
    def callbacks(self) -> Callbacks: ...

    def serve(self, events: int) -> None:
        """Run the last callback. In the turn that was asked for."""

    def on_time(self, now_s: float) -> float | None:
        """Do what is due; return in how many seconds to look again, or None."""

    def uncork(self) -> None: ...

    def give_up(self, fault: Exception) -> None: ...

    def close(self, code: int = ..., reason: str = ...) -> None: ...

    def close_at_stop(self, code: int) -> None: ...

    def end_away(self, code: int) -> None: ...


class Home(Protocol):
    """Where resumable connections live: keeps account of those that have no leg."""

    @property
    def timer(self) -> Timer: ...

    @property
    def is_stopping(self) -> bool:
        """Whether this process ends, so that only who was here just now can come back to it."""

    @property
    def has_stopped_waiting(self) -> bool:
        """Whether nobody can come back to it any more."""

    def went_away(self, resident: Resident, /) -> None:
        """It has no leg."""

    def is_coming_back(self, resident: Resident, /) -> None:
        """It has one again, whose socket is about to be served."""

    def is_away_no_more(self, resident: Resident, /) -> None:
        """Its leg is served, or it has ended. Any number of times."""

    def count_end(self, code: int) -> None:
        """The client of one is gone, with that close code."""

    def adopt_taken(self, sock: socket.socket, connection: Connection, early: bytes) -> None:
        """Serve a socket that is here; returns at once. It is closed if that fails."""

    def request_turn_of(self, resident: Resident, /) -> None:
        """Have its `serve` called in a thread for callbacks."""
