"""A connection whose process can't be given the socket is let go there, and begun anew here.

    release    session, path, handler, user, received, acknowledged, tries
               -> is_released; received: messages of the client that were taken; sent, kept: what
               the client lacks, the last of which has the number `sent`: frames in base64

Any process may be asked: who has the connection ends it and answers, at once, in the bus's thread.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from typing import Any

from .endpoint import MAX_NUMBER, Endpoint, Return
from .leg import is_numbered_frame

VERB = "release"

_MOST_BYTES = 700_000
"""Of kept messages: in base64 and JSON they must fit into an answer of the bus."""


@dataclasses.dataclass(frozen=True, slots=True)
class Released:
    """What goes on of a connection whose handler has ended."""

    #: Messages of the client that were taken.
    received: int
    #: The number of the last message to it.
    sent: int
    #: Frames of the last messages, which it lacks.
    kept: tuple[bytes, ...]

    def endpoint(self) -> Endpoint[bytes]:
        """What the next handler goes on with."""
        endpoint = Endpoint[bytes](self.sent - len(self.kept), self.received)
        for frame in self.kept:
            endpoint.keep(frame)
        return endpoint


def question(returns: Return, path: str, handler: str, user: str | None) -> dict[str, Any]:
    """What the other processes are asked."""
    return {
        "session": returns.session,
        "path": path,
        "handler": handler,
        "user": user,
        "received": returns.received,
        "acknowledged": returns.acknowledged,
        "tries": returns.tries,
    }


def answer_of(released: Released | None) -> dict[str, Any]:
    """What the process answers that had the connection, or has not."""
    if released is None or sum(map(len, released.kept)) > _MOST_BYTES:
        return {"is_released": False}
    return {
        "is_released": True,
        "received": released.received,
        "sent": released.sent,
        "kept": [base64.b64encode(frame).decode() for frame in released.kept],
    }


def is_release(answer: dict[str, Any]) -> bool:
    """Whether it is the answer of the process that had the connection."""
    return answer.get("is_released") is True


def parse_answer(answer: dict[str, Any]) -> Released | None:
    """What goes on; None if the answer makes no sense."""
    match answer:
        case {
            "is_released": True,
            "received": int(received),
            "sent": int(sent),
            "kept": list(kept),
        }:
            pass
        case _:
            return None
    try:
        frames = tuple([base64.b64decode(each, validate=True) for each in kept])
    except (binascii.Error, TypeError, ValueError):
        return None
    is_counted = 0 <= received <= MAX_NUMBER and len(frames) <= sent <= MAX_NUMBER
    if not is_counted or not all(map(is_numbered_frame, frames)):
        return None
    return Released(received, sent, frames)
