"""What can go wrong, and whose fault it is.

Invariant: every exception of this package derives from `WebSocketError`, apart from the
built-in ones (`TypeError`, `ValueError`, `RuntimeError`) that a programmer's mistake raises at
the call itself. Refused handshakes are not here: they are HTTP answers (see `handshake`).
"""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    """The status codes of RFC 6455 section 7.4.1 and its registry that this package sends."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    SESSION_ENDED = 4401
    """Of the range for applications, after HTTP's 401: the login of the handshake does not hold."""


class WebSocketError(Exception):
    """The root of this package's own exceptions."""


class SettingError(WebSocketError, ValueError):
    """A configuration value that can't be used; says the key, the value and what is allowed."""


class SocketUnreachable(WebSocketError):
    """The server's socket can't be taken over; the message says why and what to do."""


_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})

MAX_REASON_BYTES = 123
"""RFC 6455 section 5.5: a control frame's payload is at most 125 bytes, two are the code."""


def check_close(code: int, reason: str) -> None:
    """Raise TypeError or ValueError unless `code` and `reason` may stand in a close frame."""
    if not isinstance(code, int):
        raise TypeError(f"a close code is an int, not {code!r}")
    if not isinstance(reason, str):
        raise TypeError(f"a close reason is a str, not {reason!r}")
    if code not in _SENDABLE and not 3000 <= code <= 4999:
        raise ValueError(
            f"close code {code!r} can't be sent: it must be one of "
            f"{', '.join(map(str, sorted(_SENDABLE)))} or between 3000 and 4999"
        )
    size = len(reason.encode())
    if size > MAX_REASON_BYTES:
        raise ValueError(f"close reason of {size} bytes is longer than {MAX_REASON_BYTES}")
