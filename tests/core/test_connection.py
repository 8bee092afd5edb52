"""Connections on real sockets, with both ways of serving."""

import errno
import hashlib
import os
import socket
import struct
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from flask_wshandler.protocol.connection import Connection
from flask_wshandler.protocol.frames import OutgoingMessage
from flask_wshandler.protocol.send_queue import QueueBudget
from flask_wshandler.settings import Settings, limits_of
from flask_wshandler.transports.channel import READABLE
from tests.deadlines import DEADLINE_S, wait_for
from tests.fuzz.drive import Driver, MemoryTransport

from .rig import (
    FrameReader,
    ManualClock,
    Recording,
    Rig,
    client_settings,
    echo,
    frame,
    is_readable,
    text,
)


def close(code=1000):
    return frame(Opcode.CLOSE, struct.pack("!H", code))


def test_what_one_read_brings_is_answered_with_one_write(rig):
    """Ten messages, ten answers, one segment."""
    peer, callbacks = rig.serve()
    peer.sendall(b"".join(text(str(number)) for number in range(10)))
    wait_for(lambda: len(callbacks.messages) == 10)
    wait_for(lambda: is_readable(peer))
    if rig.kind == "epoll":
        assert peer.recv(1000) == b"".join(b"\x81\x01%d" % number for number in range(10))


def test_what_is_sent_before_a_long_callback_goes_out_meanwhile(rig):
    """Nobody waits for the end of the batch that a message came in."""
    if rig.kind == "blocking":
        return  # nobody watches over a thread that serves one client
    is_seen = threading.Event()

    def answer(connection, message):
        connection.send(message)
        if message == "first":
            assert is_seen.wait(DEADLINE_S)

    peer, callbacks = rig.serve(answer)
    peer.sendall(text("first") + text("second"))
    assert FrameReader(peer).read() == (Opcode.TEXT, b"first")
    is_seen.set()
    wait_for(lambda: len(callbacks.messages) == 2)


def test_an_answer_that_is_held_back_goes_out_before_the_end_of_the_stream():
    """Who has nothing more to say may still be reading."""
    driver = Driver()
    driver.cork()
    driver.receive(text("x"))
    assert not driver.transport.written
    driver.connection.receive_eof()
    assert driver.transport.written == b"\x81\x01x"


@pytest.mark.parametrize("capacities", [[], [2], [3, 2]])
def test_who_is_seen_uncorked_has_written_all_that_is_taken(capacities):
    """For who looks without the lock whether a client has been sent everything."""
    seen = []

    class Looked(MemoryTransport):
        def write(self, data):
            seen.append(connection.is_corked)
            return super().write(data)

    connection = Connection(Recording(), limits_of(object(), Settings()))
    connection.attach(Looked(capacities))
    connection.open()
    connection.is_corked = True
    connection.send("hi")
    connection.uncork()
    assert set(seen) == {True}
    assert not connection.is_corked


def test_threads_that_send_at_once_mix_no_frames(rig):
    """Each thread's messages arrive whole and in its order."""
    peer, callbacks = rig.serve(max_queue_size=2**27)

    def send(name):
        for number in range(100):
            assert callbacks.connection.send(f"{name} {number} " + "x" * 5000)

    threads = [threading.Thread(target=send, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    reader = FrameReader(peer)
    seen = {str(name): 0 for name in range(8)}
    for _ in range(800):
        opcode, payload = reader.read()
        name, number, rest = payload.decode().split(" ")
        assert (opcode, int(number), rest) == (Opcode.TEXT, seen[name], "x" * 5000)
        seen[name] += 1
    for thread in threads:
        thread.join()


def test_large_amounts_through_small_buffers_arrive_intact(rig):
    """Partial writes: 20 MB in messages of all sizes, with a slow reader."""
    peer, callbacks = rig.serve(None, receive_buffer=10_000, max_queue_size=2**26)
    sizes = [(number * 7919) % 60_000 for number in range(700)]
    messages = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    wanted, got = hashlib.sha256(), hashlib.sha256()
    for message in messages:
        assert callbacks.connection.send(message)
        wanted.update(message)
    reader = FrameReader(peer)
    for _ in messages:
        got.update(reader.read()[1])
    assert got.digest() == wanted.digest()
    wait_for(lambda: callbacks.connection.queued_bytes == 0)


def starved_socket_class(is_fed):
    """Sockets that the kernel has no memory for until `is_fed`, an event, is set."""

    class StarvedSocket(socket.socket):
        def send(self, data):
            if not is_fed.is_set():
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            return super().send(data)

        def recv(self, size):
            if not is_fed.is_set():
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            return super().recv(size)

    return StarvedSocket


def test_a_kernel_without_memory_delays_and_loses_nothing(rig, clock):
    """It does not tell when it has some again, so another try comes after a tenth of a second."""
    is_fed = threading.Event()
    peer, callbacks = rig.serve(socket_class=starved_socket_class(is_fed))
    for number in range(3):
        assert callbacks.connection.send(f"message {number}")
    peer.sendall(text("and back"))
    for _ in range(5):
        clock.advance(0.2)
    assert callbacks.connection.is_open
    assert not is_readable(peer)
    is_fed.set()
    reader = FrameReader(peer)
    wait_for(lambda: clock.advance(0.1) or callbacks.messages, "message")
    for expected in ("message 0", "message 1", "message 2", "and back"):
        assert reader.read() == (Opcode.TEXT, expected.encode())


def test_a_message_larger_than_the_bound_is_sent_alone(rig):
    """Else it never could be."""
    peer, callbacks = rig.serve(max_queue_size=1000)
    assert callbacks.connection.send(bytes(5_000_000))
    assert FrameReader(peer).read() == (Opcode.BINARY, bytes(5_000_000))


def test_past_the_bound_the_client_is_closed(rig):
    """1013, after the frames that were begun."""
    peer, callbacks = rig.serve(max_queue_size=100_000)
    connection = callbacks.connection
    sent = 0
    while connection.send(bytes(50_000)):
        sent += 1
        assert connection.queued_bytes <= 100_000 + 50_010
    assert not connection.is_open
    assert connection.dropped_messages >= 1
    reader = FrameReader(peer)
    while (found := reader.read())[0] is Opcode.BINARY:
        assert found[1] == bytes(50_000)
    assert found[0] is Opcode.CLOSE
    assert found[1][:2] == struct.pack("!H", 1013)


def test_many_small_messages_are_bounded_too(rig):
    """A queued frame takes memory beside its bytes."""
    _peer, callbacks = rig.serve(receive_buffer=5000, max_queue_size=100_000)
    connection = callbacks.connection
    sent = 0
    while connection.send("x"):
        sent += 1
        assert sent < 20_000
    assert callbacks.connection.close_code == 1013


def test_who_sends_pings_and_reads_nothing_gets_no_more_than_fits(rig):
    """The pongs are bounded like messages, and the connection stays."""
    peer, callbacks = rig.serve(receive_buffer=5000, max_queue_size=10_000)
    ping = frame(Opcode.PING, bytes(125))
    for _ in range(9):
        peer.sendall(ping * 100)
        assert callbacks.connection.queued_bytes <= 10_000
    assert callbacks.connection.is_open


def test_a_flood_of_pings_or_pongs_is_closed(rig, clock):
    """A thousand at once and a hundred a second are all right; then 1008."""
    for opcode in (Opcode.PING, Opcode.PONG):
        peer, callbacks = rig.serve()
        connection = callbacks.connection
        peer.sendall(frame(opcode) * 900 + text("one"))
        wait_for(lambda callbacks=callbacks: callbacks.messages == ["one"])
        clock.advance(5)
        peer.sendall(frame(opcode) * 500 + text("two"))
        wait_for(lambda callbacks=callbacks: callbacks.messages == ["one", "two"])
        peer.sendall(frame(opcode) * 1000 + text("three"))
        wait_for(lambda connection=connection: not connection.is_open)
        assert connection.close_code == 1008
        assert callbacks.messages == ["one", "two"]


def test_a_pong_that_was_asked_for_does_not_count(rig, clock):
    """Else a client would be closed after years."""
    peer, callbacks = rig.serve(ping_interval=10, ping_timeout=10)
    reader = FrameReader(peer)
    for number in range(20):
        clock.advance(10)
        assert reader.read()[0] is Opcode.PING
        peer.sendall(frame(Opcode.PONG) + text(str(number)))
        assert reader.read() == (Opcode.TEXT, str(number).encode())
    assert callbacks.connection._controls is None


def test_drop_newest_keeps_what_is_queued(rig):
    """`send` says that the message is not sent, and the connection stays."""
    peer, callbacks = rig.serve(max_queue_size=100_000, queue_policy="drop_newest")
    connection = callbacks.connection
    sent = []
    for number in range(200):
        if connection.send(b"%05d" % number + bytes(20_000)):
            sent.append(number)
    assert connection.dropped_messages == 200 - len(sent) > 0
    reader = FrameReader(peer)
    assert [int(reader.read()[1][:5]) for _ in sent] == sent
    assert connection.send("after")
    assert reader.read() == (Opcode.TEXT, b"after")


def test_all_queues_together_are_bounded(rig):
    """Whoever is sent a message and has a queue then is closed; who reads gets all."""
    budget = QueueBudget(500_000)
    slow = [rig.serve(receive_buffer=5000, budget=budget) for _ in range(5)]
    peer, callbacks = rig.serve(budget=budget)
    reader = FrameReader(peer)
    for number in range(40):
        for _, each in slow:
            each.connection.send(bytes(20_000))
            assert budget.used_bytes <= 500_000 + 20_010
        assert callbacks.connection.send(str(number))
        assert reader.read() == (Opcode.TEXT, str(number).encode())
    assert {each.connection.close_code for _, each in slow} <= {None, 1013}
    assert any(each.connection.close_code == 1013 for _, each in slow)
    for slow_peer, each in slow:
        slow_peer.close()
        wait_for(each.is_closed.is_set)
    wait_for(lambda: budget.used_bytes == 0)


def test_too_many_messages_close(rig, clock):
    """A burst of 10, then 5 a second; past it 1008."""
    peer, callbacks = rig.serve(message_rate=(5, 10))
    peer.sendall(b"".join(text(str(number)) for number in range(10)))
    wait_for(lambda: len(callbacks.messages) == 10)
    clock.advance(1)
    peer.sendall(b"".join(text(str(number)) for number in range(10, 16)))
    connection = callbacks.connection
    wait_for(lambda: not connection.is_open)
    assert callbacks.messages == [str(number) for number in range(15)]
    assert (connection.close_code, connection.close_reason) == (1008, "over 5 messages a second")


def test_too_many_messages_may_be_slowed_down_instead(rig, clock):
    """Nothing is read for as long as it is too early; nothing is lost."""
    peer, callbacks = rig.serve(message_rate=(10, 10), message_rate_policy="slow_down")
    peer.sendall(b"".join(text(str(number)) for number in range(30)))
    wait_for(lambda: len(callbacks.messages) == 30)  # they came with one read
    connection = callbacks.connection
    wait_for(lambda: not connection.wants_data)
    peer.sendall(text("later"))
    clock.advance(1.5)
    assert len(callbacks.messages) == 30
    assert connection.is_open
    clock.advance(0.7)
    wait_for(lambda: callbacks.messages[-1] == "later")


def test_the_session_is_checked_at_an_interval(rig, clock):
    """A callback like the others; the code that it returns closes."""
    peer, callbacks = rig.serve(recheck_session_s=10)
    for count in (1, 2):
        clock.advance(10.1)
        wait_for(lambda count=count: callbacks.events.count(("checked",)) == count)
    peer.sendall(text("still here"))
    wait_for(lambda: callbacks.messages == ["still here"])
    callbacks.verdict = 4401
    clock.advance(10.1)
    wait_for(lambda: not callbacks.connection.is_open)
    assert callbacks.connection.close_code == 4401


def test_who_is_held_up_is_not_taken_for_dead(rig, clock):
    """Its pong stands among what is not read."""
    peer, callbacks = rig.serve(ping_interval=1, ping_timeout=1)
    connection = callbacks.connection
    connection.pause()
    clock.advance(1.2)
    assert FrameReader(peer).read()[0] is Opcode.PING
    peer.sendall(frame(Opcode.PONG))
    marker = ManualTarget()
    for _ in range(5):
        clock.advance(1.2)
        marker.wait_for_turn(rig.timer)
    assert connection.is_open
    connection.resume()
    peer.sendall(text("here"))
    wait_for(lambda: callbacks.messages == ["here"])


class ManualTarget:
    """Knows when the timer has done all that was due."""

    def __init__(self):
        self.due_tick = None
        self._came = threading.Event()

    def on_time(self, now_s):
        self._came.set()

    def wait_for_turn(self, timer):
        self._came.clear()
        timer.wake(self, 0)
        timer.clock.advance(0.1)
        assert self._came.wait(DEADLINE_S)


def test_drop_oldest_keeps_the_newest(rig):
    """The frame that is begun stays whole."""
    peer, callbacks = rig.serve(max_queue_size=100_000, queue_policy="drop_oldest")
    connection = callbacks.connection
    total = 200
    for number in range(total):
        assert connection.send(b"%05d" % number + bytes(20_000))
        assert connection.queued_bytes < 200_000
    dropped = connection.dropped_messages
    reader = FrameReader(peer)
    seen = [int(reader.read()[1][:5]) for _ in range(total - dropped)]
    assert dropped > 0
    assert seen == sorted(seen)
    assert seen[-1] == total - 1


@pytest.mark.parametrize(
    "code, reason, error",
    [
        (4000.0, "", "code is an int, not 4000.0"),
        ("4000", "", "code is an int, not '4000'"),
        (4000, None, "reason is a str, not None"),
        (4000, b"bye", "reason is a str, not b'bye'"),
        (1005, "", "1005"),
        (2999, "", "2999"),
        (4000, "x" * 124, "124 bytes"),
    ],
)
def test_a_close_that_can_not_be_sent_changes_nothing(rig, code, reason, error):
    """The error names what is wrong, and the connection is open as before."""
    peer, callbacks = rig.serve()
    with pytest.raises((TypeError, ValueError), match=error):
        callbacks.connection.close(code, reason)
    assert callbacks.connection.is_open
    callbacks.connection.close(4001, "ours")
    assert FrameReader(peer).read() == (Opcode.CLOSE, struct.pack("!H", 4001) + b"ours")


class SlowEpoll:
    """An epoll set in which a socket is late: until `events` of the one that has had its number
    before, which a poller had taken before that, have been brought to it."""

    def __init__(self, epoll, pollers, channels):
        self._epoll = epoll
        self._pollers = pollers
        self._channels = channels

    def __getattr__(self, name):
        return getattr(self._epoll, name)

    def register(self, fd, events):
        has_come = threading.Event()
        self._pollers.put(self._channels[fd], READABLE)
        self._pollers.put(Visitor(has_come), READABLE)
        assert has_come.wait(DEADLINE_S)
        self._epoll.register(fd, events)


class Visitor:
    """Comes to the pollers, and goes."""

    slow_turns = 0
    is_corked = False

    def __init__(self, has_come):
        self._has_come = has_come
        self.connection = self

    def uncork(self):
        pass

    def serve(self, events):
        self._has_come.set()


def test_an_event_of_another_socket_comes_before_it_is_served(caplog):
    """Descriptors' numbers are used again. The client is served when all is ready, once."""
    rig = Rig("epoll", ManualClock())
    transport = rig.transport
    transport._epoll = SlowEpoll(transport._epoll, transport._pollers, transport._channels)
    ours, peer = socket.socketpair()
    callbacks = Recording()
    connection = Connection(callbacks, client_settings())
    peer.sendall(text("hi") + close(1000))
    peer.close()
    transport.adopt(ours, connection, b"", rig.owner)
    assert callbacks.is_closed.wait(DEADLINE_S)
    assert callbacks.events == [("opened",), ("message", "hi"), ("closed", 1000, "")]
    wait_for(lambda: rig.owner.released_count == 1, "release")
    assert ours.fileno() == -1
    assert not caplog.records
    rig.stop()


def test_both_sides_close_at_once(rig):
    """One close frame each; the code is that of the first."""
    peer, callbacks = rig.serve()
    callbacks.connection.close(4000, "ours")
    peer.sendall(close(4001))
    assert FrameReader(peer).read() == (Opcode.CLOSE, struct.pack("!H", 4000) + b"ours")
    assert callbacks.is_closed.wait(DEADLINE_S)
    assert callbacks.events[-1] == ("closed", 4000, "ours")
    assert peer.recv(100) == b""
    peer.close()
    wait_for(lambda: rig.owner.released_count == 1)


def test_our_close_frame_survives_unread_data(rig):
    """Closing a socket with unread bytes would reset it, and take the frame from the peer."""
    peer, callbacks = rig.serve()
    peer.sendall(b"\xff\xff" + bytes(500_000))
    assert FrameReader(peer).read()[1][:2] == struct.pack("!H", 1002)
    assert peer.recv(100) == b""
    assert callbacks.is_closed.wait(DEADLINE_S)


def test_a_close_without_an_answer_ends_in_time(rig, clock):
    """`close_timeout`, by the clock."""
    _peer, callbacks = rig.serve(close_timeout=5.0)
    callbacks.connection.close(4000)
    wait_for(lambda: rig.timer._ticks)
    assert not callbacks.is_closed.is_set()

    def has_closed():
        clock.advance(1)
        return callbacks.is_closed.wait(0.02)

    started_s = clock.now_s()
    wait_for(has_closed)
    assert 5 <= clock.now_s() - started_s < 9
    assert callbacks.events[-1] == ("closed", 4000, "")


def test_pings_come_and_a_silent_peer_is_lost(rig, clock):
    """`ping_interval` and `ping_timeout`, by the clock."""
    peer, callbacks = rig.serve(ping_interval=20.0, ping_timeout=20.0)
    reader = FrameReader(peer)
    for _ in range(3):
        clock.advance(20.2)
        assert reader.read() == (Opcode.PING, b"")
        peer.sendall(frame(Opcode.PONG))
        wait_for(lambda: not callbacks.connection._awaited_pongs)
    clock.advance(20.2)
    assert reader.read() == (Opcode.PING, b"")

    def has_closed():
        clock.advance(1)
        return callbacks.is_closed.wait(0.02)

    started_s = clock.now_s()
    wait_for(has_closed)
    assert 19 <= clock.now_s() - started_s < 25
    assert callbacks.events[-1] == ("closed", 1006, "")


def test_a_slow_peer_that_still_reads_is_alive(rig, clock):
    """Its pong is behind a queue; that it takes bytes is a sign of life."""
    peer, callbacks = rig.serve(
        None, ping_interval=20.0, ping_timeout=20.0, receive_buffer=10_000, max_queue_size=2**24
    )
    for _ in range(100):
        callbacks.connection.send(bytes(50_000))
    for _ in range(8):
        before = callbacks.connection.queued_bytes
        for _ in range(10):
            peer.recv(65536)
        wait_for(lambda before=before: callbacks.connection.queued_bytes < before)
        clock.advance(10.1)
        time.sleep(0.01)  # for the timer to look; it must not do anything
    assert not callbacks.is_closed.is_set()


def test_a_reset_is_a_loss(rig):
    """`closed` with 1006; the socket is let go."""
    peer, callbacks = rig.serve()
    peer.close()
    assert callbacks.is_closed.wait(DEADLINE_S)
    assert callbacks.events[-1] == ("closed", 1006, "")
    wait_for(lambda: rig.owner.released_count == 1)
    assert not callbacks.connection.send("x")


MORE_THAN_THE_SYSTEM_KEEPS = 3_000_000


def send_much(connection, message):
    connection.send(bytes(MORE_THAN_THE_SYSTEM_KEEPS))


def test_who_has_only_stopped_sending_gets_what_is_queued(rig):
    """The end of one direction is not that of the other."""
    peer, callbacks = rig.serve(send_much)
    peer.sendall(text("all of it, please"))
    peer.shutdown(socket.SHUT_WR)
    assert callbacks.is_closed.wait(DEADLINE_S)
    assert callbacks.events[-1] == ("closed", 1006, "")
    assert FrameReader(peer).read() == (Opcode.BINARY, bytes(MORE_THAN_THE_SYSTEM_KEEPS))
    assert peer.recv(100) == b""
    wait_for(lambda: rig.owner.released_count == 1)


def test_who_has_stopped_sending_and_takes_nothing_is_given_up(rig, clock):
    """After the time for a close."""
    peer, callbacks = rig.serve(send_much)
    peer.sendall(text("all of it, please"))
    peer.shutdown(socket.SHUT_WR)
    assert callbacks.is_closed.wait(DEADLINE_S)

    def is_released():
        clock.advance(1)
        time.sleep(0.01)
        return rig.owner.released_count == 1

    started_s = clock.now_s()
    wait_for(is_released)
    assert clock.now_s() - started_s < 12


def test_a_paused_connection_reads_nothing_and_loses_nothing(rig):
    """The peer is held up by TCP."""
    peer, callbacks = rig.serve()
    callbacks.connection.pause()
    peer.sendall(text("a") + text("b"))
    callbacks.connection.send("still sends")
    assert FrameReader(peer).read()[1] == b"still sends"
    assert callbacks.messages == []
    callbacks.connection.resume()
    wait_for(lambda: callbacks.messages == ["a", "b"])


def test_a_paused_connection_can_be_closed(rig):
    """The peer's answer is read all the same."""
    peer, callbacks = rig.serve()
    callbacks.connection.pause()
    callbacks.connection.close(4000)
    assert FrameReader(peer).read()[0] is Opcode.CLOSE
    peer.sendall(close(4000))
    assert callbacks.is_closed.wait(DEADLINE_S)


def test_waiting_for_room(rig):
    """Ends when the peer takes, and when the connection closes."""
    peer, callbacks = rig.serve(None, receive_buffer=10_000, max_queue_size=100_000)
    connection = callbacks.connection
    results = []

    def send():
        for _ in range(50):
            results.append(
                connection.wait_until_writable(30_010) and connection.send(bytes(30_000))
            )

    thread = threading.Thread(target=send)
    thread.start()
    reader = FrameReader(peer)
    for _ in range(40):
        assert reader.read()[1] == bytes(30_000)
    connection.abort()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert results[:40] == [True] * 40


def test_a_message_is_encoded_once_for_all():
    """A broadcast queues the same object to every connection."""
    message = OutgoingMessage("x" * 1000)
    assert message.frame(None) is message.frame(None)


ACTIONS = st.lists(
    st.sampled_from(["message", "half", "rest", "send", "close", "abort", "peer close", "end"]),
    max_size=12,
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(ACTIONS)
def test_the_order_of_callbacks_under_any_interleaving(actions):
    """opened first and once, messages in order, closed last and once; nothing hangs."""
    rig = Rig("epoll", ManualClock())
    try:
        peer, callbacks = rig.serve(echo, receive_buffer=10_000)
        count = 0
        data = b""
        for action in actions:
            try:
                if action == "message":
                    peer.sendall(data + text(str(count)))
                    data, count = b"", count + 1
                elif action == "half" and not data:
                    whole = text(str(count))
                    count += 1
                    peer.sendall(whole[:3])
                    data = whole[3:]
                elif action == "rest":
                    peer.sendall(data)
                    data = b""
                elif action == "send":
                    callbacks.connection.send("x" * 1000)
                elif action == "close":
                    callbacks.connection.close(4000)
                elif action == "abort":
                    callbacks.connection.abort()
                elif action == "peer close" and not data:
                    peer.sendall(close(4001))
                elif action == "end":
                    peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        peer.close()
        assert callbacks.is_closed.wait(DEADLINE_S)
        wait_for(lambda: rig.owner.released_count == 1)
        events = callbacks.events
        assert events[0] == ("opened",)
        assert [event[0] for event in events].count("opened") == 1
        assert [event[0] for event in events].count("closed") == 1
        assert events[-1][0] == "closed"
        assert callbacks.messages == [str(number) for number in range(len(callbacks.messages))]
    finally:
        rig.stop()
