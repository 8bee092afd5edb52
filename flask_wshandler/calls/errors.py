"""What a call ends with that has no result."""

from __future__ import annotations

import enum
from typing import Any


class CallErrorCode(enum.IntEnum):
    """The codes of JSON-RPC 2.0, and of what this package adds to it."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    TOO_MANY_CALLS = -32000
    CONNECTION_LOST = -32001
    TIMED_OUT = -32002
    CANCELLED = -32800


MESSAGES = {
    CallErrorCode.PARSE_ERROR: "Parse error",
    CallErrorCode.INVALID_REQUEST: "Invalid Request",
    CallErrorCode.METHOD_NOT_FOUND: "Method not found",
    CallErrorCode.INVALID_PARAMS: "Invalid params",
    CallErrorCode.INTERNAL_ERROR: "Internal error",
    CallErrorCode.TOO_MANY_CALLS: "Too many calls",
    CallErrorCode.CONNECTION_LOST: "Connection lost",
    CallErrorCode.TIMED_OUT: "Timed out",
    CallErrorCode.CANCELLED: "Cancelled",
}


class CallError(Exception):
    """A call has ended without a result.

    Raise it in a call, and its caller gets it; it is raised where a call to a client fails. `code`
    is an int: JSON-RPC 2.0 leaves those from -32768 to -32000 to itself. `data` is whatever can be
    written as JSON, or None.
    """

    def __init__(self, code: int, message: str = "", data: Any = None) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.code} {self.message}" + ("" if self.data is None else f": {self.data}")


def call_error(code: CallErrorCode, data: Any = None) -> CallError:
    """The error of a code that has a message of its own."""
    return CallError(int(code), MESSAGES[code], data)
