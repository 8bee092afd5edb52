"""One client's fault, on sockets that fail as no system's do: the others get theirs."""

import socket
import struct

import pytest
from websockets.frames import Opcode

from flask_wshandler import WebSocketCollection, WebSocketHandler
from flask_wshandler.handlers.handler import end_handler, member_of, open_handler
from flask_wshandler.handlers.member import deliver_together
from flask_wshandler.protocol.frames import OutgoingMessage
from flask_wshandler.settings import Settings
from flask_wshandler.transports.engine import Engine
from tests.deadlines import DEADLINE_S

from .rig import FrameReader, Rig

GIVEN_UP = "a connection is given up"


class BreakingSocket(socket.socket):
    """Fails in a way that nobody expects of a socket."""

    def send(self, data, flags=0):
        raise ArithmeticError("a fault")


class Member:
    """A client, and the handler of its connection."""

    def __init__(self, rig, socket_class=socket.socket):
        peer, self.callbacks = rig.serve(None, socket_class=socket_class)
        self.reader = FrameReader(peer)
        self.handler = WebSocketHandler()
        open_handler(self.handler, self.callbacks.connection)

    def is_given_up(self):
        return self.callbacks.is_closed.wait(DEADLINE_S)


@pytest.fixture
def members(rig):
    return [Member(rig), Member(rig, BreakingSocket), Member(rig)]


@pytest.fixture
def clients(members):
    collection = WebSocketCollection()
    for member in members:
        collection.add(member.handler)
    return collection


def given_up(caplog):
    return [record for record in caplog.records if record.getMessage() == GIVEN_UP]


def test_a_members_fault_does_not_keep_a_broadcast_from_the_others(members, clients, caplog):
    """It is closed for it, and the log has it once, with its traceback."""
    for text in ("one", "two"):
        clients.broadcast(text)
    for member in (members[0], members[2]):
        assert [member.reader.read()[1] for _ in range(2)] == [b"one", b"two"]
    assert members[1].is_given_up()
    assert not members[1].handler.send("never")
    [record] = given_up(caplog)
    assert record.exc_info[0] is ArithmeticError


def test_a_members_fault_does_not_keep_the_others_open(members, clients):
    """`close_all`."""
    clients.close_all(4000)
    for member in (members[0], members[2]):
        assert member.reader.read()[0] is Opcode.CLOSE
    assert members[1].is_given_up()


def test_what_comes_together_concerns_one_client_each(members):
    """As a bus brings it."""
    for member in members:
        receiver = member_of(member.handler).receiver
        deliver_together(receiver, [OutgoingMessage("one"), OutgoingMessage("two")])
    for member in (members[0], members[2]):
        assert [member.reader.read()[1] for _ in range(2)] == [b"one", b"two"]
    assert members[1].is_given_up()


def test_what_is_held_back_fails_without_a_word_to_the_poller(members, caplog):
    """It is the poller, or its monitor, that lets go of it."""
    connection = members[1].callbacks.connection
    connection.is_corked = True
    connection.send("held back")
    connection.uncork()
    assert members[1].is_given_up()
    assert given_up(caplog)


def test_a_failed_membership_keeps_nobody_from_its_end(rig):
    """`on_open` and `on_close` follow whatever collections do."""
    member = Member(rig)

    class Failing:
        topic = "c:failing"

        def opened(self, member):
            raise ArithmeticError("a fault")

        discard = opened

    left = []

    class Leaving(Failing):
        def discard(self, member):
            left.append(member)

    handler = WebSocketHandler()
    for membership in (Failing(), Leaving()):
        member_of(handler).join(membership)
    open_handler(handler, member.callbacks.connection)
    assert member.reader.read() == (Opcode.CLOSE, struct.pack("!H", 1011))
    end_handler(handler)
    assert left == [member_of(handler)]


def test_a_fault_at_the_stop_concerns_one_client(clock):
    """The closes of the others go out, and the stop ends."""
    engine = Engine(Settings(drain_seconds=0.0, close_timeout=0.1), clock)
    rig = Rig("epoll", clock)
    rig.owner = engine
    served = [rig.serve(None, socket_class=each) for each in (BreakingSocket, socket.socket)]
    engine.stop()
    assert FrameReader(served[1][0]).read()[0] is Opcode.CLOSE
    for _, callbacks in served:
        assert callbacks.is_closed.wait(DEADLINE_S)
    rig.stop()
