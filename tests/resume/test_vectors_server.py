"""The server is held to the test vectors."""

import json
import re

import pytest

from flask_wshandler.resume.endpoint import SUBPROTOCOL, ResumeProtocolError, parse_offer

from .rig import Site, close, frame, logged
from .vectors import hello_of, message_of, steps_of, vectors_for


class ServerParty:
    """Goes through the steps: the server's input is done, its output compared."""

    def __init__(self, vector):
        chosen = vector.get("options", {}).get("server_subprotocols", [None])[0]
        self.site = Site(subprotocol=chosen)
        self.tokens = {}
        self.answer = None
        self.streams = set(re.findall(r"\b[0-9a-f]{12}\b", json.dumps(vector)))
        self.wire = None
        self.sent = []
        self.taken = 0
        self.events = 0
        self.moves = {
            "connects": self.connects,
            "connects elsewhere": lambda tokens: self.site.connect(self.offer(tokens).returns),
            "refuses": self.answers,
            "answers": self.answers,
            "server": self.says,
            "server unread": self.says,
            "client": lambda message: self.wire.receive(frame(message_of(message))),
            "server sends": lambda message: self.site.connection.send(message_of(message)),
            "server takes": self.takes,
            "server logs": self.logs,
            "server tells place": lambda place: self.site.connection.positions.tell_place(place),
            "server misses": lambda place: self.site.connection.positions.tell_gap(place),
            "server goes on from": self.goes_on_from,
            "server releases": lambda _: self.site.reach_another_process(),
            "cut": lambda _: self.wire.lose(),
            "server closes": lambda code: self.site.connection.close(code),
            "server stops": self.stops,
            "server closed": self.says,
            "client closes": self.client_closes,
            "client closed": self.client_closes,
            "server forgets": lambda _: self.site.forget(),
            "server event": self.happens,
            "passes_s": self.site.advance,
        }

    def run(self, steps):
        for what, value in steps:
            if what in self.moves:
                self.moves[what](value)
                self.site.serve()
                self.hear()
        assert not self.sent
        assert self.taken == sum(len(each.taken) for each in self.site.handlers)

    def hear(self):
        """What has come out, but for answers to close frames; its own are answered."""
        for message in self.wire.messages() if self.wire else []:
            if not isinstance(message, int):
                self.sent.append(message)
            elif not self.has_client_closed:
                self.sent.append(message)
                self.client_closes(message)
                self.site.serve()

    def client_closes(self, code):
        self.has_client_closed = True
        self.wire.receive(close(code))

    def offer(self, tokens):
        for name, token in self.tokens.items():
            tokens = [each.replace(f".{name}.", f".{token}.") for each in tokens]
        return parse_offer(tokens)

    def connects(self, tokens):
        try:
            offer = self.offer(tokens)
        except ResumeProtocolError:
            self.answer = 400
            return
        self.answer = offer and SUBPROTOCOL
        self.wire = self.site.connect(offer.returns, places=offer.places)
        self.has_client_closed = False

    def answers(self, subprotocol):
        assert self.answer == subprotocol

    def says(self, expected):
        assert self.sent, f"nothing is said, rather than {expected!r}"
        message = self.sent.pop(0)
        if isinstance(expected, int):
            assert message == expected
            return
        expected = message_of(expected)
        hello = hello_of(message, {})
        if hello is None:
            assert message == expected
            return
        name = hello_of(expected, {})["session"]
        self.tokens.setdefault(name, hello["session"])
        assert hello == hello_of(expected, self.tokens)

    def takes(self, expected):
        taken = [message for each in self.site.handlers for message in each.taken]
        assert taken[self.taken : self.taken + 1] == [message_of(expected)]
        self.taken += 1

    def logs(self, entry):
        self.site.connection.deliver(logged(message_of(entry["message"]), entry["place"]))

    def goes_on_from(self, expected):
        take_place = self.site.connection.positions.take_place
        found = {stream: take_place(stream) for stream in self.streams}
        assert {stream: place for stream, place in found.items() if place} == expected
        assert not any(map(take_place, self.streams)), "each is given once"

    def stops(self, code):
        self.site.home.is_stopping = True
        self.site.connection.close(code)

    def happens(self, event):
        events = [name for each in self.site.handlers for name in each.events]
        self.events = events.index(event, self.events) + 1


@pytest.mark.parametrize("vector", vectors_for("server"), ids=lambda vector: vector["name"])
def test_an_exchange(vector):
    ServerParty(vector).run(steps_of(vector))
