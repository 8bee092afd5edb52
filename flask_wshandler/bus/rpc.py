"""Questions to every process of an app, and their answers: what the command line lives on.

A question is published to all; each process that hears it answers once, with one envelope, to a
topic that only the asking process has subscribed to:

    [number, verb, arguments]                            a question, a JSON list
    [process, answer]                                    an answer

Larger answers are fetched page by page, by arguments, so that none is larger than an envelope of
`MAX_ANSWER_BYTES` and no queue has to hold more than one of a process.

Invariants: what an answer says comes from a process's memory and runs no user code; the bus's
thread, which answers, waits for nothing; what is no question or no answer is `Malformed`; nothing
is kept of a question when it has been answered, and no process is asked anything but by `ask`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from ..runtime import locks
from . import Kind, Malformed

DEFAULT_TIMEOUT_S = 2.0
"""For all to answer. One that listens idly needs half a second."""

MAX_QUESTION_BYTES = 4096
MAX_ANSWER_BYTES = 2**20
_MOST_ANSWERS = 10_000
SETTLE_S = 0.75
"""After the last answer, on a bus that can't tell how many there will be."""

_NUMBER = re.compile(r"[0-9a-f]{16}")

Answer = dict[str, Any]
"""What JSON makes of it."""

Respond = Callable[[str, dict[str, Any]], Answer | None]
"""Answers a verb with its arguments, at once; None for what is unknown or makes no sense."""


class Publisher(Protocol):
    """The bus, as far as it concerns us."""

    @property
    def is_up(self) -> bool: ...

    def publish(self, kind: Kind, topic: str, body: bytes) -> None: ...

    def subscribe(self, topic: str) -> None: ...

    def unsubscribe(self, topic: str) -> None: ...

    def wait_until_subscribed(self, timeout_s: float = ...) -> bool: ...

    def peer_count(self) -> int | None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Replies:
    """The answers to one question."""

    #: By the process's name: host, process id and a random number.
    by_process: dict[str, Answer]
    #: Processes that are known to be there and have not answered in time. A bus that can't count
    #: them has none.
    silent_count: int
    #: Whether the bus was up in time. Else no process was asked, and there are no answers.
    was_asked: bool = True


class Queries:
    """The questions of one process, and its answers to those of others. Any thread."""

    def __init__(self, process: str, publisher: Publisher, respond: Respond | None) -> None:
        self._process = process
        self._publisher = publisher
        self._respond = respond
        self._changed = locks.new_condition()
        # Guarded by _changed: answers by process, by the topic that they come to.
        self._gathered: dict[str, dict[str, Answer]] = {}

    def ask(
        self,
        verb: str,
        arguments: dict[str, Any],
        timeout_s: float,
        is_enough: Callable[[Answer], bool] | None = None,
        known: Collection[str] = (),
    ) -> Replies:
        """Ask all others; wait for all of them, for `timeout_s` at most, or for one that is enough.

        On a bus that can't count them, all are those that answer while no pause is too long; or
        just the `known` processes, if there are any. While the bus is down no process is asked,
        for no answer could come. The bus's own thread must not call it.

        Where there is no other process nothing is left behind: asking makes no member of the bus.
        """
        if self._publisher.peer_count() == 0:
            return Replies({}, 0)
        number = os.urandom(8).hex()
        topic = _topic_of(number)
        until_s = time.monotonic() + timeout_s
        with self._changed:
            gathered = self._gathered[topic] = {}
        self._publisher.subscribe(topic)
        try:
            if not self._publisher.wait_until_subscribed(timeout_s):
                return Replies({}, 0, was_asked=False)
            self._publisher.publish(Kind.QUESTION, "", _encoded([number, verb, arguments]))
            asked = self._publisher.peer_count()
            silent_count = self._gather(gathered, asked, until_s, is_enough, known)
        finally:
            self._publisher.unsubscribe(topic)
            self._publisher.wait_until_subscribed(0)
            with self._changed:
                del self._gathered[topic]
        return Replies(gathered, silent_count)

    def _gather(
        self,
        gathered: dict[str, Answer],
        asked: int | None,
        until_s: float,
        is_enough: Callable[[Answer], bool] | None,
        known: Collection[str],
    ) -> int:
        """Wait; returns how many of those that were asked and are still there have not answered."""
        with self._changed:
            while True:
                now = self._publisher.peer_count()
                expected = None if asked is None or now is None else min(asked, now)
                if expected is None and known and gathered.keys() >= set(known):
                    return 0
                if is_enough is not None and any(map(is_enough, gathered.values())):
                    return 0
                if expected is not None and len(gathered) >= expected:
                    return 0
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    return 0 if expected is None else expected - len(gathered)
                if expected is not None:
                    self._changed.wait(rest_s)
                elif not self._publisher.is_up or not self._changed.wait(min(rest_s, SETTLE_S)):
                    return 0

    def take_question(self, body: bytes) -> None:
        """Answer another process. In the bus's thread. Raises `Malformed`."""
        if len(body) > MAX_QUESTION_BYTES:
            raise Malformed(f"a question of {len(body)} bytes; {MAX_QUESTION_BYTES} are taken")
        match _decoded(body):
            case [str(number), str(verb), dict(arguments)] if _NUMBER.fullmatch(number):
                pass
            case _:
                raise Malformed("what is asked is no question")
        answer = self.answer(verb, arguments)
        encoded = _encoded([self._process, answer])
        if len(encoded) > MAX_ANSWER_BYTES:
            encoded = _encoded([self._process, {}])
        self._publisher.publish(Kind.ANSWER, _topic_of(number), encoded)

    def answer(self, verb: str, arguments: dict[str, Any]) -> Answer:
        """What this process says itself; nothing to what it does not understand."""
        answer = None if self._respond is None else self._respond(verb, arguments)
        return {} if answer is None else answer

    def take_answer(self, topic: str, body: bytes) -> None:
        """Another process has answered. In the bus's thread. Raises `Malformed`."""
        if len(body) > MAX_ANSWER_BYTES:
            raise Malformed(f"an answer of {len(body)} bytes; {MAX_ANSWER_BYTES} are taken")
        match _decoded(body):
            case [str(process), dict(answer)]:
                pass
            case _:
                raise Malformed("what is answered is no answer")
        with self._changed:
            gathered = self._gathered.get(topic)
            if gathered is not None and len(gathered) < _MOST_ANSWERS:
                gathered[process] = answer
                self._changed.notify_all()


def _topic_of(number: str) -> str:
    return f"?{number}"


def _encoded(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _decoded(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON of an inquiry: {error}") from None
    return found
