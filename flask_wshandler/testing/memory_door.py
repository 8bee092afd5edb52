"""The door of an app under test: sockets of clients go to its other processes in memory.

Invariant: no thread, no descriptor and no file. What is passed on is taken in the same call.
"""

from __future__ import annotations

import secrets
import weakref
from typing import TYPE_CHECKING

from ..resume.passing import Answer

if TYPE_CHECKING:
    import socket

    from ..resume.door import Take
    from ..resume.passing import Passed
    from .served import EngineUnderTest

_NAME_BYTES = 4


class MemoryDoors:
    """Where the doors of an app's processes find each other. Any thread."""

    def __init__(self) -> None:
        self._by_name: weakref.WeakValueDictionary[str, MemoryDoor] = weakref.WeakValueDictionary()

    def add(self, door: MemoryDoor) -> None:
        """A process more."""
        self._by_name[door.name] = door

    def remove(self, door: MemoryDoor) -> None:
        """A process less."""
        self._by_name.pop(door.name, None)

    def find(self, name: str) -> MemoryDoor | None:
        """The one that is in the sessions of its clients as `name`."""
        return self._by_name.get(name)


class MemoryDoor:
    """The door of one process under test: see `resume.door.Door`."""

    def __init__(self, doors: MemoryDoors, engine: EngineUnderTest, take: Take) -> None:
        self.name = secrets.token_hex(_NAME_BYTES)
        self.trouble = ""
        self._doors = doors
        self._engine = engine
        self._take = take
        doors.add(self)

    def open(self) -> bool:
        """It is, from the beginning."""
        return True

    def has(self, owner: str) -> bool:
        """Whether another process of the app has that door."""
        return self._doors.find(owner) is not None

    def pass_on(self, owner: str, sock: socket.socket, passed: Passed) -> Answer:
        """Give a copy of a client's socket to the process whose door is `owner`."""
        other = self._doors.find(owner)
        if other is None:
            return Answer.GONE
        copy = sock.dup()
        if other.take(copy, passed, self._engine, sock):
            return Answer.TAKEN
        copy.close()
        return Answer.REFUSED

    def take(
        self, copy: socket.socket, passed: Passed, other: EngineUnderTest, sock: socket.socket
    ) -> bool:
        """Take what the process of `other` knows as `sock`; whether it is this one's now."""
        self._engine.expect_in_place_of(copy, other, sock)
        try:
            return self._take(copy, passed)
        finally:
            self._engine.forget_expected(copy)

    def stop(self) -> None:
        """Let nobody in any more."""
        self._doors.remove(self)
