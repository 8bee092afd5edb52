"""The resumable connections of one app in one process, and who may come back to them.

Invariant: nobody gets the handler of another. Whoever comes back has to know a secret of 128 bits,
and to ask for the same address, of the same handler class, as the same user.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..protocol.carrier import Transport
from .door import Door, is_owner, obstacle
from .endpoint import Endpoint, Offer, ResumeProtocolError, Return
from .passing import Answer, Passed
from .postbox import Posted
from .posts import Post, decode_post, parse_entries
from .releasing import VERB, Released, answer_of, is_release, parse_answer, question
from .resumable import ResumableConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ..bus.rpc import Answer as Answered
    from ..bus.rpc import Replies
    from ..protocol.carrier import Carrier
    from ..protocol.connection import Place
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget
    from .door import Take
    from .home import Home, ResumableCallbacks
    from .leg import Leg

_SECRET_BYTES = 16
_SEPARATOR = "~"

_MOST_QUESTIONS = 8
"""At once. Where a machine has died, all its clients come back, and nobody answers for it."""


_MOST_SEARCHES = 2
"""At once, for processes that nothing is known of. There is a thread behind each."""


class Who(NamedTuple):
    """What has to be the same at each return."""

    path: str
    #: Module and qualified name of the handler's class.
    handler: str
    user: str | None


class Client(NamedTuple):
    """A client at its handshake."""

    #: What its connection is called if it begins.
    connection_id: str
    who: Who
    #: The subprotocol that the application has chosen.
    subprotocol: str | None
    #: Whom the app's session was of.
    session_user: str | None = None


class Agreed(NamedTuple):
    """A network connection after its handshake."""

    carrier: Carrier
    #: What has come behind the handshake's head.
    data: bytes


class Outcome(enum.Enum):
    """What has become of a client whose connection was in another process."""

    PASSED = enum.auto()
    """That process has its socket."""
    MAYBE_THERE = enum.auto()
    """It can't be given the socket, and may have the connection still."""
    GONE = enum.auto()


class Ask(Protocol):
    """Asks the other processes of an app: see `bus.node.BusNode.ask`."""

    def __call__(
        self, verb: str, arguments: dict[str, Any], *, is_enough: Callable[[Answered], bool]
    ) -> Replies: ...


class Letters(Protocol):
    """Between the processes of an app: see `bus.node.BusNode`."""

    @property
    def is_up(self) -> bool:
        """Whether anything can be handed over at this moment."""

    def knows(self, owner: str) -> bool:
        """Whether something was handed over to the process of that name before."""

    def be_addressable(self, name: str) -> bool:
        """Have the others be able to hand something over to this process, by that name.

        Any number of times; the first waits, a second at most.
        """

    def hand_over(self, owner: str, body: bytes) -> bytes | None:
        """Give something to the process of that name.

        What it has answered; None if it has not, in two seconds at most.
        """


class AnyDoor(Protocol):
    """A `Door`, or what stands in its place in tests."""

    name: str
    trouble: str

    def open(self) -> bool: ...

    def has(self, owner: str) -> bool: ...

    def pass_on(self, owner: str, sock: socket.socket, passed: Passed) -> Answer: ...


class Resumables:
    """Makes and finds them, here and in other processes. Any thread."""

    def __init__(
        self,
        home: Home,
        budget: QueueBudget | None,
        app_name: str,
        ask: Ask | None = None,
        letters: Letters | None = None,
        *,
        reaches_far: bool = False,
        key: bytes = b"",
        make_door: Callable[[str, Take], AnyDoor] = Door,
    ) -> None:
        """`ask` asks the other processes of the app, on other machines as well if it `reaches_far`.

        Whoever has the same `key`, which is secret, can tell whose secrets are genuine.
        """
        self._home = home
        self._budget = budget
        self._ask = ask
        self._reaches_far = reaches_far
        self._may_search = threading.BoundedSemaphore(_MOST_SEARCHES)
        self._may_ask = threading.BoundedSemaphore(_MOST_QUESTIONS)
        self._letters = letters
        self._key = key or os.urandom(_SECRET_BYTES)
        self._door = make_door(app_name, self._take)
        #: Whether a client that can come back has been here.
        self.has_begun = False
        # By connection id. Its operations are atomic.
        self._living: weakref.WeakValueDictionary[str, _Entry] = weakref.WeakValueDictionary()

    def begin(
        self,
        callbacks: ResumableCallbacks,
        settings: ClientSettings,
        client: Client,
        offer: Offer,
        carrier: Carrier,
        slot: Place | None,
    ) -> Leg:
        """The first leg of a new connection.

        A client whose handler is gone goes on counting from where it was.
        """
        self.has_begun = True
        returns = offer.returns
        counts = (0, 0) if returns is None else (returns.received, returns.acknowledged)
        connection = _Entry(
            callbacks, settings, self._home, self._budget, slot, Endpoint[bytes](*counts)
        )
        connection.who = client.who
        connection.session_user = client.session_user
        connection.connection_id = client.connection_id
        connection.resumables = self
        connection.subprotocol = client.subprotocol
        connection.former_id = None if returns is None else _connection_id_of(returns.session)
        self._living[client.connection_id] = connection
        self._prepare_for(carrier)
        return connection.first_leg(offer, carrier)

    def _prepare_for(self, carrier: Carrier) -> None:
        """See to it that what the client posts to other processes comes here."""
        if carrier.transport is not Transport.WEBSOCKET and self._letters is not None:
            self._letters.be_addressable(self._door.name)

    def has(self, returns: Return | None) -> bool:
        """Whether the client that returns has its connection here, and has it still."""
        connection = None if returns is None else self._find(returns)
        return connection is not None and connection.is_open

    def expects(self, returns: Return | None) -> bool:
        """Whether the client that returns has its connection here, and was here just now."""
        connection = None if returns is None else self._find(returns)
        return connection is not None and connection.is_expected

    def leg_of(self, returns: Return, who: Who, carrier: Carrier) -> Leg | None:
        """What serves a client that has come back; None if it can't go on here."""
        connection = self._find(returns)
        if connection is None or connection.who != who:
            return None
        self._prepare_for(carrier)
        return connection.leg_of_return(returns, carrier)

    def _find(self, returns: Return) -> _Entry | None:
        if returns.is_anew:
            return None
        return self._find_by(returns.session)

    def _find_by(self, session: str) -> _Entry | None:
        connection = self._living.get(_connection_id_of(session))
        if connection is None or not hmac.compare_digest(
            connection.session.encode(), session.encode()
        ):
            return None
        return connection

    def session_of(self, connection_id: str) -> str:
        """What the client says when it comes back: made of the key, and kept nowhere else."""
        name = f"{self._door.name}{_SEPARATOR}{connection_id}"
        digest = hmac.digest(self._key, name.encode(), hashlib.sha256)[:_SECRET_BYTES]
        secret = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return f"{name}{_SEPARATOR}{secret}"

    # What clients say that are served over HTTP.

    def may_have(self, session: str) -> bool:
        """Whether it is worth reading what a client with that session has posted."""
        owner = _owner_of(session)
        if owner == self._door.name:
            return self._find_by(session) is not None
        letters = self._letters
        if letters is None or not is_owner(owner):
            return False
        if letters.knows(owner) or self._door.has(owner):
            return True
        # On this machine all have a door, unless that can't be.
        return self._reaches_far or bool(obstacle())

    def post(self, post: Post) -> Posted:
        """Have the process take it that has the client's connection. Waits two seconds at most."""
        owner = _owner_of(post.session)
        if owner == self._door.name:
            return self._post_here(post)
        letters = self._letters
        if letters is None or not letters.is_up:
            return Posted.UNREACHABLE
        answer = self._hand_over(letters, owner, post.encoded())
        try:
            # Who is gone does not answer: what becomes of the client turns out at its return.
            return Posted.UNKNOWN if answer is None else Posted(answer.decode("ascii"))
        except ValueError:
            return Posted.UNREACHABLE

    def _hand_over(self, letters: Letters, owner: str, data: bytes) -> bytes | None:
        if letters.knows(owner) or self._door.has(owner):
            return letters.hand_over(owner, data)
        # The name may be made up; to look for it takes a second.
        if not self._may_search.acquire(blocking=False):
            return Posted.UNREACHABLE.value.encode()
        try:
            return letters.hand_over(owner, data)
        finally:
            self._may_search.release()

    def take_post(self, data: bytes) -> bytes:
        """What another process has been posted. In the bus's thread; never waits."""
        try:
            posted = self._post_here(decode_post(data))
        except ResumeProtocolError:
            posted = Posted.INVALID
        return posted.value.encode()

    def _post_here(self, post: Post) -> Posted:
        connection = self._find_by(post.session)
        if connection is None or connection.session_user != post.user:
            return Posted.UNKNOWN
        try:
            entries = parse_entries(post.body)
        except ResumeProtocolError:
            return Posted.INVALID
        return connection.post(post.first, entries)

    # Other processes.

    @property
    def door_trouble(self) -> str:
        """Why no client can be passed on to this process; empty if it can, or none needed to."""
        return self._door.trouble

    def open_door(self) -> None:
        """Have clients that return to another process of this machine be passed on to this one."""
        self._door.open()

    def is_elsewhere(self, returns: Return) -> bool:
        """Whether the client had its connection in another process, and may have it still."""
        return not returns.is_anew and _owner_of(returns.session) != self._door.name

    def pass_on(
        self, sock: socket.socket, returns: Return, client: Client, agreed: Agreed
    ) -> Outcome:
        """Give the socket of a client to the process that has its connection, if that can be.

        Waits two seconds at most. The caller closes its own `sock`, without a shutdown, if PASSED.
        """
        who = client.who
        passed = Passed(
            returns,
            who.path,
            who.handler,
            who.user,
            client.subprotocol,
            agreed.carrier,
            agreed.data,
            None,
        )
        answer = self._door.pass_on(_owner_of(returns.session), sock, passed)
        if answer is Answer.TAKEN:
            return Outcome.PASSED
        may_be_far = answer is Answer.GONE and self._reaches_far
        is_there = answer is Answer.UNREACHABLE or may_be_far
        return Outcome.MAYBE_THERE if is_there else Outcome.GONE

    def _take(self, sock: socket.socket, passed: Passed) -> bool:
        """Serve a client that another process has passed on. In the door's thread."""
        if self._home.is_stopping and not self.expects(passed.returns):
            return False
        who = Who(passed.path, passed.handler, passed.user)
        leg = self.leg_of(passed.returns, who, passed.carrier)
        if leg is None:
            return False
        try:
            self._home.adopt_taken(sock, leg, passed.data)
        except BaseException:
            leg.never_opens()
            raise
        return True

    def ask_for_release(self, leg: Leg, returns: Return, who: Who) -> bool:
        """Have whichever process has the client's connection end it, for `leg` to go on with.

        Waits two seconds at most. False if none has answered with what the client lacks.
        """
        if self._ask is None or not self._may_ask.acquire(blocking=False):
            return False
        try:
            replies = self._ask(VERB, question(returns, *who), is_enough=is_release)
        finally:
            self._may_ask.release()
        answers = filter(is_release, replies.by_process.values())
        released = parse_answer(next(answers, {}))
        if released is None:
            return False
        leg.go_on_with(released.endpoint())
        return True

    def respond(self, verb: str, arguments: dict[str, Any]) -> Answered | None:
        """Answer another process. In the bus's thread; never waits."""
        if verb != VERB:
            return None
        match arguments:
            case {
                "session": str(session),
                "path": str(path),
                "handler": str(handler),
                "user": str() | None as user,
                "received": int(received),
                "acknowledged": int(acknowledged),
                "tries": int(tries),
            }:
                returns = Return(session, received, acknowledged, tries)
                return answer_of(self._release(returns, Who(path, handler, user)))
        return None

    def _release(self, returns: Return, who: Who) -> Released | None:
        connection = self._find(returns)
        if connection is None or connection.who != who:
            return None
        return connection.release(returns)


def _owner_of(session: str) -> str:
    return session.partition(_SEPARATOR)[0]


def _connection_id_of(session: str) -> str:
    """As the client says; who relies on it compares all of the session."""
    return session.partition(_SEPARATOR)[2].partition(_SEPARATOR)[0]


class _Entry(ResumableConnection):
    __slots__ = ("connection_id", "resumables", "session_user", "who")

    connection_id: str
    session_user: str | None
    resumables: Resumables
    who: Who

    # Made anew when it is asked for, which is at a return: kept, it would take 0.1 kB.
    @property
    def session(self) -> str:
        return self.resumables.session_of(self.connection_id)
