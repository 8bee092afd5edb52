"""How objects become JSON. The extension puts Flask's provider here; without Flask (a script that
only publishes) it is the standard library's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..handlers.json_text import written_by

_dumps: Callable[[Any], str] = json.dumps


def dumps(obj: Any) -> str:
    """`obj` as JSON. Raises TypeError for what can't be written."""
    return written_by(_dumps, obj)


def use(dumps: Callable[[Any], str]) -> None:
    """Write JSON by `dumps` from now on."""
    global _dumps
    _dumps = dumps
