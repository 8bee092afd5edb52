"""Questions to a Redis in the thread that asks: connections apart from those of the bus.

Invariant: a connection has one user at a time, and is used again only if it has answered.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import NoScriptError, ResponseError

from ..bus.redis_address import LOST, RedisAddress, reason_of
from .log import READ_TIMEOUT_S, LogUnavailable
from .redis_scripts import Script

_MOST_CONNECTIONS = 4
_PAUSE_S = 0.5
"""So long after a failure nobody else waits for one."""


@dataclasses.dataclass(slots=True)
class _Opened:
    """A connection, and what is known of the Redis at its end."""

    connection: Any  # redis-py's classes have no common type
    run: bytes


class Reader:
    """Runs scripts. Any thread; as many at a time as there are connections."""

    def __init__(self, url: str) -> None:
        self._address = RedisAddress.parse(url, READ_TIMEOUT_S)
        self.begin()

    def begin(self) -> None:
        """Begin as a process that has opened nothing."""
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        #: Its operations are atomic; the one that was used last is used next.
        self._idle: collections.deque[_Opened] = collections.deque()
        self._failed_s = float("-inf")
        self._reason = ""

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            try:
                opened = self._idle.pop()
            except IndexError:  # another thread was quicker
                return
            opened.connection.disconnect()

    def abandon(self) -> None:
        """In a forked child: close its copies of descriptors, and leave the connections be."""
        self.close()  # redis-py shuts down only what this process has opened
        self.begin()

    def run(self, script: Script, keys: list[bytes], *arguments: bytes | str | int) -> Any:
        """What a script answers, whose first argument is the `run_id`. Raises `LogUnavailable`."""
        return self._ask(lambda opened: _run(opened, script, keys, arguments))

    def command(self, *command: bytes | str | int) -> Any:
        """What a command answers. Raises `LogUnavailable`."""
        return self._ask(lambda opened: _answer(opened, *command))

    def _ask(self, question: Callable[[_Opened], Any]) -> Any:
        if time.monotonic() - self._failed_s < _PAUSE_S:
            raise LogUnavailable(f"{self._address} can't be asked: {self._reason}")
        if not self._places.acquire(timeout=READ_TIMEOUT_S):
            raise LogUnavailable(f"{self._address} answers too slowly")
        try:
            return self._ask_idle(question)
        except ResponseError as error:
            raise LogUnavailable(f"{self._address} refuses: {reason_of(error)}") from None
        except LOST as error:
            self._reason = reason_of(error)
            self._failed_s = time.monotonic()
            raise LogUnavailable(f"{self._address} can't be asked: {self._reason}") from None
        finally:
            self._places.release()

    def _ask_idle(self, question: Callable[[_Opened], Any]) -> Any:
        try:
            opened = self._idle.pop()
        except IndexError:
            return self._use(self._open(), question)
        try:
            return self._use(opened, question)
        except (Unreachable, OSError):
            # As it is with connections that were idle: Redis or a proxy has closed it, or Redis
            # was started anew. The others are no better.
            self.close()
        return self._use(self._open(), question)

    def _open(self) -> _Opened:
        opened = _Opened(self._address.connect(), b"")
        try:
            answer = _answer(opened, "INFO", "server")
        except BaseException:
            opened.connection.disconnect()
            raise
        opened.run = run_id_of(answer)
        return opened

    def _use(self, opened: _Opened, question: Callable[[_Opened], Any]) -> Any:
        try:
            answer = question(opened)
        except BaseException:  # a refusal, too: it may be a master no more
            opened.connection.disconnect()
            raise
        self._idle.append(opened)
        return answer


def run_id_of(info: object) -> bytes:
    """Which Redis it is, or the same one started anew, by its answer to INFO.

    Raises `redis.exceptions.ResponseError`.
    """
    if isinstance(info, Exception):
        raise ResponseError(str(info))
    found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE) if isinstance(info, bytes) else None
    if found is None:
        raise ResponseError("there is no run_id in the answer")
    return found[1]


def _run(
    opened: _Opened, script: Script, keys: list[bytes], arguments: tuple[bytes | str | int, ...]
) -> Any:
    rest = (len(keys), *keys, opened.run, *arguments)
    try:
        return _answer(opened, "EVALSHA", script.digest, *rest)
    except NoScriptError:
        return _answer(opened, "EVAL", script.text, *rest)


def _answer(opened: _Opened, *command: bytes | str | int) -> Any:
    opened.connection.send_command(*command)
    return opened.connection.read_response(disconnect_on_error=False)
