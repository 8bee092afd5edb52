"""The client against the test vectors, where no WebSocket gets through."""

import re

import pytest

from .http_peer import AWAY, HttpPeer
from .peer import Closed
from .test_vectors import CODE_ON_THE_WIRE, VECTORS, Run, is_the_clients

STEP_S = 4
RETURN = re.compile(r"[rn]\..*(?=\.)")


@pytest.fixture(scope="module")
def module_peer():
    with HttpPeer() as running:
        yield running


class FallbackRun(Run):
    """Over a stream. There may be more tries, by WebSocket."""

    _tries = -1

    def _compare(self, offered, expected):
        super()._compare([*map(without_tries, offered)], [*map(without_tries, expected)])
        for each in filter(RETURN.match, offered):
            tries = int(each.rpartition(".")[2])
            assert tries > self._tries
            self._tries = tries

    def _passes_s(self, seconds):
        # A post, which takes time that the page's clock does not know, is given 20 s by that.
        while seconds > 0:
            super()._passes_s(min(seconds, STEP_S))
            self._page.run("fetch('/page.html').then((response) => response.text())")
            seconds -= STEP_S

    def _client_closed(self, code):
        # Before a hello there is nothing that could be posted to.
        ends = (Closed(CODE_ON_THE_WIRE[code]), Closed(AWAY))
        assert self._connection.receive() in ends
        assert self._page.run("page.closed.code") == code


def without_tries(token):
    """The token, if it is no return."""
    found = RETURN.match(token)
    return found[0] if found else token


def meets_no_plain_server(vector):
    """Such a one answers no request for a stream."""
    answers = [step["answers"] for step in vector["steps"] if "answers" in step]
    return {*answers} == {"wshandler.1"}


@pytest.mark.parametrize(
    "vector",
    [each for each in VECTORS if is_the_clients(each) and meets_no_plain_server(each)],
    ids=lambda vector: vector["name"],
)
def test_speaks_as_the_vector_says(vector, page, peer):
    """Each says why."""
    FallbackRun(vector, page, peer).all()
