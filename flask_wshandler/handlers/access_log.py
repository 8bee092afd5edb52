"""One line for each WebSocket that has ended, as servers write one for each request.

Invariant: a line is one line. What comes from the peer stands in it with its control characters
and all else that is not ASCII escaped, and query strings, in which tokens travel, do not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..runtime import logs
from ..runtime.redaction import shown
from .handler import connection_of, shown_name_of

if TYPE_CHECKING:
    from .handler import WebSocketHandler

logger = logs.logger("flask_wshandler.access")

_FORMAT = (
    "closed peer=%(peer)s path=%(path)s handler=%(handler)s code=%(code)d reason=%(reason)s "
    "seconds=%(seconds).3f received=%(received)d sent=%(sent)d dropped=%(dropped)d "
    "received_bytes=%(received_bytes)d sent_bytes=%(sent_bytes)d id=%(id)s"
)


def log_close(handler: WebSocketHandler) -> None:
    """Write the line, if anybody wants it. After the last callback."""
    connection = connection_of(handler)
    if connection is None or not logger.is_enabled_for(logging.INFO):
        return
    context = handler.context
    values = {
        "peer": context.user_host_address or "",
        "path": context.path,
        "handler": shown_name_of(handler),
        "code": handler.close_code,
        "reason": handler.close_reason,
        "seconds": connection.age_s,
        "received": connection.received_messages,
        "sent": connection.sent_messages,
        "dropped": connection.dropped_messages,
        "received_bytes": connection.received_bytes,
        "sent_bytes": connection.sent_bytes,
        "id": context.connection_id,
    }
    safe = {key: shown(value) if isinstance(value, str) else value for key, value in values.items()}
    # For formatters that write JSON: `record.websocket`.
    logger.info(_FORMAT, safe, extra={"websocket": values})
