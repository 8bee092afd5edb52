"""The subprotocol `wshandler.1`: what both ends of a resumable connection say, count and keep.

No I/O, no time, no lock: the server and the Python client use it, and hold theirs. A resumable
connection goes through any number of network connections, one after the other; both ends go on
counting over all of them.

Invariants:
- A message's number is its place among those of its direction, from 1. It is on no wire: each end
  counts.
- An end keeps what it has sent until the other says that it has taken it, and sends that again on
  the next network connection; so the other gets every message once and in order.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..protocol.errors import WebSocketError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SUBPROTOCOL = "wshandler.1"

ACKNOWLEDGE_AFTER_MESSAGES = 64
ACKNOWLEDGE_AFTER_BYTES = 64 * 1024
ACKNOWLEDGE_AFTER_S = 1.0
"""The first of these that is over has an end say what it has taken."""

PROBE = "p"
"""Are you there? Answered by an acknowledgement."""

MESSAGE = "m"
BINARY_MESSAGE = MESSAGE.encode()
"""What a message begins with that the application has sent."""

_HELLO = "h"
ACKNOWLEDGEMENT = "a"

MAX_NUMBER = 2**53
"""Beyond this JavaScript can't count."""
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,15})")
_SESSION = re.compile(r"[A-Za-z0-9_~-]{8,128}")
_RETURN = re.compile(rf"([rn]\.)({_SESSION.pattern})" + rf"\.({_NUMBER.pattern})" * 3)
_RETURN_PREFIX = "r."
_ANEW_PREFIX = "n."
_PLACE = re.compile(r"([0-9a-f]{12})\.([0-9a-f.]{1,64})")
_PLACE_PREFIX = "p."
MAX_PLACES = 32
"""In an offer: with so many collections a client goes on after its handler is gone."""
MESSAGE_COST_BYTES = 64
"""About what a kept message takes beside its bytes."""


class ResumeProtocolError(WebSocketError):
    """The other end does not speak `wshandler.1`; the message says what it has said."""


@dataclasses.dataclass(frozen=True, slots=True)
class Return:
    """What a client says that has been here before."""

    #: What the hello of its last network connection has called the connection; a secret.
    session: str = dataclasses.field(repr=False)
    #: How many messages it has taken.
    received: int
    #: How many of its own have been acknowledged to it.
    acknowledged: int
    #: How many tries there were before this one. Of two that arrive in the wrong order, as by way
    #: of a worker that was busy, the later one counts.
    tries: int
    #: Whether it knows that its handler has ended, and comes for another one: it was told to come
    #: back by a close frame, before which all had arrived.
    is_anew: bool = False

    def __str__(self) -> str:
        prefix = _ANEW_PREFIX if self.is_anew else _RETURN_PREFIX
        counts = f"{self.received}.{self.acknowledged}.{self.tries}"
        return f"{prefix}{self.session}.{counts}"


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What a client offers as its subprotocols."""

    #: Those of the application.
    subprotocols: tuple[str, ...] = ()
    #: None at the first time.
    returns: Return | None = None
    #: Where it is in the logs of collections: by stream.
    places: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def tokens(self) -> list[str]:
        """The values of the header Sec-WebSocket-Protocol, in their order."""
        returns = [] if self.returns is None else [str(self.returns)]
        places = [f"{_PLACE_PREFIX}{stream}.{place}" for stream, place in self.places.items()]
        return [SUBPROTOCOL, *self.subprotocols, *returns, *places]


def parse_offer(tokens: Iterable[str]) -> Offer | None:
    """What a client offers; None if it does not speak `wshandler.1`.

    Raises `ResumeProtocolError` for returns that say nothing sensible.
    """
    tokens = list(tokens)
    if SUBPROTOCOL not in tokens:
        return None
    returns = [token for token in tokens if _RETURN.fullmatch(token)]
    places = [token for token in tokens if _is_place(token)]
    known = {SUBPROTOCOL, *returns, *places}
    others = tuple(token for token in tokens if token not in known)
    if not returns:
        return Offer(others)
    match = _RETURN.fullmatch(returns[0])
    if match is None or len(returns) > 1:
        raise ResumeProtocolError("the client returns with what several servers have given to it")
    prefix, session, *digits = match.groups()
    received, acknowledged, tries = map(_number, digits)
    is_anew = prefix == _ANEW_PREFIX
    return Offer(
        others,
        Return(session, received, acknowledged, tries, is_anew),
        _by_stream(places),
    )


def _is_place(token: str) -> bool:
    return token.startswith(_PLACE_PREFIX) and bool(_PLACE.fullmatch(token, len(_PLACE_PREFIX)))


def _by_stream(tokens: list[str]) -> dict[str, str]:
    places = dict([parse_place(token.removeprefix(_PLACE_PREFIX)) for token in tokens])
    if len(places) != len(tokens):
        raise ResumeProtocolError("the client is at several places of one log")
    if len(places) > MAX_PLACES:
        raise ResumeProtocolError(f"{len(places)} places in logs, of at most {MAX_PLACES}")
    return places


def parse_place(text: str) -> tuple[str, str]:
    """The stream and the place in it. Raises `ResumeProtocolError`."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ResumeProtocolError(f"{text!r:.100} is no place in a log")
    return match[1], match[2]


@dataclasses.dataclass(frozen=True, slots=True)
class Hello:
    """What a server says first on each network connection."""

    #: What the connection is called at a return; a secret.
    session: str = dataclasses.field(repr=False)
    #: How many messages of the client it has taken: those behind are to be sent again.
    received: int
    #: Whether the same handler goes on.
    resumed: bool
    #: Whether messages for the client may have been lost, because the handler it had is gone.
    lost: bool = False
    #: Seconds after which the server says something if it has nothing to say; None: never.
    ping: float | None = None
    #: The subprotocol that the application has chosen.
    protocol: str | None = None

    def text(self) -> str:
        """The text message."""
        return _HELLO + json.dumps(dataclasses.asdict(self), separators=(",", ":"))


def parse_hello(text: object) -> Hello:
    """The hello in the first message of a server. Raises `ResumeProtocolError`."""
    try:
        if not isinstance(text, str) or text[:1] != _HELLO:
            raise ValueError
        return _checked_hello(json.loads(text[1:]))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ResumeProtocolError("the first message of the server is no hello") from None


def _checked_hello(values: dict[str, Any]) -> Hello:
    """Made of what is known here: a later server may say more."""
    hello = Hello(
        values["session"],
        values["received"],
        values["resumed"],
        values.get("lost", False),
        values.get("ping"),
        values.get("protocol"),
    )
    is_counted = type(hello.received) is int and 0 <= hello.received <= MAX_NUMBER
    is_named = type(hello.session) is str and _SESSION.fullmatch(hello.session)
    are_flags = type(hello.resumed) is bool and type(hello.lost) is bool
    is_timed = hello.ping is None or (type(hello.ping) in (int, float) and hello.ping > 0)
    if not (is_counted and is_named and are_flags and is_timed):
        raise ValueError
    if not isinstance(hello.protocol, str | None):
        raise ValueError
    return hello


def acknowledgement(received: int) -> str:
    """The text message that says so many messages are taken."""
    return f"{ACKNOWLEDGEMENT}{received}"


def parse_acknowledgement(text: str) -> int:
    """How many messages the other end has taken. Raises `ResumeProtocolError` for any other."""
    if text[:1] != ACKNOWLEDGEMENT:
        raise ResumeProtocolError(f"no message of {SUBPROTOCOL} begins as {text!r:.20}")
    return _number(text[1:])


def _number(digits: str) -> int:
    if _NUMBER.fullmatch(digits) is None or int(digits) > MAX_NUMBER:
        raise ResumeProtocolError(f"{digits!r:.20} is no number from 0 to {MAX_NUMBER}")
    return int(digits)


Kept = TypeVar("Kept")


class Endpoint(Generic[Kept]):
    """The numbers of one end, and what it keeps."""

    size_of: Callable[[Any], int] = staticmethod(len)
    """How many bytes a message has that is kept: always the same."""

    __slots__ = (
        "_bytes_since_told",
        "_kept",
        "kept_bytes",
        "received",
        "sent",
        "told",
    )

    def __init__(self, sent: int = 0, received: int = 0) -> None:
        """Begin to count behind `sent` and `received`."""
        #: The number of the last message that was sent, on whatever network connection.
        self.sent = sent
        #: The number of the last message that was taken.
        self.received = received
        #: What the other end was last told of that.
        self.told = received
        self._bytes_since_told = 0
        #: None while it is empty: a deque takes 0.6 kB.
        self._kept: collections.deque[Kept] | None = None
        #: What the kept messages take, with what each costs beside its bytes.
        self.kept_bytes = 0

    @property
    def acknowledged(self) -> int:
        """The number of the last message that the other end has said to have taken."""
        return self.sent - len(self)

    def __len__(self) -> int:
        """How many messages are kept."""
        return 0 if self._kept is None else len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        """What is kept, the oldest first: to be sent again."""
        return iter(self._kept or ())

    def keep(self, message: Kept) -> None:
        """A message is sent, or will be on the next network connection."""
        kept = self._kept
        if kept is None:
            kept = self._kept = collections.deque()
        # Not with its size: a tuple for each makes work for the garbage collector.
        kept.append(message)
        self.sent += 1
        self.kept_bytes += self.size_of(message) + MESSAGE_COST_BYTES

    def take_back(self) -> None:
        """The message that was kept last is not sent after all."""
        self.forget(1, 0)

    def forget(self, count: int, behind: int) -> int:
        """So many messages were not written and will not be, the last of them `behind` the end.

        Those behind get lower numbers, so none of them may be written either. Returns the bytes
        that are free now.
        """
        if self._kept is None:
            return 0
        self._kept.rotate(behind)
        forgotten = [self._kept.pop() for _ in range(count)]
        self._kept.rotate(-behind)
        self.sent -= count
        return self._free(forgotten)

    def acknowledge(self, number: int) -> None:
        """The other end has taken the messages up to `number`.

        Raises `ResumeProtocolError` for one that it can't have, or has never said again.
        """
        if not self.acknowledged <= number <= self.sent:
            raise ResumeProtocolError(
                f"{number} messages are acknowledged, of {self.acknowledged} to {self.sent}"
            )
        kept = self._kept
        if kept is not None:
            self._free([kept.popleft() for _ in range(number - self.acknowledged)])

    def _free(self, messages: list[Kept]) -> int:
        freed = sum(map(self.size_of, messages)) + MESSAGE_COST_BYTES * len(messages)
        self.kept_bytes -= freed
        if not self._kept:
            self._kept = None
        return freed

    def can_go_on_from(self, received: int) -> bool:
        """Whether all that is behind the number `received` is kept."""
        return self.acknowledged <= received <= self.sent

    def take(self, size: int) -> bool:
        """A message of so many bytes has come; whether it is time to acknowledge."""
        self.received += 1
        self._bytes_since_told += size
        return (
            self.received - self.told >= ACKNOWLEDGE_AFTER_MESSAGES
            or self._bytes_since_told >= ACKNOWLEDGE_AFTER_BYTES
        )

    @property
    def owes_acknowledgement(self) -> bool:
        """Whether there is something to acknowledge, within `ACKNOWLEDGE_AFTER_S`."""
        return self.told != self.received

    def tell(self) -> str:
        """The acknowledgement of all that was taken, which is about to be sent."""
        self.told = self.received
        self._bytes_since_told = 0
        return acknowledgement(self.received)
