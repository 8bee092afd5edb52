"""As few threads as the callbacks allow."""

import os
import queue
import random
import select
import threading
import time

import pytest

from flask_wshandler.transports.pollers import Pollers
from tests.deadlines import DEADLINE_S, wait_for

from .rig import FrameReader, ManualClock, Rig, echo, text


@pytest.fixture
def rig():
    rig = Rig("epoll", ManualClock())
    yield rig
    rig.stop()


def test_callbacks_that_block_get_threads_and_quick_ones_go_on(rig):
    """Up to the limit; what is over is waited for."""
    release = threading.Event()

    def block(connection, message):
        assert release.wait(DEADLINE_S)
        connection.send("done")

    blocked = [rig.serve(block) for _ in range(7)]
    quick, callbacks = rig.serve(echo)
    for peer, _ in blocked:
        peer.sendall(text("x"))
    wait_for(lambda: all(recorded.messages for _, recorded in blocked), "all callbacks at once")
    for number in range(50):
        quick.sendall(text("x"))
        assert quick.recv(100) == b"\x81\x01x", number
    assert len(callbacks.messages) == 50
    assert rig.transport.thread_count <= 8
    release.set()
    for peer, _ in blocked:
        assert peer.recv(100) == b"\x81\x04done"


def test_the_limit_holds(rig):
    """Nine that block and eight threads: the ninth comes when one is free."""
    release = threading.Event()
    running = []

    def block(connection, message):
        running.append(message)
        assert release.wait(DEADLINE_S)
        running.remove(message)

    blocked = [rig.serve(block) for _ in range(12)]
    for number, (peer, _) in enumerate(blocked):
        peer.sendall(text(str(number)))
    wait_for(lambda: len(running) == 8, "eight at once")
    wait_for(lambda: rig.transport.thread_count == 8, "count of eight")
    release.set()
    wait_for(lambda: all(recorded.messages for _, recorded in blocked))


def test_nothing_is_lost_among_callbacks_of_all_durations(rig):
    """Fifty clients, five messages each."""
    dice = random.Random(1)

    def answer(connection, message):
        time.sleep(dice.choice([0, 0, 0, 0.005]))
        connection.send(message)

    peers = [rig.serve(answer) for _ in range(50)]
    for number in range(5):
        for peer, _ in peers:
            peer.sendall(text(str(number)))
    for _, recorded in peers:
        wait_for(lambda recorded=recorded: len(recorded.messages) == 5)
        assert recorded.messages == list("01234")


def test_who_is_slow_does_not_take_the_last_thread(rig):
    """More of them than there are threads, all stuck: who is quick is answered all the same."""
    release = threading.Event()
    stuck = []

    def be_slow(connection, message):
        if message == "once":
            time.sleep(0.05)
        else:
            stuck.append(message)
            release.wait(60)
        connection.send(message)

    slow = [rig.serve(be_slow) for _ in range(20)]
    channels = list(rig.transport._channels.values())
    pollers = rig.transport._pollers
    while not all(channel.slow_turns for channel in channels):
        # Once is enough, unless this machine has no time for the monitor meanwhile.
        counts = [len(recorded.messages) for _, recorded in slow]
        for peer, _ in slow:
            peer.sendall(text("once"))
        for (_, recorded), count in zip(slow, counts, strict=True):
            wait_for(lambda recorded=recorded, count=count: len(recorded.messages) > count)
        # A turn that finds nothing to read any more is a quick one.
        wait_for(lambda: not pollers._ready and not pollers._slow)
        wait_for(lambda: all(channel.is_idle for channel in channels))
    quick, _ = rig.serve(echo)
    for peer, _ in slow:
        peer.sendall(text("stuck"))
    wait_for(lambda: len(stuck) == 7, "all threads but one")
    quick.sendall(text("x"))
    assert FrameReader(quick).read()[1] == b"x"
    assert len(stuck) == 7
    release.set()
    for _, recorded in slow:
        wait_for(lambda recorded=recorded: recorded.messages[-1] == "stuck")


def test_who_was_unlucky_once_does_not_stand_behind_the_slow(rig):
    """A suspect goes first of those who wait for a thread: it is soon found to be quick."""
    releases = {str(number): threading.Event() for number in range(10)}
    started = []

    def be_slow(connection, message):
        started.append(message)
        assert releases[message].wait(DEADLINE_S)

    slow = [rig.serve(be_slow) for _ in releases]
    suspect, _ = rig.serve(lambda connection, message: started.append(message))
    *slow_channels, suspected = rig.transport._channels.values()
    for channel in slow_channels:
        channel.slow_turns = 16
    suspected.slow_turns = 1
    for (peer, _), message in zip(slow, releases, strict=True):
        peer.sendall(text(message))
    wait_for(lambda: len(started) == 7, "all threads but one")
    wait_for(lambda: len(rig.transport._pollers._slow) == 3, "three that wait")
    suspect.sendall(text("suspect"))
    wait_for(lambda: len(rig.transport._pollers._slow) == 4, "the suspect among them")
    releases[started[0]].set()
    wait_for(lambda: len(started) >= 8)
    assert started[7] == "suspect"
    for release in releases.values():
        release.set()
    wait_for(lambda: len(started) == 11)
    assert not suspected.slow_turns


class Inbox(queue.SimpleQueue):
    """A source whose events come from the test."""

    def poll(self, seconds):
        try:
            return self.get(timeout=seconds)
        except queue.Empty:
            return []

    def wake(self, count):
        for _ in range(count):
            self.put([])


class OneTurn:
    """Notes that it has begun, and waits until it may end. It is its own connection."""

    def __init__(self, slow_turns=0):
        self.slow_turns = slow_turns
        self.is_corked = False
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    @property
    def connection(self):
        return self

    def serve(self, events):
        self.has_begun.set()
        assert self.may_end.wait(DEADLINE_S)

    def uncork(self):
        self.is_corked = False


class Pool:
    """Pollers, and turns that are found ready together."""

    def __init__(self):
        self.inbox = Inbox()
        self.pollers = Pollers(self.inbox, 8)
        self._turns = []

    def put(self, *turns):
        self._turns += turns
        self.inbox.put([(turn, 0) for turn in turns])

    def start_without_monitor(self):
        with self.pollers._lock:
            self.pollers._start_thread()

    def stop(self):
        for turn in self._turns:
            turn.may_end.set()
        wait_for(self.pollers.stop)


@pytest.fixture
def pool():
    pool = Pool()
    yield pool
    pool.stop()


def test_who_is_known_as_slow_has_another_thread_poll_meanwhile(pool):
    """At once: the monitor, which would see to it, is not there."""
    pool.start_without_monitor()
    slow, quick = OneTurn(slow_turns=16), OneTurn()
    pool.put(slow)
    assert slow.has_begun.wait(DEADLINE_S)
    pool.put(quick)
    assert quick.has_begun.wait(DEADLINE_S)


def test_what_those_send_who_are_ready_together_goes_out_together(pool):
    """After the last of them; with the last nobody waits, so it is not held back."""
    pool.start_without_monitor()
    turns = [OneTurn() for _ in range(5)]
    pool.put(*turns)
    for turn in turns:
        assert turn.has_begun.wait(DEADLINE_S)
        assert turn.is_corked == (turn is not turns[-1])
        if turn is not turns[-1]:
            turn.may_end.set()
    assert all(turn.is_corked for turn in turns[:-1])
    turns[-1].may_end.set()
    wait_for(lambda: not any(turn.is_corked for turn in turns))


def test_not_too_many_are_held_back_together(pool):
    """Those of a crowd don't wait for all of it."""
    pool.start_without_monitor()
    turns = [OneTurn() for _ in range(100)]
    pool.put(*turns)
    for count, turn in enumerate(turns):
        assert turn.has_begun.wait(DEADLINE_S)
        assert sum(turn.is_corked for turn in turns[:count]) < 32
        turn.may_end.set()
    wait_for(lambda: not any(turn.is_corked for turn in turns))


def test_nobody_waits_for_a_callback_of_somebody_else(pool):
    """What was held back goes out when one takes long, by the monitor."""
    pool.pollers.start()
    quick, blocked, last = OneTurn(), OneTurn(), OneTurn()
    quick.may_end.set()
    pool.put(quick, blocked, last)
    assert blocked.has_begun.wait(DEADLINE_S)
    wait_for(lambda: not quick.is_corked)
    wait_for(lambda: not blocked.is_corked)


def cpu_times_s():
    """Of the package's threads, by name. Not the process's: the garbage of 2,000 tests is in it."""
    return {
        (thread.name, thread.ident): time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.name.startswith("wshandler-")
    }


def test_an_idle_set_sleeps(rig):
    """After work no thread runs: their CPU time stands still."""
    peer, _ = rig.serve(echo)
    peer.sendall(text("x"))
    peer.recv(100)
    monitor = rig.transport._pollers
    wait_for(lambda: not monitor._is_watching, "sleep of the monitor")
    before_s = cpu_times_s()
    threading.Event().wait(0.3)
    for name, seconds in cpu_times_s().items():
        assert seconds - before_s[name] < 0.05, name


def test_all_threads_end():
    """Also those that are parked."""
    before = set(threading.enumerate())
    rig = Rig("epoll", ManualClock())
    release = threading.Event()
    peers = [rig.serve(lambda connection, message: release.wait(DEADLINE_S)) for _ in range(4)]
    for peer, _ in peers:
        peer.sendall(text("x"))
    wait_for(lambda: rig.transport.thread_count >= 4)
    release.set()
    rig.stop()
    wait_for(lambda: set(threading.enumerate()) <= before, "end of all threads")


def test_who_comes_after_the_end_writes_into_nobody_elses_file():
    """The number of a closed descriptor is soon another file's."""
    rig = Rig("epoll", ManualClock())
    wake_fd = rig.transport._wake_fd
    rig.stop()
    other, others_end = os.pipe()
    os.dup2(others_end, wake_fd)
    rig.transport.wake(1)
    assert not select.select([other], [], [], 0)[0]
    for descriptor in {other, others_end, wake_fd}:
        os.close(descriptor)
