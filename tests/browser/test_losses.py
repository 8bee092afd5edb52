"""Losses at random points of every exchange: nothing is lost, nothing comes twice."""

import queue
import random

import pytest

from flask_wshandler.resume.endpoint import Endpoint, Hello, parse_acknowledgement

from .peer import Closed

ROUNDS = 25
SESSION = "the-session"


class Server:
    """The other end, which has the package's own idea of the numbers."""

    def __init__(self, page, chance):
        self._page = page
        self._chance = chance
        self._endpoint = Endpoint()
        self._connection = None
        self._tries = 0
        self.sent = []
        self.taken = []

    def meet(self, how_far=4):
        """Take a network connection as far as its request, its 101, its hello, or all."""
        self._connection = self._page.come_back()
        if how_far > 0:
            self._connection.accept()
        if how_far > 1:
            self._connection.send(self._hello(*self._connection.offer[1:]).text())
        if how_far > 2:
            kept = list(self._endpoint)
            for message in kept[: None if how_far > 3 else len(kept) // 2]:
                self._connection.send("m" + message)
        if how_far < 4:
            self.lose()

    def _hello(self, returns=None):
        if returns is not None:
            kind, session, received, _, tries = returns.split(".")
            assert (kind, session) == ("r", SESSION)
            assert int(tries) > self._tries
            self._tries = int(tries)
            self._endpoint.acknowledge(int(received))
        return Hello(SESSION, self._endpoint.received, resumed=returns is not None, ping=20)

    def send(self, message):
        """Also while nobody is there."""
        self.sent.append(message)
        self._endpoint.keep(message)
        if self._connection is not None:
            self._connection.send("m" + message)

    def read(self, timeout_s=0.001):
        """What has come; acknowledge it now and then."""
        while self._connection is not None:
            try:
                message = self._connection.receive(timeout_s)
            except queue.Empty:
                return
            self._understand(message)

    def _understand(self, message):
        if isinstance(message, Closed):
            self._connection = None
        elif message[0] == "m":
            self.taken.append(message[1:])
            self._endpoint.take(len(message))
            if self._chance.random() < 0.3:
                self._connection.send(self._endpoint.tell())
        else:
            self._endpoint.acknowledge(parse_acknowledgement(message))

    def wait_until_left(self):
        """Read on to the close frame."""
        while self._connection is not None:
            self.read(timeout_s=1)

    def lose(self):
        """What has not been read is lost."""
        if self._connection is not None:
            self._connection.cut()
            self._connection = None


@pytest.mark.parametrize("seed", range(3))
def test_every_message_arrives_once_and_in_order(page, seed):
    """Whatever was under way when the connection was lost, which it may be again at once."""
    chance = random.Random(seed)
    server = Server(page, chance)
    page.open()
    server.meet()
    sent = []
    for _ in range(ROUNDS):
        for _ in range(chance.randrange(5)):
            sent.append(f"up {len(sent)}")
            assert page.send(sent[-1])
        for _ in range(chance.randrange(5)):
            server.send(f"down {len(server.sent)}")
        if chance.random() < 0.7:
            server.read()
        if chance.random() < 0.2:
            page.run("page.hide(); page.show()")
            server.wait_until_left()
            server.meet()
        elif chance.random() < 0.4:
            server.lose()
            while chance.random() < 0.5:
                server.meet(chance.randrange(3))
            server.meet()
    page.wait_until(lambda: server.read() or len(server.taken) >= len(sent))
    page.wait_until(lambda: len(page.taken) >= len(server.sent))
    assert server.taken == sent
    assert page.taken == server.sent
    assert page.events == ["open"]
