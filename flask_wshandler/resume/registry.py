"""The resumable connections of one app in one process, and who may come back to them.

Invariant: nobody gets the handler of another. Whoever comes back has to know a secret of 128 bits,
and to ask for the same address, of the same handler class, as the same user.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import weakref
from typing import TYPE_CHECKING, NamedTuple

from websockets.extensions.permessage_deflate import PerMessageDeflate

from .door import Door
from .endpoint import Endpoint, Offer, Return
from .passing import Answer, Passed
from .resumable import ResumableConnection

if TYPE_CHECKING:
    import socket

    from ..protocol.connection import Place
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget
    from .leg import Leg
    from .resumable import Home, ResumableCallbacks

_SECRET_BYTES = 16
_SEPARATOR = "~"


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


class Agreed(NamedTuple):
    """A network connection after its handshake."""

    deflate: PerMessageDeflate | None
    #: What has come behind the handshake's head.
    data: bytes


class Resumables:
    """Makes and finds them, here and by way of the door of another process. Any thread."""

    def __init__(
        self, home: Home, budget: QueueBudget | None, app_name: str, key: bytes = b""
    ) -> None:
        """Whoever has the same `key`, which is secret, can tell whose secrets are genuine."""
        self._home = home
        self._budget = budget
        self._key = key or os.urandom(_SECRET_BYTES)
        self._door = Door(app_name, self._take)
        # By connection id. Its operations are atomic.
        self._living: weakref.WeakValueDictionary[str, _Entry] = weakref.WeakValueDictionary()

    def begin(
        self,
        callbacks: ResumableCallbacks,
        settings: ClientSettings,
        client: Client,
        offer: Offer,
        deflate: PerMessageDeflate | None,
        slot: Place | None,
    ) -> Leg:
        """The first leg of a new connection.

        A client whose handler is gone goes on counting from where it was.
        """
        returns = offer.returns
        counts = (0, 0) if returns is None else (returns.received, returns.acknowledged)
        connection = _Entry(
            callbacks, settings, self._home, self._budget, slot, Endpoint[bytes](*counts)
        )
        connection.who = client.who
        connection.session = self._session(client.connection_id)
        connection.subprotocol = client.subprotocol
        self._living[client.connection_id] = connection
        return connection.first_leg(returns, deflate)

    def has(self, returns: Return | None) -> bool:
        """Whether the client that returns has its connection here, and has it still."""
        connection = None if returns is None else self._find(returns)
        return connection is not None and connection.is_open

    def leg_of(self, returns: Return, who: Who, deflate: PerMessageDeflate | None) -> Leg | None:
        """What serves a client that has come back; None if it can't go on here."""
        connection = self._find(returns)
        if connection is None or connection.who != who:
            return None
        return connection.leg_of_return(returns, deflate)

    # Other processes of this machine.

    def open_door(self) -> None:
        """Have clients that return to another process be passed on to this one."""
        self._door.open()

    def is_elsewhere(self, returns: Return) -> bool:
        """Whether the client had its connection in another process."""
        return _owner_of(returns) != self._door.name

    def pass_on(self, sock: socket.socket, returns: Return, client: Client, agreed: Agreed) -> bool:
        """Give the socket of a client to the process that has its connection, if that can be.

        Waits two seconds at most. The caller closes its own `sock`, without a shutdown, if True.
        """
        deflate = agreed.deflate
        bits = None
        if deflate is not None:
            bits = deflate.remote_max_window_bits, deflate.local_max_window_bits
        who = client.who
        passed = Passed(
            returns, who.path, who.handler, who.user, client.subprotocol, bits, agreed.data, None
        )
        return self._door.pass_on(_owner_of(returns), sock, passed) is Answer.TAKEN

    def _take(self, sock: socket.socket, passed: Passed) -> bool:
        """Serve a client that another process has passed on. In the door's thread."""
        if self._home.is_stopping:
            return False
        who = Who(passed.path, passed.handler, passed.user)
        deflate = None
        if passed.window_bits is not None:
            deflate = PerMessageDeflate(True, True, *passed.window_bits)
        leg = self.leg_of(passed.returns, who, deflate)
        if leg is None:
            return False
        try:
            self._home.adopt_taken(sock, leg, passed.data)
        except BaseException:
            leg.never_opens()
            raise
        return True

    def _find(self, returns: Return) -> _Entry | None:
        parts = returns.session.split(_SEPARATOR)
        connection = self._living.get(parts[1]) if len(parts) == 3 else None
        if connection is None or not hmac.compare_digest(connection.session, returns.session):
            return None
        return connection

    def _session(self, connection_id: str) -> str:
        """What the client says when it comes back: it is made of the key, and kept nowhere."""
        name = f"{self._door.name}{_SEPARATOR}{connection_id}"
        digest = hmac.digest(self._key, name.encode(), hashlib.sha256)[:_SECRET_BYTES]
        secret = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return f"{name}{_SEPARATOR}{secret}"


def _owner_of(returns: Return) -> str:
    return returns.session.partition(_SEPARATOR)[0]


class _Entry(ResumableConnection):
    __slots__ = ("who",)

    who: Who
