"""A member of a collection as all processes know it: where it is, and what it says of itself.

Metadata are JSON, of a size that every message about members has room for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

MAX_METADATA_BYTES = 4096

_UNCHANGEABLE = (str, int, float, bool, type(None))


class Presence(NamedTuple):
    """One member of a collection, wherever it is connected."""

    #: The process that serves it: host, process id and a random number.
    process: str
    #: `handler.context.connection_id`.
    connection_id: str
    #: What was given to `add`, as JSON brings it here.
    metadata: dict[str, Any]


def presences(process: str, members: Iterable[tuple[str, dict[str, Any]]]) -> list[Presence]:
    """Members of one process, by their connection ids and metadata, for the app."""
    # Copies: what somebody does to them is not told to others.
    return [
        Presence(process, connection_id, _copied(metadata)) for connection_id, metadata in members
    ]


def checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """`metadata` as other processes will see it.

    Raises TypeError for what is no JSON, and ValueError past `MAX_METADATA_BYTES`.
    """
    if not metadata:
        return metadata
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    size = len(text.encode())
    if size > MAX_METADATA_BYTES:
        raise ValueError(
            f"the metadata of a member is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are "
            "kept"
        )
    found: dict[str, Any] = json.loads(text)
    return found


def _copied(metadata: dict[str, Any]) -> dict[str, Any]:
    # By way of JSON, which it is: deeper than deepcopy() can go.
    return {
        key: value if isinstance(value, _UNCHANGEABLE) else json.loads(json.dumps(value))
        for key, value in metadata.items()
    }
