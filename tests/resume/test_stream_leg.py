"""Legs over HTTP by themselves: polls that end, what is posted, and closes between two polls."""

import json
import tracemalloc

import pytest

from flask_wshandler.protocol.carrier import Carrier, Transport
from flask_wshandler.protocol.limits import Rate
from flask_wshandler.resume.endpoint import Return
from flask_wshandler.resume.postbox import Postbox, Posted
from flask_wshandler.resume.posts import Post

from .rig import Site, events_of, unchunked

POLL = Carrier(Transport.POLL, is_chunked=True)
STREAM = Carrier(Transport.STREAM)


@pytest.fixture
def site():
    return Site(resume_s=60.0)


def polled(site, received=0, tries=1):
    """A poll of the client that is there: what it is sent, and whether it has ended."""
    wire = site.connect(Return(site.connection.session, received, 0, tries), carrier=POLL)
    site.serve()
    data, has_ended = unchunked(wire.sent)
    return events_of(data)[1:], has_ended


def between_polls(site):
    site.connect(carrier=POLL)
    site.serve()
    assert not site.connection.is_away


def post(site, first, *entries):
    body = json.dumps(entries).encode()
    return site.resumables.post(Post(site.connection.session, None, first, body))


def test_each_kind_of_message_is_an_event(site):
    """Texts with line ends come out as they went in."""
    wire = site.connect(carrier=STREAM)
    site.serve()
    sent = ["a", "", "a\nb", "\n", "a\r\nb", b"\x00\xff"]
    for message in sent:
        assert site.connection.send(message)
    assert [each[1:] for each in events_of(wire.sent)[1:]] == sent


def test_what_is_posted_twice_is_taken_once(site):
    """Also in part; behind a gap nothing is taken."""
    site.connect(carrier=STREAM)
    site.serve()
    assert post(site, 1, "ma", "mb") is Posted.TAKEN
    assert post(site, 2, "mb", "mc") is Posted.TAKEN
    assert post(site, 1, "ma") is Posted.TAKEN
    assert post(site, 5, "me") is Posted.GAP
    site.serve()
    assert site.handler.taken == ["a", "b", "c"]


@pytest.mark.parametrize("carrier", [STREAM, POLL])
def test_the_client_closes(site, carrier):
    """And is answered by a close event."""
    wire = site.connect(carrier=carrier)
    if carrier is STREAM:
        site.serve()
    else:
        site.serve()
        wire = site.connect(Return(site.connection.session, 0, 0, 1), carrier=carrier)
        site.serve()
    wire.sent = b""
    assert post(site, 1, "ma", "c4001 bye") is Posted.TAKEN
    site.serve()
    data = wire.sent if carrier is STREAM else unchunked(wire.sent)[0]
    assert events_of(data)[-1] == [4001, ""]
    assert (site.handler.taken, site.handler.code) == (["a"], 4001)


def test_a_close_between_two_polls_is_told_by_the_next(site):
    """With what was sent before it; the last callback waits for that."""
    between_polls(site)
    site.connection.send("last")
    site.connection.close(4001, "bye")
    site.serve()
    assert not site.connection.is_open
    assert "on_close" not in site.handler.events
    assert polled(site) == (["mlast", [4001, "bye"]], True)
    assert (site.handler.events, site.handler.code) == (["on_open", "on_close"], 4001)


def test_a_close_that_no_poll_comes_for_ends_when_one_is_overdue(site):
    """The handler is not told that a client is away which it has closed."""
    between_polls(site)
    site.connection.close(4001, "bye")
    site.advance(21)
    assert (site.handler.events, site.handler.code) == (["on_open", "on_close"], 4001)
    assert site.home.away == set()


def test_a_poll_that_ends_as_the_process_does_is_followed_by_one_more(site):
    """Which is told the code: else its client knows nothing of what it lacks."""
    between_polls(site)
    wire = site.connect(Return(site.connection.session, 0, 0, 1), carrier=POLL)
    site.serve()
    site.home.is_stopping = True
    site.connection.send("one")
    site.serve()
    assert wire.is_over
    assert "on_close" not in site.handler.events
    site.connection.close_at_stop(1012)
    assert polled(site, received=1, tries=2) == ([[1012, ""]], True)
    assert site.handler.code == 1012


def test_a_poll_that_does_not_come_as_the_process_ends_is_not_waited_for(site):
    """The code of whoever has closed first counts."""
    between_polls(site)
    site.connection.close_at_stop(1012)
    site.connection.end_away(1001)
    site.serve()
    assert (site.handler.events[-1], site.handler.code) == ("on_close", 1012)


def test_a_page_that_goes_says_so_after_its_leg(site):
    """What it has posted with that is taken, and its code is the handler's."""
    wire = site.connect(carrier=STREAM)
    site.serve()
    wire.lose()
    site.serve()
    assert site.connection.is_away
    assert site.connection.post(1, ["mlate"]) is Posted.UNKNOWN
    assert site.connection.post(1, ["mone", "mtwo", "a0", "c1001 "]) is Posted.TAKEN
    site.serve()
    assert site.handler.taken == ["one", "two"]
    assert site.handler.events == ["on_open", "on_away", "on_message", "on_message", "on_close"]
    assert site.handler.code == 1001


def test_a_page_that_goes_between_two_polls(site):
    """The same, if the next poll does not come."""
    between_polls(site)
    assert site.connection.post(1, ["mone", "c1001 bye"]) is Posted.TAKEN
    site.serve()
    assert site.handler.events == ["on_open"]
    site.advance(2.1)
    assert site.handler.events == ["on_open", "on_message", "on_close"]
    assert site.handler.code == 1001


def test_a_client_that_closes_between_two_polls_polls_for_the_answer(site):
    """As a page does that stays."""
    between_polls(site)
    assert site.connection.post(1, ["mone", "c4001 bye"]) is Posted.TAKEN
    events, has_ended = polled(site)
    assert (events[-1], has_ended) == ([4001, ""], True)
    assert site.handler.events == ["on_open", "on_message", "on_close"]


def test_the_rate_is_the_clients_over_all_its_legs():
    """Each poll would begin with a burst of its own."""
    site = Site(message_rate=Rate(1, 3))
    between_polls(site)
    for number in range(1, 4):
        assert site.connection.post(number, [f"m{number}"]) is Posted.TAKEN
        polled(site, received=0, tries=number)
    assert site.connection.post(4, ["m4"]) is Posted.TAKEN
    events, _ = polled(site, received=0, tries=4)
    assert events[-1][0] == 1008


def test_a_client_at_rest_has_a_small_postbox():
    """Also when it has posted: under 200 bytes, of which a deque of its own would take 760."""

    def boxes(count):
        made = [Postbox(0, 1000) for _ in range(count)]
        for box in made:
            assert box.put(1, ["mx", "a1"]) is Posted.TAKEN
            box.remove_first()
            box.remove_first()
            assert box.put(2, []) is Posted.TAKEN
            assert box.first is None
        return made

    boxes(10)
    tracemalloc.start()
    made = boxes(1000)
    each = tracemalloc.get_traced_memory()[0] / len(made)
    tracemalloc.stop()
    assert each < 200
