"""What has come for a client's application, and waits to be received."""

from __future__ import annotations

import collections

from ..protocol.frames import Message
from .session import Gap

MAX_MESSAGES = 64
MAX_BYTES = 1024 * 1024
"""Then nothing is read any more, and TCP holds the server up."""


class Inbox:
    """A queue that says when it is full, and takes what has been read already all the same.

    Whoever uses it holds a lock.
    """

    def __init__(self) -> None:
        self._messages: collections.deque[Message | Gap] = collections.deque()
        #: What the messages in it take.
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be read."""
        return len(self._messages) >= MAX_MESSAGES or self.size_bytes >= MAX_BYTES

    def put(self, message: Message | Gap) -> None:
        """Add it as the last."""
        self._messages.append(message)
        self.size_bytes += _size_of(message)

    def get(self) -> Message | Gap:
        """Take the first."""
        message = self._messages.popleft()
        self.size_bytes -= _size_of(message)
        return message


def _size_of(message: Message | Gap) -> int:
    return 0 if isinstance(message, Gap) else len(message)
