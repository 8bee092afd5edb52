"""What the doctor can find: an id, how bad it is, what is wrong, what to do, where to read on."""

from __future__ import annotations

import dataclasses
import enum

_PAGE = "docs/command-line.md"


class Severity(enum.Enum):
    """How bad it is."""

    ERROR = "error"
    """Some or all clients are not served."""
    WARNING = "warning"
    """It will fail under load, or is a danger."""
    NOTE = "note"
    """Worth knowing; nothing that was looked at is wrong. Does not count in the exit status."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    #: Also the anchor of its section on the page.
    id: str
    severity: Severity
    what: str
    remedy: str

    @property
    def link(self) -> str:
        """Where the documentation says more: a file of the project's, which users may not have."""
        return f"{_PAGE}#{self.id}"
