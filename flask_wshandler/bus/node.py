"""A process on the bus of an app: it hears what the others publish, and they can ask it.

Invariants: nothing starts before the first use; what comes is taken in the order in which it came,
in the bus's thread, which waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..runtime import lifecycle, locks
from ..runtime.identity import process_name
from . import Bus, Envelope, Kind, Malformed, NoBus
from .letters import DEFAULT_TIMEOUT_S as LETTER_TIMEOUT_S
from .letters import Letters, TakeLetter
from .rpc import DEFAULT_TIMEOUT_S, Answer, Queries, Replies, Respond

_TEXTS = (Kind.TEXT, Kind.UNLOGGED_TEXT)
_MESSAGES = (*_TEXTS, Kind.BINARY, Kind.UNLOGGED_BINARY, Kind.LOGGED)

EVERY_PROCESS = ""
"""The topic of what concerns no single collection."""

Deliver = Callable[[list[Envelope]], None]
"""Takes messages that came together, in their order; texts are UTF-8. Must not wait."""

Take = Callable[[Envelope], None]
"""Takes an envelope that is no message. Must not wait; may raise `Malformed`."""


class BusNode:
    """What a process is to the others. Any thread."""

    def __init__(
        self,
        bus: Bus,
        deliver: Deliver,
        takers: Mapping[Kind, Take],
        started: Callable[[], None],
        respond: Respond | None = None,
        take_letter: TakeLetter | None = None,
    ) -> None:
        """`started` is called when others hear of this process, the first time and once.

        `respond` answers what other processes ask, and `take_letter` what they hand over.
        """
        self.bus = bus
        #: Its name to the others: host, process id and a random number.
        self.process = process_name()
        self._deliver = deliver
        self._started = started
        self._queries = Queries(self.process, bus, respond)
        self._letters = Letters(bus, take_letter)
        self._takers = {
            Kind.QUESTION: self._take_question,
            Kind.ANSWER: self._take_answer,
            Kind.LETTER: self._letters.take_letter,
            Kind.REPLY: self._letters.take_reply,
            Kind.SEARCH: self._letters.take_search,
            **takers,
        }
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._is_attached = False
        #: Whether `start` has been called. Once true, always.
        self.has_started = False

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to ask, and no need to be found."""
        return not self.has_started and self.bus.peer_count() == 0

    def start(self) -> None:
        """Be heard of by the others, and hear of them. The first call waits, one second at most."""
        if self.has_started:
            return
        with self._lock:
            if self.has_started:
                return
            self._attach()
            self.bus.wait_until_subscribed()
            if not isinstance(self.bus, NoBus):
                lifecycle.stop_at_exit()
                self._started()
            self.has_started = True

    def _attach(self) -> None:
        """With _lock held."""
        if not self._is_attached:
            self._is_attached = True
            self.bus.attach(self._receive)
            self.bus.subscribe(EVERY_PROCESS)

    def be_reachable(self) -> bool | None:
        """See to it that other processes can ask this one, though it has not started.

        Never waits. Returns None when there is nothing more to do for it; else it is to be called
        again, soon if True.
        """
        self.bus.serve_clients()
        if self.has_started or isinstance(self.bus, NoBus):
            return None
        with self._lock:
            if self._is_attached:
                return self.bus.look()
            self._attach()
            return self.bus.listen_idly()

    def listen(self, timeout_s: float) -> bool:
        """Have what others say come here, if there are any; False if the bus is not up in time."""
        if self.is_alone:
            return self.bus.is_up
        with self._lock:
            self._attach()
        return self.bus.wait_until_subscribed(timeout_s)

    def ask(
        self,
        verb: str,
        arguments: dict[str, Any],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        is_enough: Callable[[Answer], bool] | None = None,
        known: Collection[str] = (),
    ) -> Replies:
        """Ask every other process of the app; wait for all, or for an answer that `is_enough`.

        Waits for `timeout_s` at most. See `Queries.ask` for `known`.
        """
        with self._lock:
            self._attach()
        return self._queries.ask(verb, arguments, timeout_s, is_enough, known)

    def answer(self, verb: str, arguments: dict[str, Any]) -> Answer:
        """What this process answers if another one asks."""
        return self._queries.answer(verb, arguments)

    def be_addressable(self, name: str, timeout_s: float = 1.0) -> bool:
        """See to it that others can `hand_over` to this process by a `name` that is its own.

        Waits until what they hand over arrives, for `timeout_s` at most. False if it does not yet:
        it will when the bus is up again. Costs nothing when it is called again.
        """
        with self._lock:
            self._attach()
        self._letters.receive_as(name)
        return self.bus.wait_until_subscribed(timeout_s)

    def knows(self, owner: str) -> bool:
        """Whether the process that is addressable as `owner` has been found already."""
        return self._letters.knows(owner)

    def hand_over(
        self, owner: str, body: bytes, timeout_s: float = LETTER_TIMEOUT_S
    ) -> bytes | None:
        """Hand `body` to the one process that is addressable as `owner`; return its answer.

        None if there is none in time, and at once if there can't be one: see `Letters.hand_over`.
        """
        with self._lock:
            self._attach()
        return self._letters.hand_over(owner, body, timeout_s)

    # In the bus's thread.

    def _receive(self, envelopes: list[Envelope]) -> None:
        messages: list[Envelope] = []
        for envelope in envelopes:
            try:
                if envelope.kind in _MESSAGES:
                    _check_text(envelope)
                    messages.append(envelope)
                else:
                    self._deliver(messages)  # first, for the rest may close a client
                    messages = []
                    self._take(envelope)
            except Malformed as fault:
                self.bus.refuse(str(fault))
        self._deliver(messages)

    def _take(self, envelope: Envelope) -> None:
        take = self._takers.get(envelope.kind)
        if take is None:
            raise Malformed(f"nobody takes what is of kind {envelope.kind.name}")
        take(envelope)

    def _take_question(self, envelope: Envelope) -> None:
        self._queries.take_question(envelope.body)

    def _take_answer(self, envelope: Envelope) -> None:
        self._queries.take_answer(envelope.topic, envelope.body)


def _check_text(message: Envelope) -> None:
    if message.kind in _TEXTS and not message.body.isascii():
        try:
            message.body.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"a text message that is no UTF-8: {error.reason}") from None
