"""Typed calls between a page and its handler, both ways: JSON-RPC 2.0 over any connection."""

try:
    import msgspec as _msgspec  # noqa: F401
except ImportError:
    raise ImportError(
        "flask_wshandler.calls needs msgspec: pip install flask-wshandler[calls]", name="msgspec"
    ) from None

from .answers import Answer
from .client import to
from .errors import CallError, CallErrorCode
from .hub import Hub, call

__all__ = ["Answer", "CallError", "CallErrorCode", "Hub", "call", "to"]
