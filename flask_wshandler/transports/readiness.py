"""Waiting for few sockets at once, on any system: by poll(2), or by select() where there is none.

On Windows select() takes sockets only, so what wakes somebody up is a socket, too. It takes 512
there at once, of which nobody here watches more than two.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import Protocol

# The values of poll(2), which are those of epoll(7) too. The module `select` lacks them where the
# system has neither.
READABLE = 0x001
WRITABLE = 0x004
FAILED = 0x008
HUNG_UP = 0x010
INVALID = 0x020


class HasFileno(Protocol):
    """A socket, a `WakeUp`."""

    def fileno(self) -> int: ...


class Watch(Protocol):
    """Sockets, with the events that are of interest. One thread."""

    def register(self, sock: HasFileno, events: int) -> None:
        """Watch `sock`, or watch it for other events. Raises ValueError if it is closed."""

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """The descriptors for which something is ready, each with what that is.

        Waits for `seconds`, None for ever. On most systems a failure or an end of the connection
        is told in any case, by select() only as READABLE.
        """


def new_watch() -> Watch:
    """One that watches nothing yet."""
    # Looked up now: gevent takes poll away, or puts its own there, when it patches.
    return _PollWatch() if hasattr(select, "poll") else _SelectWatch()


class _PollWatch:
    def __init__(self) -> None:
        self._poll = select.poll()

    def register(self, sock: HasFileno, events: int) -> None:
        self._poll.register(sock, events)

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        return self._poll.poll(None if seconds is None else 1000 * seconds)


class _SelectWatch:
    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, sock: HasFileno, events: int) -> None:
        descriptor = sock.fileno()
        if descriptor < 0:
            raise ValueError("the socket is closed")
        self._events[descriptor] = events

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        to_read = [each for each, events in self._events.items() if events & READABLE]
        to_write = [each for each, events in self._events.items() if events & WRITABLE]
        if not to_read and not to_write:
            assert seconds is not None  # else nobody would ever come back
            time.sleep(seconds)  # Windows refuses to select nothing
            return []
        readable, writable, _ = select.select(to_read, to_write, [], seconds)
        ready = dict.fromkeys(readable, READABLE)
        for each in writable:
            ready[each] = ready.get(each, 0) | WRITABLE
        return list(ready.items())


class _PipeEnd:
    """As far as it is like a socket. A socket of gevent's takes 1.9 kB, for each client two."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def recv(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def send(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        os.close(self._descriptor)


def _connected_ends() -> tuple[_PipeEnd | socket.socket, _PipeEnd | socket.socket]:
    """One to read from, one to write to; neither waits."""
    if hasattr(select, "poll") and hasattr(os, "set_blocking"):
        reading, writing = os.pipe()
        return _PipeEnd(reading), _PipeEnd(writing)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class WakeUp:
    """Gets a thread out of its wait. `set` by any thread; the rest by the one that waits."""

    __slots__ = ("_ours", "_theirs")

    def __init__(self) -> None:
        self._ours, self._theirs = _connected_ends()

    def fileno(self) -> int:
        """What is watched for READABLE."""
        return self._ours.fileno()

    def set(self) -> None:
        """End the wait, or the next one. Not after `close`."""
        with contextlib.suppress(OSError):  # full: it will end anyway
            self._theirs.send(b"\0")

    def clear(self) -> None:
        """Wait again."""
        with contextlib.suppress(OSError):  # it is empty, or will be at the next look
            self._ours.recv(64)

    def close(self) -> None:
        """Give both descriptors back."""
        self._ours.close()
        self._theirs.close()
