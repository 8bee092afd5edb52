"""Client and server over a network that drops, cuts, doubles and reorders, and two plain lists."""

import json
import random

import pytest

from flask_wshandler.resume.endpoint import Endpoint, Return, parse_acknowledgement

from .rig import Site, frame, frames_of

_RUNS = 300
_STEPS = 250


class ModelClient:
    """The least that a client is: it counts, keeps, and says so."""

    def __init__(self):
        self.endpoint = Endpoint()
        self.taken = []
        self.session = None
        self.tries = 0
        self.line = None
        self.places = {}
        self.has_been_reset = False

    def returns(self):
        self.tries += 1
        if self.session is None:
            return None
        counts = self.endpoint.received, self.endpoint.acknowledged
        return Return(self.session, *counts, self.tries)

    def send(self, message):
        self.endpoint.keep(message)
        if self.line is not None and self.line.has_hello:
            self.line.to_server += frame("m" + message)

    def take(self, line, message):
        if message[0] == "h":
            self._take_hello(line, json.loads(message[1:]))
        elif message[0] == "m":
            self.taken.append(message[1:])
            if self.endpoint.take(1):
                self.say(line, self.endpoint.tell())
        elif message[0] == "a":
            self.endpoint.acknowledge(parse_acknowledgement(message))
        else:
            assert message == "p"
            self.say(line, self.endpoint.tell())

    def say(self, line, text):
        line.to_server += frame(text)

    def _take_hello(self, line, hello):
        self.has_been_reset = self.has_been_reset or (
            self.session is not None and not hello["resumed"]
        )
        self.session = hello["session"]
        line.has_hello = True
        self.endpoint.acknowledge(hello["received"])
        for message in self.endpoint:
            line.to_server += frame("m" + message)


class Line:
    """One network connection, with the bytes that are on their way."""

    def __init__(self, returns, places):
        self.returns = returns
        self.places = places
        self.wire = None
        self.to_server = b""
        self.to_client = b""
        self.has_hello = False
        self.is_cut = False


class Model:
    """What can happen, each thing at any time, also while a callback runs."""

    make_client = ModelClient

    def __init__(self, seed, **settings):
        self.random = random.Random(seed)
        self.site = Site(**settings)
        self.client = self.make_client()
        self.lines = []
        self.sent_by_client = []
        self.count = 0
        self.depth = 0
        original = self.site.make_handler

        def make_handler():
            handler = original()
            handler.during = self.during
            handler.sent = []
            handler.refused = 0
            return handler

        self.site.make_handler = make_handler
        self.connect()

    def during(self):
        """A callback takes its time: other threads go on meanwhile."""
        if self.depth < 3:
            self.depth += 1
            for _ in range(self.random.randrange(4)):
                self.step()
            self.depth -= 1

    def step(self):
        self.random.choice(self.steps())()

    def steps(self):
        """What may happen next, each as often as it is likely."""
        return (
            (self.connect,)
            + (self.cut,) * 2
            + (self.arrive,) * 4
            + (self.client_sends,) * 6
            + (self.server_sends,) * 6
            + (self.up,) * 12
            + (self.down,) * 12
            + (self.turn,) * 12
            + (self.time,) * 2
        )

    def connect(self):
        """The client tries, whatever became of its last try."""
        line = self.client.line = Line(self.client.returns(), dict(self.client.places))
        self.lines.append(line)

    def arrive(self):
        """One of the handshakes reaches the server: not the first to leave, perhaps."""
        waiting = [line for line in self.lines if line.wire is None]
        if waiting:
            line = self.random.choice(waiting)
            capacity = self.random.choice((None, 10, 200))
            line.wire = self.site.connect(line.returns, capacity=capacity, places=line.places)

    def cut(self):
        """The network loses it, with the bytes on their way; only one end knows, perhaps."""
        line = self.random.choice(self.lines)
        line.is_cut = True
        line.to_server = line.to_client = b""
        if line.wire is not None and self.random.random() < 0.5:
            line.wire.lose()
        if line is self.client.line and self.random.random() < 0.8:
            self.connect()

    def client_sends(self):
        message = f"c{len(self.sent_by_client)}"
        self.sent_by_client.append(message)
        self.client.send(message)

    def server_sends(self):
        for handler in self.site.handlers:
            for _ in range(self.random.choice((1, 1, 1, 12)) * (handler.connection is not None)):
                message = f"s{self.count}"
                self.count += 1
                if handler.connection.send(message):
                    handler.sent.append(message)
                else:
                    handler.refused += 1

    def up(self):
        line = self.random.choice(self.lines)
        if line.wire is not None and line.to_server and not line.is_cut:
            size = self.random.randrange(1, len(line.to_server) + 1)
            line.wire.receive(line.to_server[:size])
            line.to_server = line.to_server[size:]

    def down(self):
        line = self.random.choice(self.lines)
        if line.wire is None or line.is_cut:
            return
        line.to_client += line.wire.sent
        line.wire.sent = b""
        if line.wire._capacity is not None:
            line.wire.take(100)
        found, line.to_client = frames_of(line.to_client)
        for opcode, payload in found:
            if opcode == 1 and line is self.client.line:
                self.client.take(line, payload.decode())

    def turn(self):
        self.random.choice(self.site.wires).serve() if self.site.wires else None
        self.site.home.run_turns()

    def time(self):
        self.site.home.timer.advance(self.random.choice((0.2, 1.0)))

    def settle(self):
        """At last the network holds."""
        self.depth = 3
        for line in self.lines:
            line.is_cut = True
            if line.wire is not None:
                line.wire.lose()
        self.connect()
        line = self.client.line
        line.wire = self.site.connect(line.returns, places=line.places)
        self.lines = [line]
        self.hold()

    def hold(self):
        """The network does, for a while."""
        for _ in range(50):
            self.site.serve()
            self.up()
            self.down()
            self.site.home.timer.advance(1.0)

    @property
    def handler(self):
        """The one that the client has come back to."""
        sessions = {each.connection.session: each for each in self.handlers_that_opened()}
        return sessions[self.client.session]

    def handlers_that_opened(self):
        return [each for each in self.site.handlers if each.connection is not None]


def played(seed, make_model=Model, **settings):
    model = make_model(seed, resume_s=10_000.0, **settings)
    for _ in range(_STEPS):
        model.step()
    model.settle()
    return model


@pytest.mark.parametrize("seed", range(_RUNS))
def test_nothing_is_lost_nor_doubled_nor_swapped(seed):
    model = played(seed)
    assert not model.client.has_been_reset
    assert model.handler.taken == model.sent_by_client
    assert model.client.taken == model.handler.sent
    assert "on_close" not in model.handler.events


@pytest.mark.parametrize("seed", range(_RUNS // 3))
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_what_is_dropped_is_all_that_is_missing(policy, seed):
    """Messages that are dropped have had no number."""
    model = played(seed, max_queue_size=40, resume_buffer=250, queue_policy=policy)
    sent = iter(model.handler.sent)
    assert all(message in sent for message in model.client.taken)
    missing = len(model.handler.sent) - len(model.client.taken)
    assert model.handler.connection.dropped_messages == missing + model.handler.refused
    assert policy == "drop_oldest" or not missing
    assert model.handler.taken == model.sent_by_client
    assert model.handler.connection.sent_messages == len(model.client.taken)
