"""No bus: the process is on its own."""

from __future__ import annotations

from .base import CLOSE_TIMEOUT_S, Bus


class NoBus(Bus):
    """Carries nothing. `reason` says why, as the beginning of a sentence."""

    def __init__(self, reason: str = 'WSHANDLER_BUS is "none"') -> None:
        super().__init__(0)
        self.reason = reason

    def __str__(self) -> str:
        return "no bus"

    def send(self, topic: str, data: bytes) -> None:
        """Nobody is there."""

    def subscribe(self, topic: str) -> None:
        """Do nothing: nothing will come."""

    def unsubscribe(self, topic: str) -> None:
        """Do nothing: nothing came."""

    def wait_until_subscribed(self, timeout_s: float = 1.0) -> bool:
        """As far as that is possible."""
        return True

    def peer_count(self) -> int:
        """None."""
        return 0

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Do nothing: nothing is open."""
