"""The client's end of a resumable connection: what it offers, sends, takes and forgets.

No I/O, no thread, no clock of its own: `flask_wshandler.client` brings messages and the time, and
carries away what is outgoing and `taken`.

Invariant: a message of the application is kept until the server has taken it, or is dropped and
the application told of a gap. Before the hello nothing goes out.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Sequence

from ..protocol.errors import CloseCode
from ..protocol.frames import Message
from ..resume.endpoint import (
    ACKNOWLEDGE_AFTER_S,
    BINARY_MESSAGE,
    MAX_PLACES,
    MESSAGE,
    PROBE,
    SUBPROTOCOL,
    Endpoint,
    Hello,
    Offer,
    ResumeProtocolError,
    Return,
    parse_acknowledgement,
    parse_hello,
)
from ..resume.places import BINARY_LOGGED, GAP, LOGGED, parse_gap, split_binary, split_text

SILENCE_S = 5.0
"""How much longer than its `ping` a server may say nothing, before the network counts as lost."""

MAX_KEPT_BYTES = 1024 * 1024
"""Of messages that are not sent or not acknowledged."""

AWAY = 4000
"""A client closes a network connection with it that comes back."""

_LONGEST_PING_S = 86400.0

_ENDS_IN_ORDER = (CloseCode.GOING_AWAY, CloseCode.SERVICE_RESTART)
"""The handler has ended, and all that it has sent has arrived."""

_FINAL = frozenset(
    {
        CloseCode.NORMAL_CLOSURE,
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_DATA,
        CloseCode.POLICY_VIOLATION,
        CloseCode.MESSAGE_TOO_BIG,
        1010,  # RFC 6455 section 7.4.1: the client has missed an extension
    }
)


def comes_back(code: int) -> bool:
    """Whether a client does, whose network connection has ended with that close code."""
    return code not in _FINAL and (code < 3000 or code == AWAY)


def _size_of(message: Message) -> int:
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())


class _Endpoint(Endpoint[Message]):
    size_of = staticmethod(_size_of)


class Gap(enum.Enum):
    """What stands among the messages where some of the server's may be missing."""

    MESSAGES = enum.auto()
    """The handler was gone: what was on its way, and what was broadcast without a history."""
    HISTORY = enum.auto()
    """Of a collection with history: they are not in it any more."""


class ClientSession:
    """One resumable connection of a client, over all its network connections.

    Not for several threads at a time: who has it holds a lock.
    """

    def __init__(self, subprotocols: Sequence[str] = (), *, repeat: bool = True) -> None:
        """Unless it is to `repeat`, what was not acknowledged before a gap is dropped."""
        self._subprotocols = tuple(subprotocols)
        self._repeats = repeat
        self._endpoint: _Endpoint = _Endpoint()
        self._session: str | None = None
        self._is_plain = False
        self._is_greeted = False
        self._has_ended_in_order = False
        self._acknowledge_due_s: float | None = None
        self._heard_s = 0.0
        #: The application's subprotocol that the server has chosen.
        self.protocol: str | None = None
        #: After how many seconds the server says something; None: never, or it has not said.
        self.ping_s: float | None = None
        #: Whether the same handler went on at the last return.
        self.is_resumed = False
        #: Whether messages have gone through since the last hello.
        self.has_exchanged = False
        #: How often messages of the server may have been lost.
        self.gaps = 0
        #: Of these, how often they were those of a log.
        self.history_gaps = 0
        self._outgoing: collections.deque[Message] = collections.deque()
        self._plain_bytes = 0
        self._answers = False
        self._probes = False
        self._tries = 0
        #: Where it is in the logs of collections: by stream, the last one that was heard of last.
        self._places: dict[str, str] = {}
        #: What the application is to be given: messages, and gaps in between.
        self.taken: collections.deque[Message | Gap] = collections.deque()

    @property
    def is_open(self) -> bool:
        """Whether what is sent goes out now."""
        return self._is_greeted

    @property
    def is_plain(self) -> bool:
        """Whether the server does not speak `wshandler.1`."""
        return self._is_plain

    @property
    def kept(self) -> int:
        """How many messages are not sent, or not acknowledged."""
        return len(self._endpoint) + (len(self._outgoing) if self._is_plain else 0)

    def has_room(self, size: int) -> bool:
        """Whether a message of `size` bytes may be sent. There is for any, if none is kept."""
        kept = self._endpoint.kept_bytes + self._plain_bytes
        return kept == 0 or kept + size <= MAX_KEPT_BYTES

    @property
    def has_outgoing(self) -> bool:
        """Whether something is to be written."""
        return self._answers or bool(self._outgoing)

    def next_outgoing(self) -> Message:
        """What is to be written next: it is about to be."""
        if self._answers:
            self._answers = False
            return self._endpoint.tell()
        message = self._outgoing.popleft()
        if self._is_plain:
            self._plain_bytes -= _size_of(message)
        return message

    def offer(self) -> list[str]:
        """The subprotocols of the next handshake.

        It says what was taken; so that is acknowledged by it.
        """
        if self._session is None:
            self._tries += 1
            return Offer(self._subprotocols).tokens()
        endpoint = self._endpoint
        endpoint.tell()
        returns = Return(
            self._session,
            endpoint.received,
            endpoint.acknowledged,
            self._tries,
            is_anew=self._has_ended_in_order,
        )
        self._tries += 1
        return Offer(self._subprotocols, returns, self._places).tokens()

    def answered(self, subprotocol: str | None, now_s: float) -> None:
        """The handshake has succeeded, with that subprotocol."""
        self._heard_s = now_s
        self.is_resumed = False
        self._is_plain = subprotocol != SUBPROTOCOL
        if not self._is_plain:
            return
        if self._session is not None and not self._has_ended_in_order:
            self._miss()
        self.protocol = subprotocol if subprotocol in self._subprotocols else None
        self.ping_s = None
        self._session = None
        self._places.clear()
        kept, self._endpoint = self._endpoint, _Endpoint()
        self._begin()
        for wire in kept:
            self._send_plainly(wire[1:])

    def send(self, message: Message) -> None:
        """The application sends a message: now, or when it is open again."""
        if self._is_plain:
            self._send_plainly(message)
            return
        wire = self._keep(message)
        if self._is_greeted:
            self._outgoing.append(wire)

    def _send_plainly(self, message: Message) -> None:
        self._outgoing.append(message)
        self._plain_bytes += _size_of(message)

    def _keep(self, message: Message) -> Message:
        wire: Message = MESSAGE + message if isinstance(message, str) else BINARY_MESSAGE + message
        self._endpoint.keep(wire)
        return wire

    def probe(self) -> None:
        """Have the server say at once what it has taken; or when it is open again."""
        self._probes = True
        if self._is_greeted and not self._is_plain:
            self._outgoing.append(PROBE)

    def heard(self, now_s: float) -> None:
        """Something has come, be it part of a message."""
        self._heard_s = now_s

    def receive(self, message: Message, now_s: float) -> None:
        """A message has come. Raises `ResumeProtocolError`: then close with 1002."""
        self._heard_s = now_s
        if self._is_plain:
            self.taken.append(message)
        elif not self._is_greeted:
            self._greet(parse_hello(message))
        elif isinstance(message, bytes):
            self._receive_bytes(message, now_s)
        elif message.startswith(MESSAGE):
            self._take(message[1:], _size_of(message) - 1, now_s)
        elif message.startswith(LOGGED):
            place, text = split_text(message)
            self._note_place(*place)
            self._take(text, 0 if text is None else _size_of(text), now_s)
        elif message.startswith(GAP):
            self._note_place(*parse_gap(message))
            self.gaps += 1
            self.history_gaps += 1
            self._take(Gap.HISTORY, 0, now_s)
        elif message == PROBE:
            self._acknowledge()
        else:
            self._endpoint.acknowledge(parse_acknowledgement(message))
            self.has_exchanged = True

    def _receive_bytes(self, message: bytes, now_s: float) -> None:
        if message.startswith(BINARY_MESSAGE):
            self._take(message[1:], len(message) - 1, now_s)
        elif message.startswith(BINARY_LOGGED):
            place, data = split_binary(message)
            self._note_place(*place)
            self._take(data, len(data), now_s)
        else:
            raise ResumeProtocolError(f"no binary of {SUBPROTOCOL} begins as {message[:1]!r}")

    def _note_place(self, stream: str, place: str) -> None:
        self._places.pop(stream, None)
        self._places[stream] = place
        if len(self._places) > MAX_PLACES:
            del self._places[next(iter(self._places))]

    def _take(self, message: Message | Gap | None, size: int, now_s: float) -> None:
        if message is not None:
            self.taken.append(message)
        self.has_exchanged = True
        if self._endpoint.take(size):
            self._acknowledge()
        elif self._acknowledge_due_s is None:
            self._acknowledge_due_s = now_s + ACKNOWLEDGE_AFTER_S

    def _acknowledge(self) -> None:
        """Once, however often it is wanted before it is written."""
        self._acknowledge_due_s = None
        self._answers = True

    def _greet(self, hello: Hello) -> None:
        self._endpoint.acknowledge(hello.received)
        if self._session is not None and hello.lost and not hello.resumed:
            self._miss()
        self._session = hello.session
        self.protocol = hello.protocol
        self.is_resumed = hello.resumed
        self.ping_s = None if hello.ping is None else float(min(hello.ping, _LONGEST_PING_S))
        self._outgoing.extend(self._endpoint)
        self._begin()
        if self._probes:
            self._outgoing.append(PROBE)

    def _miss(self) -> None:
        self.gaps += 1
        self.taken.append(Gap.MESSAGES)
        while not self._repeats and len(self._endpoint):
            self._endpoint.take_back()

    def _begin(self) -> None:
        self._is_greeted = True
        self.has_exchanged = False
        self._has_ended_in_order = False
        self._acknowledge_due_s = None

    def due_s(self) -> float | None:
        """When `tick` is to be called, or the silence lasts too long; None: never."""
        silence_s = [] if self.ping_s is None else [self._heard_s + self.ping_s + SILENCE_S]
        due_s = [] if self._acknowledge_due_s is None else [self._acknowledge_due_s]
        return min(silence_s + due_s, default=None) if self._is_greeted else None

    def tick(self, now_s: float) -> None:
        """Acknowledge what is due."""
        due_s = self._acknowledge_due_s
        if self._is_greeted and due_s is not None and due_s <= now_s:
            self._acknowledge()

    def is_silent(self, now_s: float) -> bool:
        """Whether the server has said nothing for so long that the network counts as lost."""
        if self.ping_s is None or not self._is_greeted:
            return False
        return now_s > self._heard_s + self.ping_s + SILENCE_S

    def lost(self, code: int) -> bool:
        """The network connection is gone, by a close frame of that code, or with 1006.

        Returns whether to come back.
        """
        if self._is_greeted:
            self._has_ended_in_order = code in _ENDS_IN_ORDER
        unsent = list(self._outgoing) if self._is_plain else []
        self._is_greeted = self._is_plain = self._answers = False
        self._acknowledge_due_s = None
        self._plain_bytes = 0
        self._outgoing.clear()
        for message in unsent:
            self._keep(message)
        return comes_back(code)
