"""The messages to the members of collections, and the orders to close them: out, and in.

What is broadcast here goes to the bus and to the members here; what other processes have broadcast
comes by the bus, to the members here. What has a history takes the way of `logged`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..bus import Bus, Envelope, Kind, Malformed
from ..handlers.handler import WebSocketHandler, find_member
from ..handlers.member import Member, Receiver, close_each, deliver_to_each, deliver_together
from ..history.log import NOBODY, Draft, Log
from ..protocol.errors import check_close
from ..protocol.frames import OutgoingMessage
from .history import History
from .local_members import LocalMembers
from .logged import LoggedTopics

_TEXTS = (Kind.TEXT, Kind.UNLOGGED_TEXT)
_UNKNOWING = (Kind.TEXT, Kind.BINARY)
"""Of whoever does not know that the collection has a history."""

_CODE = struct.Struct("!H")


class Deliveries:
    """Any thread; it has no lock."""

    def __init__(
        self,
        bus: Bus,
        make_log: Callable[[], Log],
        find: Callable[[str], LocalMembers | None],
    ) -> None:
        """`find` says which members a topic has here."""
        self._bus = bus
        self._find = find
        #: The collections that have a history.
        self.logged = LoggedTopics(bus, make_log, self._send_unlogged, self._deliver_unfed)

    # Out.

    def broadcast(
        self,
        topic: str,
        outgoing: OutgoingMessage,
        exclude: WebSocketHandler | None,
        history: History | None,
    ) -> None:
        """Send a message to all members but one, everywhere."""
        if history is None:
            history = self.logged.histories.get(topic)
        if history is None:
            kind = Kind.TEXT if outgoing.is_text else Kind.BINARY
            self._send_plainly(kind, topic, outgoing, find_member(exclude))
        else:
            self.logged.broadcast(topic, history, outgoing, find_member(exclude))
            self.logged.hand_over()
        self._bus.hand_over()

    def _send_unlogged(self, topic: str, outgoing: OutgoingMessage, exclude: Member | None) -> None:
        kind = Kind.UNLOGGED_TEXT if outgoing.is_text else Kind.UNLOGGED_BINARY
        self._send_plainly(kind, topic, outgoing, exclude)

    def _send_plainly(
        self, kind: Kind, topic: str, outgoing: OutgoingMessage, exclude: Member | None
    ) -> None:
        self._bus.publish(kind, topic, outgoing.payload)
        members = self._find(topic)
        if members is not None:
            deliver_to_each(members.receivers(exclude), outgoing)

    def close_all(self, topic: str, code: int, reason: str) -> None:
        """Close all members, everywhere."""
        self._bus.publish(Kind.CLOSE, topic, _CODE.pack(code) + reason.encode())
        self._close(topic, code, reason)
        self._bus.hand_over()

    def _close(self, topic: str, code: int, reason: str) -> None:
        members = self._find(topic)
        if members is not None:
            close_each(members.receivers(), code, reason)

    # In. In the bus's thread.

    def take(self, envelopes: list[Envelope]) -> None:
        """Give messages that came together to the members here."""
        # What a client gets of all that has come together goes out in one write.
        waiting: dict[Receiver, list[OutgoingMessage]] = {}
        logged = []
        for envelope in envelopes:
            if envelope.kind is Kind.LOGGED:
                logged.append(envelope)
                continue
            members = self._find(envelope.topic)
            if members is not None:
                is_text = envelope.kind in _TEXTS
                if members.feed is not None and envelope.kind in _UNKNOWING:
                    self.logged.mismatches.note_unnumbered(members.topic, members.feed.history)
                message = OutgoingMessage.of_payload(envelope.body, is_text)
                for receiver in members.receivers():
                    found = waiting.get(receiver)
                    if found is None:
                        waiting[receiver] = [message]
                    else:
                        found.append(message)
        for receiver, messages in waiting.items():
            if len(messages) == 1:
                deliver_to_each((receiver,), messages[0])
            else:
                deliver_together(receiver, messages)
        if logged:
            self.logged.take(logged)

    def _deliver_unfed(self, topic: str, draft: Draft) -> None:
        """Give a logged message to members that are here without anybody's knowing of its log."""
        members = self._find(topic)
        if members is None or members.knows_history:
            return  # or about to have it from the log
        self.logged.mismatches.note_unfed(topic)
        excluded = None if draft.excluded == NOBODY else members.member_of(draft.excluded)
        message = OutgoingMessage.of_payload(draft.payload, draft.is_text)
        deliver_to_each(members.receivers(excluded), message)

    def take_close(self, envelope: Envelope) -> None:
        """Close the members here. Raises `Malformed`."""
        self._close(envelope.topic, *_close_of(envelope.body))


def _close_of(body: bytes) -> tuple[int, str]:
    try:
        (code,) = _CODE.unpack_from(body)
        reason = str(body[_CODE.size :], "utf-8")
        check_close(code, reason)
    except (struct.error, ValueError) as error:
        raise Malformed(f"a close that can't be sent: {error}") from None
    return code, reason
