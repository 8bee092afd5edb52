"""Questions for members, and answers, that wait to leave: a piece at a time.

However much there is to tell, no message is larger than some ten kilobytes, and no more of them
leave at once than a queue takes; the rest follows, a piece every `PAUSE_S`. A part of an answer is
as of its own count: a change between two parts is told as such.

The lock of the `Account` guards it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from .presence_messages import AnswerPart, Pairs, PresenceMessage, Question
from .process_accounts import OwnAccount

PAUSE_S = 0.1

_MEMBERS_PER_MESSAGE = 200
_MESSAGE_BYTES = 64 * 1024
"""About as much metadata, or names of topics, as one message has."""
_TURN_BYTES = 512 * 1024
"""As much of questions or answers leaves at once."""


@dataclasses.dataclass(slots=True)
class _Answer:
    """One that is under way: the members as they were when it began."""

    connection_ids: list[str]
    position: int = 0
    index: int = 0
    #: Whether another process has asked since it began, and needs all of it.
    is_asked_again: bool = False


class PresenceOutbox:
    """What this process has to ask the others, and to answer."""

    def __init__(
        self,
        process: str,
        own: OwnAccount,
        publish: Callable[[PresenceMessage], int],
        wake: Callable[[float], None] | None,
    ) -> None:
        """`publish` returns a message's size; `wake` has `go_on` called in so many seconds."""
        self._process = process
        self._own = own
        self._publish = publish
        self._wake = wake
        #: Topics to ask for, and topics to answer with what has been told of them.
        self._questions: dict[str, None] = {}
        self._answers: dict[str, _Answer | None] = {}

    @property
    def has_rest(self) -> bool:
        """Whether something could not leave yet."""
        return bool(self._questions or self._answers)

    def ask(self, topics: list[str]) -> None:
        """Ask all others for their members of some topics."""
        if topics:
            self._questions.update(dict.fromkeys(topics))
            self._ask_some()

    def ask_no_more(self, topic: str) -> None:
        """Nobody wants to know any more."""
        self._questions.pop(topic, None)

    def answer(self, topics: list[str]) -> None:
        """Tell all others this process's members of some topics."""
        for topic in topics:
            under_way = self._answers.setdefault(topic, None)
            if under_way is not None:
                under_way.is_asked_again = True
        self._answer_some()

    def go_on(self) -> None:
        """Send some of the rest."""
        self._ask_some()
        self._answer_some()

    def _ask_some(self) -> None:
        left_bytes = _TURN_BYTES
        while self._questions and left_bytes > 0:
            topics: list[str] = []
            size = 0
            for topic in self._questions:
                topics.append(topic)
                size += len(topic)
                if size > _MESSAGE_BYTES:
                    break
            for topic in topics:
                del self._questions[topic]
            left_bytes -= self._publish(Question(self._process, topics))
        self._come_back_for(self._questions)

    def _answer_some(self) -> None:
        left_bytes = _TURN_BYTES
        while self._answers and left_bytes > 0:
            topic, answer = next(iter(self._answers.items()))
            if answer is None:
                answer = self._answers[topic] = _Answer(list(self._own.of(topic)))
            left_bytes -= self._send_part(topic, answer)
            if answer.position == len(answer.connection_ids):
                del self._answers[topic]
                if answer.is_asked_again:
                    self._answers[topic] = None
        self._come_back_for(self._answers)

    def _send_part(self, topic: str, answer: _Answer) -> int:
        """Publish the next part of an answer; returns its size."""
        own = self._own.of(topic)
        part: Pairs = []
        size = 0
        ids, position = answer.connection_ids, answer.position
        while position < len(ids) and len(part) < _MEMBERS_PER_MESSAGE and size < _MESSAGE_BYTES:
            metadata = own.get(ids[position])
            if metadata is not None:  # else it has left since, and that is told
                part.append((ids[position], metadata))
                size += len(ids[position]) + (len(json.dumps(metadata)) if metadata else 0)
            position += 1
        answer.position = position
        of = answer.index + (1 if position == len(ids) else 2)
        message = AnswerPart(self._process, self._own.count, topic, answer.index, of, part)
        size = self._publish(message)
        answer.index += 1
        return size

    def _come_back_for(self, rest: object) -> None:
        if rest and self._wake is not None:
            self._wake(PAUSE_S)
