"""Where the closing handshake of RFC 6455 section 7 stands, and what moves it on."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class State(enum.Enum):
    """Of one connection."""

    OPEN = enum.auto()
    CLOSING = enum.auto()
    """Our close frame is sent or queued, the peer's has not come."""
    CLOSED = enum.auto()
    """Nothing more is read; what is queued may still be written."""


class Cause(enum.Enum):
    """What ends a connection."""

    CLOSED_HERE = enum.auto()
    """`close` was called, or a limit was passed: our close frame goes first."""
    CLOSED_BY_PEER = enum.auto()
    """The peer's close frame came."""
    FAILED = enum.auto()
    """The peer has broken the protocol, and is told so."""
    ENDED_BY_PEER = enum.auto()
    """The peer has ended its stream without a close frame; it may still read."""
    LOST = enum.auto()
    """The network is gone, or the peer was given up."""


TRANSITIONS: Mapping[State, Mapping[Cause, State]] = {
    State.OPEN: {
        Cause.CLOSED_HERE: State.CLOSING,
        Cause.CLOSED_BY_PEER: State.CLOSED,  # answered with a close frame
        Cause.FAILED: State.CLOSED,  # told by a close frame
        Cause.ENDED_BY_PEER: State.CLOSED,
        Cause.LOST: State.CLOSED,
    },
    State.CLOSING: {
        Cause.CLOSED_HERE: State.CLOSING,  # the first code counts
        Cause.CLOSED_BY_PEER: State.CLOSED,
        Cause.FAILED: State.CLOSED,  # it has our close frame already
        Cause.ENDED_BY_PEER: State.CLOSED,
        Cause.LOST: State.CLOSED,
    },
    State.CLOSED: dict.fromkeys(Cause, State.CLOSED),
}
