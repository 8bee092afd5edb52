"""The members of a logged topic in this process, and how they are given what is due.

The lock of the topic's feed guards all of it, and is held while messages are given, so that their
order is one for all members.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..handlers.member import Member, Receiver, deliver_to_each, deliver_together
from ..history.log import NOBODY
from ..history.stream import key_of
from ..protocol.frames import OutgoingMessage
from .ordering import Due
from .places import tell_gap


class Audience:
    """Who is given the messages of a topic, each by its connection or by what stands for one."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._live: dict[Member, Receiver] = {}
        self._receivers: tuple[Receiver, ...] | None = ()
        self._keys: dict[bytes, Member] = {}

    def __contains__(self, member: object) -> bool:
        return member in self._live

    def receiver_of(self, member: Member) -> Receiver | None:
        """What takes the messages of a member; None if it is none."""
        return self._live.get(member)

    def member_of(self, key: bytes) -> Member | None:
        """The member here that has a key. Any thread."""
        return self._keys.get(key)

    def put(self, member: Member, receiver: Receiver) -> None:
        """Give to `receiver` from now on what is for `member`."""
        self._live[member] = receiver
        self._keys[key_of(member.connection_id)] = member
        self._receivers = None

    def discard(self, member: Member) -> None:
        """Give `member` nothing more."""
        if self._live.pop(member, None) is not None:
            self._keys.pop(key_of(member.connection_id), None)
            self._receivers = None

    def give(self, due: list[Due]) -> None:
        """Give the members what is due, in this order."""
        if len(due) == 1 and due[0].message is not None:
            self.give_one(due[0].message, due[0].excluded)
        elif due:
            self._give_together(due)

    def give_one(self, message: OutgoingMessage, excluded: bytes) -> None:
        """Give a message to all but the member that has the key `excluded`."""
        deliver_to_each(self._receivers_but(excluded), message)

    def _give_together(self, due: list[Due]) -> None:
        # What a client gets of all that has come together goes out in one write.
        waiting: dict[Receiver, list[OutgoingMessage]] = {}
        for message, excluded, place, members in due:
            for receiver in self._receivers_but(excluded) if members is None else self._of(members):
                if message is not None:
                    waiting.setdefault(receiver, []).append(message)
                    continue
                deliver_together(receiver, waiting.pop(receiver, []))
                tell_gap(receiver, self._stream, place)
        for receiver, messages in waiting.items():
            deliver_together(receiver, messages)

    def _of(self, members: Iterable[Member]) -> list[Receiver]:
        return [self._live[member] for member in members if member in self._live]

    def _receivers_but(self, excluded: bytes) -> Iterable[Receiver]:
        receivers = self._receivers
        if receivers is None:
            receivers = self._receivers = tuple(self._live.values())
        member = None if excluded == NOBODY else self._keys.get(excluded)
        if member is None:
            return receivers
        receiver = self._live[member]
        return [each for each in receivers if each is not receiver]
