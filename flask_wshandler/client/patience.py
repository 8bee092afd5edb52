"""Where a client's connection stands, and how long it waits for what."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable
from typing import overload

from . import backoff
from .session import ClientSession

_PING_AFTER_S = 20.0
"""To a server that does not say by itself that it is there."""
_LOST_AFTER_S = 40.0
_LONGEST_WAIT_S = 3600.0


class State(enum.Enum):
    """Of a client's connection."""

    CONNECTING = "connecting"
    """It has not been open yet."""
    OPEN = "open"
    """What is sent goes out."""
    WAITING = "waiting"
    """The network connection is lost; it comes back. What is sent waits."""
    CLOSED = "closed"
    """It does not come back."""


@dataclasses.dataclass(frozen=True, slots=True)
class Clock:
    """The time. A faster one is for tests."""

    speed: float = 1.0

    def now_s(self) -> float:
        """Seconds since some moment."""
        return time.monotonic() * self.speed

    @overload
    def real_s(self, seconds: float) -> float: ...

    @overload
    def real_s(self, seconds: float | None) -> float | None: ...

    def real_s(self, seconds: float | None) -> float | None:
        """How long so many seconds take; None: for ever."""
        return None if seconds is None else min(seconds, _LONGEST_WAIT_S) / self.speed


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits, in seconds; None: for ever."""

    open_timeout_s: float | None = 10.0
    close_timeout_s: float | None = 10.0
    clock: Clock = dataclasses.field(default_factory=Clock)
    jitter: Callable[[float], float] = backoff.uniform


class Watch:
    """Over one network connection: whether the server is still there. Its thread's alone."""

    def __init__(self, session: ClientSession, patience: Patience) -> None:
        """It has just been opened."""
        self._session = session
        self._clock = patience.clock
        self._open_timeout_s = patience.open_timeout_s
        self._begun_s = self._heard_s = self._clock.now_s()
        self._is_pinged = False

    def age_s(self) -> float:
        """How long it has lasted."""
        return self._clock.now_s() - self._begun_s

    def note_life(self) -> float:
        """The server is there; returns the time."""
        self._heard_s = self._clock.now_s()
        self._is_pinged = False
        return self._heard_s

    def wait_s(self) -> float | None:
        """For how long there is nothing to do but to listen; None: for ever. In real seconds."""
        dues_s = [self._session.due_s(), self._lost_s()]
        if self._pings and not self._is_pinged:
            dues_s.append(self._heard_s + _PING_AFTER_S)
        due_s = min((due_s for due_s in dues_s if due_s is not None), default=None)
        if due_s is None:
            return None
        return self._clock.real_s(max(0.0, due_s - self._clock.now_s()) + 0.001)

    def wants_ping(self) -> bool:
        """Whether the server is to be asked now. Once, until it is heard."""
        if not self._pings or self._is_pinged:
            return False
        self._is_pinged = self._clock.now_s() > self._heard_s + _PING_AFTER_S
        return self._is_pinged

    def is_lost(self) -> bool:
        """Whether the server has been silent for too long."""
        now_s = self._clock.now_s()
        lost_s = self._lost_s()
        return self._session.is_silent(now_s) or (lost_s is not None and now_s > lost_s)

    @property
    def _pings(self) -> bool:
        return self._session.is_open and self._session.ping_s is None

    def _lost_s(self) -> float | None:
        if self._pings:
            return self._heard_s + _LOST_AFTER_S
        if self._session.is_open or self._open_timeout_s is None:
            return None
        return self._begun_s + self._open_timeout_s
