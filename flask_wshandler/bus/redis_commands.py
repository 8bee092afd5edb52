"""What a bus on Redis sends for others, beside what it publishes: commands whose answers matter."""

from __future__ import annotations

from typing import Protocol

Command = tuple[str | bytes | int, ...]
"""As redis-py packs it."""


class Commands(Protocol):
    """Commands that wait, and what becomes of them.

    The thread that publishes takes some when they are due, sends them in one pipeline with what it
    publishes, and gives their answers back before it takes more. No method waits.
    """

    @property
    def due_s(self) -> float:
        """When there is something to send, by `time.monotonic`; infinity when there is nothing."""

    @property
    def put_count(self) -> int:
        """How many were wanted."""

    @property
    def done_count(self) -> int:
        """How many of these have been answered or given up; the first are the first."""

    @property
    def is_stuck(self) -> bool:
        """Whether there is no use in waiting for those that are left."""

    def connected(self) -> None:
        """What is taken next is sent by another connection."""

    def take(self) -> list[Command]:
        """The next, some hundred kilobytes of them or one that is larger."""

    def answered(self, answers: list[object]) -> None:
        """What was answered to those that were taken, in their order; refusals are exceptions.

        Fewer answers than commands: whether the others were carried out is not known.
        """

    def end(self) -> None:
        """No more are taken."""


class _Nothing:
    """What is sent for nobody."""

    due_s = float("inf")
    put_count = done_count = 0
    is_stuck = False

    def connected(self) -> None:
        pass

    def take(self) -> list[Command]:
        return []

    def answered(self, answers: list[object]) -> None:
        pass

    def end(self) -> None:
        pass


NOTHING: Commands = _Nothing()
