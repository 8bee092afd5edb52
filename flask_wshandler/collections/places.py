"""What a client is told of its place in the log of a topic: with a message, and without one."""

from __future__ import annotations

from ..handlers.member import Receiver
from ..history.log import Draft, Entry, Position
from ..history.stream import place_text
from ..protocol.frames import OutgoingMessage


def message_at(stream: str, position: Position, draft: Draft | Entry) -> OutgoingMessage:
    """A logged message, with its place."""
    message = OutgoingMessage.of_payload(draft.payload, draft.is_text)
    message.place = f"{stream}.{place_text(position)}"
    return message


def tell_place(receiver: Receiver, stream: str, place: str) -> None:
    """Tell a member that can be told where it is."""
    try:
        if receiver.positions is not None:
            receiver.positions.tell_place(f"{stream}.{place}")
    except Exception as fault:
        receiver.give_up(fault)


def tell_gap(receiver: Receiver, stream: str, place: str) -> None:
    """Tell a member that can be told that messages up to `place` are missing."""
    try:
        if receiver.positions is not None:
            receiver.positions.tell_gap(f"{stream}.{place}")
    except Exception as fault:
        receiver.give_up(fault)
