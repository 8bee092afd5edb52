"""The handshake of a client that can come back: what it offers, and who goes on with it.

Invariant: what it says in its offer to be known again is a secret, and stands in no request that
the app or anything around it sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest

from ..protocol import opening_handshake
from ..protocol.carrier import Transport, requested_over_http
from ..resume.endpoint import SUBPROTOCOL, Offer, ResumeProtocolError, parse_offer
from ..resume.registry import Agreed, Outcome
from ..transports.stats import ReturnOutcome

if TYPE_CHECKING:
    import socket

    from ..protocol.carrier import Carrier
    from ..protocol.connection import Place
    from ..protocol.limits import ClientSettings
    from ..resume.home import ResumableCallbacks
    from ..resume.leg import Leg
    from ..resume.registry import Client
    from .app_state import AppState

_OVER_HTTP = "HTTP_X_WSHANDLER_OFFER"
"""Where a client offers that is to be served over HTTP; no page can set the other header."""

OFFER_KEY = "flask_wshandler.offer"
"""Under which the environ of a handshake has what its client offers, if that can come back."""

_HEADER = "HTTP_SEC_WEBSOCKET_PROTOCOL"


def take_offer(environ: dict[str, Any]) -> None:
    """Take the offer of a client that can come back out of its request's header.

    What is left there are the subprotocols of the app.
    """
    if _OVER_HTTP in environ and requested_over_http(environ) is not None:
        environ[_HEADER] = environ.pop(_OVER_HTTP)
    if SUBPROTOCOL not in environ.get(_HEADER, ""):
        return
    try:
        offer = parse_offer(opening_handshake.requested_subprotocols(environ))
    except ResumeProtocolError as error:
        environ[OFFER_KEY] = error
        del environ[_HEADER]
        return
    if offer is not None:
        environ[OFFER_KEY] = offer
        environ[_HEADER] = ", ".join(offer.subprotocols)


def offer_of(environ: dict[str, Any]) -> Offer | None:
    """What the client offers; None if it can't come back. 400 for what says nothing sensible."""
    offer = environ.get(OFFER_KEY)
    if isinstance(offer, ResumeProtocolError):
        raise BadRequest(str(offer))
    return offer if isinstance(offer, Offer) else None


class Resumption:
    """Where the client of one handshake goes on, if it has been here before, or begins."""

    def __init__(self, state: AppState, offer: Offer, client: Client, carrier: Carrier) -> None:
        self._resumables = state.resumables
        self._returns = state.engine.returns
        self._offer = offer
        self._client = client
        self._carrier = carrier
        self._leg: Leg | None = None

    def first_leg(
        self, callbacks: ResumableCallbacks, limits: ClientSettings, slot: Place | None
    ) -> Leg:
        """What the client begins with, unless it goes on with another."""
        self._leg = self._resumables.begin(
            callbacks, limits, self._client, self._offer, self._carrier, slot
        )
        return self._leg

    def leg_here(self) -> Leg | None:
        """What the client goes on with in this process; None if that is not here."""
        returns = self._offer.returns
        if returns is None:
            return None
        leg = self._resumables.leg_of(returns, self._client.who, self._carrier)
        if leg is not None:
            self._count(ReturnOutcome.RESUMED)
        return leg

    @property
    def is_elsewhere(self) -> bool:
        """Whether the client has been in another process before, and may have its handler there."""
        returns = self._offer.returns
        return returns is not None and self._resumables.is_elsewhere(returns)

    def is_passed_on(self, sock: socket.socket, data: bytes) -> bool:
        """Give the client's socket to the process that has its handler, if that can be.

        `data` has come behind the handshake's head. The caller closes its `sock` if True; else the
        client begins here.
        """
        returns = self._offer.returns
        assert returns is not None
        agreed = Agreed(self._carrier, data)
        outcome = self._resumables.pass_on(sock, returns, self._client, agreed)
        if outcome is Outcome.PASSED:
            self._count(ReturnOutcome.PASSED)
            return True
        self.begin(is_passable=True, may_be_released=outcome is Outcome.MAYBE_THERE)
        return False

    def begin(self, *, is_passable: bool, may_be_released: bool) -> None:
        """The client begins in this process, with what is left of its last handler.

        The sockets of its next returns may come from other processes if it `is_passable`.
        """
        if is_passable:
            self._resumables.open_door()
        returns = self._offer.returns
        if returns is None or returns.is_anew:
            return
        assert self._leg is not None
        is_released = may_be_released and self._resumables.ask_for_release(
            self._leg, returns, self._client.who
        )
        self._returns.add(ReturnOutcome.RELEASED if is_released else ReturnOutcome.LOST)

    def _count(self, outcome: ReturnOutcome) -> None:
        """Count a return, unless it is but the next poll."""
        if self._carrier.transport is not Transport.POLL:
            self._returns.add(outcome)
