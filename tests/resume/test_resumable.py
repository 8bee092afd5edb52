"""What becomes of a client that is away: bounds, ends, and who may have its handler."""

import socket
import threading

import pytest
from websockets.frames import Opcode

from flask_wshandler.protocol.carrier import Carrier
from flask_wshandler.protocol.send_queue import QueueBudget
from flask_wshandler.resume.endpoint import Offer, Return
from flask_wshandler.resume.registry import Client, Resumables, Who
from flask_wshandler.settings import Settings
from flask_wshandler.transports.engine import Engine
from tests.deadlines import DEADLINE_S, wait_for

from .rig import WHO, RecordingHandler, Site, close, frame, frames_of


@pytest.fixture
def site():
    return Site(QueueBudget(10**6), resume_s=60.0, resume_buffer=1000)


def returning(site, received=0, acknowledged=0, tries=1):
    return Return(site.connection.session, received, acknowledged, tries)


def away(site):
    """A client that is lost."""
    wire = site.connect()
    site.serve()
    wire.lose()
    site.serve()
    assert site.home.away == {site.connection}
    return wire


def test_it_is_waited_for_no_longer_than_said(site):
    """Then its handler ends with 1006, and is counted once."""
    away(site)
    site.advance(59)
    assert site.handler.events == ["on_open", "on_away"]
    site.advance(2)
    assert site.handler.events == ["on_open", "on_away", "on_close"]
    assert (site.handler.code, site.home.ends, site.home.away) == (1006, [1006], set())
    assert site.resumables.leg_of(returning(site), WHO, Carrier()) is None


def test_a_return_stops_the_clock(site):
    """Another loss begins it anew."""
    away(site)
    site.advance(50)
    wire = site.connect(returning(site))
    site.serve()
    site.advance(50)
    wire.lose()
    site.serve()
    site.advance(50)
    assert "on_close" not in site.handler.events


def test_more_than_the_buffer_ends_it(site):
    """With 1013; what was kept costs nothing any more."""
    away(site)
    taken = [site.connection.send("x" * 100) for _ in range(10)]
    assert taken == [True] * 5 + [False] * 5
    site.serve()
    assert (site.handler.events[-1], site.handler.code) == ("on_close", 1013)
    assert site.budget.used_bytes == 0


def test_all_that_is_kept_counts_in_the_budget():
    """And is refused past it."""
    site = Site(QueueBudget(2000), resume_s=60.0, resume_buffer=10**6)
    away(site)
    assert site.connection.send("x" * 1000)
    assert 1000 < site.budget.used_bytes <= 2000
    assert not site.connection.send("x" * 1000)
    site.serve()
    assert (site.handler.code, site.budget.used_bytes) == (1013, 0)


def test_returns_that_acknowledge_nothing_begin_no_new_buffer():
    """Nobody makes the server keep more and more by coming and going."""
    site = Site(resume_s=60.0, resume_buffer=2**20, max_queue_size=2**20)
    wire = away(site)
    for tries in range(1, 40):
        while site.connection.is_away and site.connection.send("x" * 100_000):
            if site.connection.queued_bytes > 900_000:
                break
        site.serve()
        if "on_close" in site.handler.events:
            break
        wire = site.connect(returning(site, tries=tries), capacity=10**9)
        site.serve()
        wire.lose()
        site.serve()
    assert site.handler.code == 1013
    assert tries < 10


def test_it_can_be_closed_while_it_is_away(site):
    """By the app, with its own code; the next message is not taken."""
    away(site)
    site.connection.close(4001, "enough")
    assert not site.connection.is_open
    assert not site.connection.send("x")
    site.serve()
    assert (site.handler.events[-1], site.handler.code) == ("on_close", 4001)
    wire = site.connect(returning(site))
    site.serve()
    assert wire.messages()[0].startswith("h")
    assert len(site.handlers) == 2


def test_it_can_be_closed_when_it_is_lost():
    """In `on_away`."""
    site = Site(resume_s=60.0)
    wire = site.connect()
    site.serve()
    handler = site.handler
    handler.during = lambda: handler.events[-1] == "on_away" and handler.connection.close(4001)
    wire.lose()
    site.serve()
    assert handler.events == ["on_open", "on_away", "on_close"]
    assert handler.code == 4001


def test_a_lack_that_is_not_kept_ends_it(site):
    """The client can't go on; it has another handler, at once."""
    wire = site.connect()
    site.serve()
    site.connection.send("a")
    wire.receive(frame("a1"))
    site.serve()
    old = site.handler
    wire = site.connect(returning(site, received=0))
    site.serve()
    assert old.events == ["on_open", "on_close"]
    assert '"lost":true' in wire.messages()[0]


def test_a_lack_of_a_client_that_has_not_begun_ends_it():
    """Its first turn has not come yet."""
    site = Site(resume_s=60.0)
    site.connect()
    [handler] = site.handlers
    [connection] = site.resumables._living.values()
    assert site.resumables.leg_of(Return(connection.session, 5, 0, 1), WHO, Carrier()) is None
    site.serve()
    assert handler.events[-1] == "on_close"


@pytest.mark.parametrize(
    "who", [Who("/other", *WHO[1:]), Who("/ws", "app.Other", None), Who(*WHO[:2], "bob")]
)
def test_who_asks_for_something_else_does_not_get_it(site, who):
    """Nor does he disturb the one that has it."""
    wire = site.connect()
    site.serve()
    site.connect(returning(site), who=who)
    site.serve()
    assert len(site.handlers) == 2
    assert wire.leg.is_open


def test_whoever_waits_for_room_is_woken_by_the_loss():
    """A function's `send` goes on, into the buffer."""
    site = Site(resume_s=60.0, max_queue_size=1000, resume_buffer=10**5)
    wire = site.connect(capacity=300)
    site.serve()
    site.connection.send("x" * 2000)
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(site.connection.wait_until_writable(500))
    )
    waiting.start()
    wire.lose()
    site.serve()
    waiting.join(10)
    assert answers == [True]


def test_whoever_waits_for_room_is_woken_by_the_end():
    """There will be none."""
    site = Site(resume_s=60.0, resume_buffer=300)
    away(site)
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(site.connection.wait_until_writable(500))
    )
    waiting.start()
    site.advance(61)
    waiting.join(10)
    assert answers == [False]


def test_thousands_end_in_one_second():
    """Each has its timer, none a thread."""
    site = Site(resume_s=60.0)
    wires = [site.connect() for _ in range(2000)]
    for wire in wires:
        wire.serve()
        wire.lose()
        wire.serve()
    before = threading.active_count()
    assert len(site.home.away) == 2000
    site.home.timer.advance(61)
    site.home.run_turns()
    assert all(handler.events[-1] == "on_close" for handler in site.handlers)
    assert not site.home.away
    assert threading.active_count() == before


def test_a_stop_ends_whoever_is_lost_meanwhile(site):
    """At last nobody can come back to a process that ends."""
    wire = site.connect()
    site.serve()
    site.home.is_stopping = site.home.has_stopped_waiting = True
    wire.lose()
    site.serve()
    assert site.handler.events == ["on_open", "on_close"]
    assert site.home.ends == [1006]


def test_whoever_comes_back_at_once_is_told_of_a_stop(site):
    """Who was lost a moment ago; who was lost before is not waited for."""
    site.connect()
    site.serve()
    site.wires[0].lose()
    site.serve()
    session = returning(site)
    site.connection.close_at_stop(1012)
    site.serve()
    assert site.handler.events == ["on_open", "on_away"]
    wire = site.connect(session)
    site.serve()
    hello, code = wire.messages()
    assert hello[0] == "h"
    assert code == 1012
    wire.receive(close(1012))
    site.serve()
    assert site.handler.events == ["on_open", "on_away", "on_back", "on_close"]


def test_a_stop_waits_only_for_who_was_lost_just_now(site):
    """And for that one not for long."""
    for lost_for_s, left in ((1.0, "on_away"), (3.0, "on_close")):
        wire = site.connect()
        site.serve()
        wire.lose()
        site.serve()
        site.home.timer.advance(lost_for_s)
        site.connection.close_at_stop(1001)
        site.serve()
        assert site.handler.events[-1] == left
        site.connection.end_away(1001)
        site.serve()
        assert site.handler.events[-1] == "on_close"
        assert site.handler.code == 1001


def test_a_client_that_leaves_for_good_is_not_waited_for(site):
    """1000, 1001 and its own codes; 4000 says that it comes back."""
    for code in (1000, 1001, 4001):
        wire = site.connect()
        site.serve()
        wire.receive(close(code))
        site.serve()
        assert (site.handler.events[-1], site.handler.code) == ("on_close", code)
    wire = site.connect()
    site.serve()
    wire.receive(close(4000))
    site.serve()
    assert site.handler.events[-1] == "on_away"


def test_a_flood_of_probes_closes(site):
    """With 1008, as a flood of pings does."""
    wire = site.connect()
    site.serve()
    wire.receive(b"".join([frame("p")] * 1200))
    site.serve()
    assert 1008 in wire.messages()


@pytest.mark.parametrize(("size", "is_taken"), [(100, True), (101, False)])
@pytest.mark.parametrize("kind", [str, bytes])
def test_the_limit_is_that_of_the_applications_message(kind, size, is_taken):
    """Our prefix does not count."""
    site = Site(resume_s=60.0, max_message_size=100)
    wire = site.connect()
    site.serve()
    message = "x" * size if kind is str else b"x" * size
    wire.receive(frame(("m" if kind is str else b"m") + message))
    site.serve()
    assert (site.handler.taken == [message]) is is_taken
    assert (1009 in wire.messages()) is not is_taken


class Refusing(RecordingHandler):
    """One whose `on_message` raises."""

    def message_received(self, message):
        super().message_received(message)
        return 1011


@pytest.mark.parametrize("event", ["return", "loss"])
def test_a_callback_that_raises_ends_it_whatever_became_of_the_network(site, event):
    """The client may have come back meanwhile, or be lost."""
    site.make_handler = Refusing
    wire = site.connect()
    site.serve()
    session = returning(site)

    def happen():
        if site.handler.events[-1] == "on_message":
            site.connect(session) if event == "return" else wire.leg.abort()

    site.handler.during = happen
    wire.receive(frame("mx"))
    site.serve()
    assert site.handler.events[-1] == "on_close"
    assert site.handler.code == 1011
    assert event == "loss" or 1011 in site.wires[-1].messages()


def test_the_buffer_bounds_what_comes_before_the_loss_is_told(site):
    """A callback may run long after the network was lost, and others may send meanwhile."""
    wire = site.connect()
    site.serve()
    taken = []

    def send():
        if site.handler.events[-1] == "on_message":
            wire.lose()
            taken.extend(site.connection.send("x" * 100) for _ in range(10))

    site.handler.during = send
    wire.receive(frame("mx"))
    site.serve()
    assert taken == [True] * 5 + [False] * 5
    assert (site.handler.events[-1], site.handler.code) == ("on_close", 1013)
    assert site.budget.used_bytes == 0


def amid_a_write(wire, do):
    """Have `do` called when the server writes next, as a `__del__` or a signal handler is."""
    write = wire.write

    def write_once(data):
        wire.write = write
        do()
        return write(data)

    wire.write = write_once


def test_thousands_of_messages_amid_another(site):
    """They are behind it, in their order."""
    wire = site.connect()
    site.serve()
    wire.messages()
    sent = [str(number) for number in range(3000)]
    amid_a_write(wire, lambda: [site.connection.send(message) for message in sent])
    site.connection.send("first")
    assert wire.messages() == ["mfirst", *(f"m{message}" for message in sent)]


def test_a_send_that_is_interrupted_leaves_no_hole(site):
    """Nobody knows whether the message has gone, so the client is asked, by another leg."""
    wire = site.connect()
    site.serve()

    def interrupt():
        raise KeyboardInterrupt

    amid_a_write(wire, interrupt)
    with pytest.raises(KeyboardInterrupt):
        site.connection.send("one")
    site.connection.send("two")
    site.serve()
    assert site.handler.events[-1] == "on_away"
    wire = site.connect(returning(site))
    site.serve()
    assert wire.messages()[1:] == ["mone", "mtwo"]


def test_a_client_can_not_have_what_was_not_sent(site):
    """As a count beyond what was ever sent: it begins anew."""
    away(site)
    assert site.connection.send("x")
    wire = site.connect(returning(site, received=1))
    site.serve()
    assert '"lost":true' in wire.messages()[0]
    assert len(site.handlers) == 2


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_what_is_dropped_of_messages_that_were_put_off_has_no_number(policy):
    """A `__del__` sends amid a write of the leg, whose lock can't be had."""
    site = Site(resume_s=60.0, max_queue_size=300, queue_policy=policy)
    wire = site.connect(capacity=300)
    site.serve()
    connection = site.connection
    while not connection.queued_bytes:
        connection.send("x" * 100)
    amid_a_write(wire, lambda: [connection.send("y" * 100) for _ in range(5)])
    wire.take(1)
    site.serve()
    wire.take(10**6)
    site.serve()
    connection.send("last")
    messages = [message for message in wire.messages() if message[0] == "m"]
    assert connection.dropped_messages
    assert connection.sent_messages == len(messages)
    assert messages[-1] == "mlast"
    wire.lose()
    site.serve()
    wire = site.connect(returning(site))
    site.serve()
    assert wire.messages()[1:] == messages


def test_the_end_of_a_process_waits_for_who_has_just_come_back():
    """Its handler is away no more, and its socket is not served yet: it is told all the same."""
    engine = Engine(Settings(drain_seconds=0.0))
    resumables = Resumables(engine, None, "of a test")
    handler, client = RecordingHandler(), Client("0" * 16, WHO, None)
    leg = resumables.begin(handler, Site().limits, client, Offer((), None, {}), Carrier(), None)
    ours, theirs = socket.socketpair()
    engine.adopt_taken(theirs, leg, b"")
    wait_for(lambda: handler.connection, "handler")
    ours.close()
    wait_for(engine.away, "loss")
    returns = Return(handler.connection.session, 0, 0, 1)
    leg = resumables.leg_of(returns, WHO, Carrier())
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    stopping.join(0.1)
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    with ours:
        engine.adopt_taken(theirs, leg, b"")
        data = b""
        while b'"resumed":true' not in data or frames_of(data)[0][-1][0] is not Opcode.CLOSE:
            received = ours.recv(1000)
            assert received, data
            data += received
    stopping.join(DEADLINE_S)
    assert handler.events[-1] == "on_close"
