"""Members of collections with history that come and go at the same moment."""

import threading

import pytest

from flask_wshandler.bus.null import NoBus
from flask_wshandler.collections.history import History
from flask_wshandler.collections.registry import CollectionRegistry
from flask_wshandler.handlers.handler import connection_of
from flask_wshandler.history.log import Bounds
from flask_wshandler.history.memory_log import MemoryLog
from tests.core.test_collection import connected
from tests.deadlines import DEADLINE_S

HISTORY = History(Bounds(100, 3600.0), 10)


class SlowLog(MemoryLog):
    """Whoever asks where it ends waits to be let go."""

    def __init__(self):
        super().__init__()
        self.is_asked = threading.Semaphore(0)
        self.lets_go = threading.Semaphore(0)

    def last_of(self, topics):
        self.is_asked.release()
        assert self.lets_go.acquire(timeout=DEADLINE_S)
        return super().last_of(topics)


@pytest.fixture
def log():
    return SlowLog()


@pytest.fixture
def registry(log):
    registry = CollectionRegistry(NoBus(), make_log=lambda: log)
    yield registry
    registry.stop()


def heard(handler):
    return [frame[2:].decode() for frame in connection_of(handler).frames]


def test_the_first_two_members_of_a_process(log):
    """Both get each message once, though one has come while the other was taken in."""
    second_came = threading.Event()

    def make_log():
        threads[1].start()
        second_came.wait(0.1)  # in vain if it waits for the first one
        return log

    registry = CollectionRegistry(NoBus(), make_log=make_log)
    members = [connected(), connected()]

    def add(member):
        registry.add("chat", member, {}, HISTORY)

    threads = [threading.Thread(target=add, args=(member,)) for member in members]
    threads[0].start()
    assert log.is_asked.acquire(timeout=DEADLINE_S)
    assert log.is_asked.acquire(timeout=DEADLINE_S)
    registry.broadcast("chat", "amid", None, HISTORY)
    for _ in threads:
        log.lets_go.release()
    for thread in threads:
        thread.join(DEADLINE_S)
    registry.broadcast("chat", "after", None, HISTORY)
    assert [heard(member) for member in members] == [["amid", "after"]] * 2
    registry.stop()


def test_who_was_a_member_before_a_history_was_known_gets_all(registry, log):
    """The object that says so may be made later."""
    log.lets_go.release()
    early, late = connected(), connected()
    registry.add("chat", early, {})
    registry.broadcast("chat", "one", None)
    registry.add("chat", late, {}, HISTORY)
    registry.broadcast("chat", "two", None, HISTORY)
    assert [heard(early), heard(late)] == [["one", "two"], ["two"]]
