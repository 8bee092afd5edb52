"""What a client says that has no WebSocket, from the session to the bodies of its POSTs.

No I/O. Invariant: one body is under way at a time. It stays the same until the server has taken it
over, or has called it too large.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import json
from collections.abc import Sequence

from ..protocol.frames import Message
from ..resume.postbox import is_message
from ..resume.posts import CLOSE

_MOST_BYTES = 64 * 1024
"""Of a body, unless one message alone has more: proxies take 1 MiB at least."""
_MOST_ENTRIES = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    encoded: bytes
    is_message: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Body:
    """What one POST says."""

    data: bytes
    #: The number of the first of the application's messages in it; None if there is none.
    first: int | None


class PostQueue:
    """Of one network connection, from its hello on."""

    def __init__(self, received: int) -> None:
        """So many of the client's messages the server has already."""
        self._posted = received
        self._waiting: collections.deque[_Entry] = collections.deque()
        self._batch: list[_Entry] = []
        self._body: Body | None = None
        #: Bytes that no body has yet.
        self.waiting_bytes = 0

    def put(self, message: Message) -> None:
        """Add what the session says."""
        said: object = message
        if isinstance(message, bytes):
            said = {"b": base64.b64encode(message).decode()}
        self._put(said, is_message(message))

    def put_close(self, code: int, reason: str) -> None:
        """The client closes: the last that it says."""
        self._put(f"{CLOSE}{code} {reason}", False)

    def _put(self, said: object, is_message: bool) -> None:
        encoded = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
        self._waiting.append(_Entry(encoded, is_message))
        self.waiting_bytes += len(encoded)

    @property
    def body(self) -> Body | None:
        """What is to be posted next, until it is `taken` or `split`; None if there is nothing."""
        if self._body is None and self._waiting:
            size = 0
            while self._waiting and len(self._batch) < _MOST_ENTRIES:
                size += len(self._waiting[0].encoded)
                if self._batch and size > _MOST_BYTES:
                    break
                self._batch.append(self._waiting.popleft())
            self.waiting_bytes -= sum(len(entry.encoded) for entry in self._batch)
            self._body = self._body_of(self._batch)
        return self._body

    def _body_of(self, batch: Sequence[_Entry]) -> Body:
        data = b"[" + b",".join(entry.encoded for entry in batch) + b"]"
        has_message = any(entry.is_message for entry in batch)
        return Body(data, self._posted + 1 if has_message else None)

    def taken(self) -> None:
        """The server has taken the body over."""
        self._posted += sum(entry.is_message for entry in self._batch)
        self._batch = []
        self._body = None

    def split(self) -> bool:
        """The body is too large: it is the half now. False if it is of one entry."""
        if len(self._batch) < 2:
            return False
        middle = len(self._batch) // 2
        rest = self._batch[middle:]
        self._batch = self._batch[:middle]
        self._waiting.extendleft(reversed(rest))
        self.waiting_bytes += sum(len(entry.encoded) for entry in rest)
        self._body = self._body_of(self._batch)
        return True

    def clear(self) -> None:
        """Nothing of it is to be posted any more."""
        self._waiting.clear()
        self._batch = []
        self._body = None
        self.waiting_bytes = 0
