"""The model of `test_model`, of a client that speaks over any transport, and posts over HTTP."""

import collections
import json

import pytest

from flask_wshandler.protocol.carrier import Carrier, Transport
from flask_wshandler.protocol.limits import Rate, RatePolicy
from flask_wshandler.resume.postbox import Posted
from flask_wshandler.resume.posts import Post

from .rig import events_of, frame, unchunked
from .test_model import Model, ModelClient, played

_RUNS = 300
_CARRIERS = [
    Carrier(),
    Carrier(Transport.STREAM),
    Carrier(Transport.STREAM, is_chunked=True),
    Carrier(Transport.POLL),
    Carrier(Transport.POLL, is_chunked=True),
]


class AnyClient(ModelClient):
    """One that posts what it can't say on its line."""

    def __init__(self):
        super().__init__()
        self.notes = []
        self.posted = 0

    def send(self, message):
        if self.line.is_websocket:
            super().send(message)
        else:
            self.endpoint.keep(message)

    def say(self, line, text):
        if line.is_websocket:
            line.to_server += frame(text)
        else:
            self.notes.append(text)

    def _take_hello(self, line, hello):
        super()._take_hello(line, hello)
        self.posted = hello["received"]

    def next_post(self):
        """What it has not posted yet; None if that is nothing."""
        unposted = list(self.endpoint)[self.posted - self.endpoint.acknowledged :]
        if not unposted and not self.notes:
            return None
        entries = ["m" + message for message in unposted] + self.notes
        self.notes = []
        return Post(self.session, None, self.posted + 1, json.dumps(entries).encode())


class AnyModel(Model):
    """With posts that are lost, late and doubled, and polls of which each is cut or held back."""

    make_client = AnyClient

    def __init__(self, seed, **settings):
        self.posts = []
        #: Which is repeated until it is answered.
        self.unanswered = None
        super().__init__(seed, **settings)
        make_handler = self.site.make_handler
        self.outcomes = collections.Counter()

        def watched():
            handler = make_handler()
            original = handler.went_away

            def went_away():
                assert handler.connection.is_away or handler.connection not in self.site.home.away
                return original()

            handler.went_away = went_away
            return handler

        self.site.make_handler = watched

    def steps(self):
        return super().steps() + (self.post,) * 6 + (self.post_arrives,) * 8 + (self.wait,)

    def connect(self):
        super().connect()
        line = self.client.line
        line.carrier = self.random.choice(_CARRIERS)
        line.is_websocket = line.carrier.transport is Transport.WEBSOCKET
        line.is_held_back = not line.is_websocket and self.random.random() < 0.3
        line.heard = 0
        line.body = b""
        self.unanswered = None

    def arrive(self):
        waiting = [line for line in self.lines if line.wire is None]
        if waiting:
            self._arrive(self.random.choice(waiting), self.random.choice((None, 10, 200)))

    def _arrive(self, line, capacity=None):
        line.wire = self.site.connect(
            line.returns, capacity=capacity, places=line.places, carrier=line.carrier
        )

    def down(self):
        line = self.random.choice(self.lines)
        if line.wire is None or line.is_cut:
            return
        if line.is_websocket:
            line.to_client += line.wire.sent
            line.wire.sent = b""
            self._take_frames(line)
        else:
            self._take_events(line)

    def _take_frames(self, line):
        self.lines, lines = [line], self.lines
        super().down()
        self.lines = lines

    def _take_events(self, line):
        wire = line.wire
        if wire._capacity is not None:
            wire.take(100)
        is_poll = line.carrier.transport is Transport.POLL
        if is_poll and line.is_held_back and not wire.is_over:
            return
        size = self.random.randrange(len(wire.sent) + 1)
        line.body, wire.sent = line.body + wire.sent[:size], wire.sent[size:]
        data = unchunked(line.body)[0] if line.carrier.is_chunked else line.body
        events = events_of(data)
        for event in events[line.heard :]:
            line.heard += 1
            if line is self.client.line and isinstance(event, str):
                self.client.take(line, event)
        if wire.is_over and not wire.sent and line is self.client.line:
            self.connect()

    def post(self):
        """Once more, if the last one has not been answered."""
        client = self.client
        if client.line.is_websocket or not client.line.has_hello:
            return
        if self.unanswered is None:
            self.unanswered = client.next_post()
        if self.unanswered is not None and len(self.posts) < 20:
            self.posts.append(self.unanswered)

    def post_arrives(self):
        """In any order, any number of times, or never; its answer may be lost."""
        if not self.posts:
            return
        index = self.random.randrange(len(self.posts))
        what = self.random.random()
        post = self.posts[index] if what < 0.2 else self.posts.pop(index)
        if what > 0.9:
            return
        posted = self.site.resumables.post(post)
        self.outcomes[posted] += 1
        assert posted in (Posted.TAKEN, Posted.UNKNOWN, Posted.GAP, Posted.FULL)
        if post is not self.unanswered or self.random.random() < 0.2:
            return
        if posted is Posted.TAKEN:
            self.unanswered = None
            count = sum(each[:1] == "m" for each in json.loads(post.body))
            self.client.posted = max(self.client.posted, post.first + count - 1)
        elif posted is not Posted.FULL:
            self.connect()

    def wait(self):
        """More than the time between two polls, sometimes."""
        self.site.home.timer.advance(self.random.choice((3.0, 15.0, 45.0)))

    def settle(self):
        self.depth = 3
        for line in self.lines:
            line.is_cut = True
            if line.wire is not None:
                line.wire.lose()
        self.posts = []
        self.connect()
        self.hold()

    def hold(self):
        for _ in range(60):
            line = self.client.line
            self.lines = [line]
            if line.wire is None:
                self._arrive(line)
            self.site.serve()
            self.up()
            self.site.serve()
            self.down()
            self.post()
            self.post_arrives()
            self.site.serve()
            self.site.home.timer.advance(1.0)


@pytest.mark.parametrize("seed", range(_RUNS))
def test_nothing_is_lost_nor_doubled_nor_swapped(seed):
    model = played(seed, AnyModel)
    assert not model.client.has_been_reset
    assert model.handler.taken == model.sent_by_client
    assert model.client.taken == model.handler.sent
    assert "on_close" not in model.handler.events


@pytest.mark.parametrize("seed", range(_RUNS // 5))
def test_who_sends_too_fast_is_held_up(seed):
    """And loses nothing by that; nor by a postbox that is full, whose bound is small here."""
    rate = {"message_rate": Rate(5, 10), "message_rate_policy": RatePolicy.SLOW_DOWN}
    model = played(seed, AnyModel, max_message_size=500, **rate)
    assert model.handler.taken == model.sent_by_client
    assert model.client.taken == model.handler.sent


@pytest.mark.parametrize("seed", range(_RUNS // 5))
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_what_is_dropped_is_all_that_is_missing(policy, seed):
    """Messages that are dropped have had no number."""
    limits = {"max_queue_size": 40, "resume_buffer": 250, "queue_policy": policy}
    model = played(seed, AnyModel, **limits)
    sent = iter(model.handler.sent)
    assert all(message in sent for message in model.client.taken)
    missing = len(model.handler.sent) - len(model.client.taken)
    assert model.handler.connection.dropped_messages == missing + model.handler.refused
    assert model.handler.taken == model.sent_by_client


def test_the_model_has_what_it_is_for():
    """Posts that are taken, refused and put off, and clients that are away."""
    models = [played(seed, AnyModel, max_message_size=500) for seed in range(30)]
    outcomes = sum([model.outcomes for model in models], collections.Counter())
    assert {Posted.TAKEN, Posted.UNKNOWN, Posted.FULL} <= outcomes.keys()
    assert sum("on_away" in model.handler.events for model in models) > 5
