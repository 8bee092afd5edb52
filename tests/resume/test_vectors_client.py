"""The Python client, held to the exchanges that all parties of wshandler.1 are held to."""

import collections

import pytest

from flask_wshandler.client.session import ClientSession, Gap
from flask_wshandler.resume.endpoint import ResumeProtocolError

from .vectors import message_of, steps_of, vectors_for

VECTORS = vectors_for("client")
TOKEN = "0123abcd~sessionOfTheTest"


class Party:
    """The client without I/O. Its outputs wait in rows until a step compares them."""

    def __init__(self, options):
        subprotocols = options.get("subprotocols", ())
        self.session = ClientSession(subprotocols, repeat=options.get("repeat", True))
        self.now_s = 1000.0
        self.wire, self.taken, self.events = (collections.deque() for _ in range(3))
        self.wants_to_connect = True
        self.is_connected = False

    def collect(self):
        """What has come out of it."""
        while self.session.has_outgoing:
            self.wire.append(self.session.next_outgoing())
        while self.session.taken:
            message = self.session.taken.popleft()
            if isinstance(message, Gap):
                self.events.append("gap" if message is Gap.MESSAGES else "history gap")
            else:
                self.taken.append(message)

    def connects(self, offer):
        assert self.wants_to_connect and not self.is_connected
        self.wants_to_connect = False
        self.is_connected = True
        assert self.session.offer() == [token.replace("SESSION", TOKEN) for token in offer]

    def answers(self, subprotocol):
        self.session.answered(subprotocol, self.now_s)

    def server(self, value):
        message = message_of(value)
        if isinstance(message, str):
            message = message.replace("SESSION", TOKEN)
        try:
            self.session.receive(message, self.now_s)
        except ResumeProtocolError:
            self.wire.append(1002)
            self.lost(1002)

    def client(self, value):
        assert self.wire.popleft() == message_of(value)

    client_unread = client

    def client_sends(self, value):
        self.session.send(message_of(value))

    def client_takes(self, value):
        assert self.taken.popleft() == message_of(value)

    def client_event(self, event):
        assert self.events.popleft() == event

    def client_closed(self, code):
        assert self.wire.popleft() == code

    def client_closes(self, code):
        self.lost(code)

    def client_returns(self, _):
        assert self.wants_to_connect

    def cut(self, _):
        if self.is_connected:
            self.lost(1006)

    def server_closes(self, code):
        self.lost(code)

    server_closed = server_closes

    def lost(self, code):
        self.collect()
        self.is_connected = False
        self.wants_to_connect = self.session.lost(code)
        if not self.wants_to_connect:
            self.events.append("closed")

    def passes_s(self, seconds):
        """As a thread would: it wakes when the session wants it."""
        end_s = self.now_s + seconds
        while (due_s := self.session.due_s()) is not None and due_s <= end_s:
            self.now_s = max(self.now_s, due_s) + 0.001
            self.session.tick(self.now_s)
            self.collect()
            if self.session.is_silent(self.now_s):
                self.lost(1006)
        self.now_s = max(self.now_s, end_s)


def play(vector):
    party = Party(vector.get("options", {}))
    for key, value in steps_of(vector):
        step = getattr(party, key.replace(" ", "_"), None)
        if step is not None:
            step(value)
            party.collect()
    assert not party.wire
    assert not party.taken
    assert not party.events
    return party


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_client_says_what_is_written(vector):
    """Word for word, and nothing else."""
    play(vector)


def test_a_vector_that_ends_lets_the_client_come_back_or_not():
    """The runner itself: a client that is told to stay away does."""
    by_name = {vector["name"]: vector for vector in VECTORS}
    assert not play(by_name["the client closes"]).wants_to_connect
    assert play(by_name["a cut and a return, with messages to be repeated"]).is_connected
