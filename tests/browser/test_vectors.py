"""The client against the test vectors: a real browser, and a server that does what they say.

A vector's server that answers no subprotocol is here one that answers another, which the page
offers as well: Chromium fails a connection that gets no answer to what it has offered.
"""

import json
from pathlib import Path

import pytest

from .peer import Closed

VECTORS = json.loads((Path(__file__).parents[1] / "resume" / "vectors.json").read_text())["vectors"]
#: What a page may not send, and sends instead.
CODE_ON_THE_WIRE = {1002: 4002}
PLAIN = "plain"


def is_the_clients(vector):
    return vector.get("for", "client") == "client"


class Run:
    """One vector's steps, for the client."""

    def __init__(self, vector, page, peer):
        self._vector = vector
        self._page = page
        self._peer = peer
        self._connection = None
        self._taken = []
        self._events = []

    def all(self):
        options = self._vector.get("options", {})
        subprotocols = [*options.get("subprotocols", ()), *([PLAIN] if self._meets_plain else ())]
        self._page.open(protocols=subprotocols, repeat=options.get("repeat", True))
        for step in steps_of(self._vector["steps"]):
            [(name, value)] = step.items()
            do = getattr(self, "_" + name.replace(" ", "_"), None)
            if do is not None:
                do(value)
        self._nothing_more()

    @property
    def _meets_plain(self):
        return {"answers": None} in self._vector["steps"]

    def _connects(self, offer):
        if self._connection is None:
            self._connection = self._peer.next()
        else:
            self._connection = self._page.come_back()
        offered = [each for each in self._connection.offer if each != PLAIN]
        self._compare(offered, [*map(with_tokens, offer)])

    def _compare(self, offered, expected):
        assert offered == expected

    def _answers(self, subprotocol):
        self._connection.accept(subprotocol or PLAIN)
        self._is_plain = subprotocol != "wshandler.1"
        if self._is_plain:
            self._page.wait_for_state("open")

    def _server(self, message):
        self._connection.send(message_of(message))
        if isinstance(message, str) and message.startswith("h{") and not self._is_plain:
            self._page.wait_for_state("open", "closed")

    def _client(self, message):
        assert self._connection.receive() == message_of(message)

    _client_unread = _client

    def _client_sends(self, message):
        assert self._page.send(said(message))

    def _client_takes(self, message):
        self._taken.append(said(message))
        self._page.wait_until(lambda: len(self._page.taken) >= len(self._taken))
        assert self._page.taken[: len(self._taken)] == self._taken

    def _cut(self, _):
        self._connection.cut()
        self._page.wait_for_state("waiting")

    def _server_closes(self, code):
        self._connection.close(code)
        self._page.wait_for_state("waiting", "closed")

    _server_closed = _server_closes

    def _client_closes(self, code):
        if code == 4000:
            self._page.run("page.hide()")
        else:
            self._page.close(code)
        assert self._connection.receive() == Closed(code)

    def _client_returns(self, _):
        self._page.run("page.show()")

    def _client_closed(self, code):
        assert self._connection.receive() == Closed(CODE_ON_THE_WIRE[code])
        assert self._page.run("page.closed.code") == code

    def _client_event(self, event):
        self._events.append({"closed": "close"}.get(event, event))
        self._page.wait_until(lambda: len(self._told) >= len(self._events))

    def _passes_s(self, seconds):
        self._page.passes_s(seconds)

    @property
    def _told(self):
        return [event for event in self._page.events if event != "open"]

    def _nothing_more(self):
        if self._page.get("state") == "open" and not self._is_plain:
            self._connection.send("p")
            assert self._connection.receive()[0] == "a"
        assert self._page.taken == self._taken
        assert self._told == self._events


def steps_of(steps):
    """All of them, each as often as it is repeated."""
    for step in steps:
        if "repeat" in step:
            for _ in range(step["repeat"]):
                yield from steps_of(step["steps"])
        else:
            yield step


def with_tokens(text):
    """With a token for SESSION, and another for SESSION2."""
    return text.replace("SESSION", "the-session")


def message_of(step):
    """What is on the wire."""
    if isinstance(step, str):
        return with_tokens(step)
    if "hex" in step:
        return bytes.fromhex(step["hex"])
    return step.get("head", "") + step["of"] * step["times"]


def said(step):
    """What the application of the page says and takes: a text, or {"hex": …}."""
    return step if isinstance(step, dict) and "hex" in step else message_of(step)


@pytest.mark.parametrize(
    "vector", [*filter(is_the_clients, VECTORS)], ids=lambda vector: vector["name"]
)
def test_speaks_as_the_vector_says(vector, page, peer):
    """Each says why."""
    Run(vector, page, peer).all()
