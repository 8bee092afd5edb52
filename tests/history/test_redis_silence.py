"""What becomes of broadcasts with a history while a Redis is not heard of for long."""

import itertools
import os
import signal

import pytest

from flask_wshandler.bus import connect
from flask_wshandler.collections.history import History
from flask_wshandler.collections.registry import CollectionRegistry
from flask_wshandler.handlers.handler import connection_of
from flask_wshandler.history import redis_appends
from flask_wshandler.history.log import Bounds
from flask_wshandler.history.redis_log import RedisLog
from tests.bus.networks import RedisServer
from tests.core.test_collection import connected
from tests.deadlines import wait_for

HISTORY = History(Bounds(10_000, 3600.0), 0)


class Here:
    """What a process has of an app's collections, and a member of one."""

    def __init__(self, url):
        self._bus = connect(url, "test")
        self._registry = CollectionRegistry(self._bus, make_log=lambda: RedisLog(self._bus))
        self._member = connected()
        self._registry.add("chat", self._member, {}, HISTORY)

    def say(self, text):
        self._registry.broadcast("chat", text, None, HISTORY)

    def heard(self):
        return [frame[2:].decode() for frame in connection_of(self._member).frames]

    @property
    def stats(self):
        return self._registry.logged.stats()

    def stop(self):
        self._registry.stop()
        self._bus.close()


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def two(server):
    two = [Here(server.url), Here(server.url)]
    yield two
    for here in two:
        here.stop()


def test_what_goes_out_without_a_number_does_not_come_late(server, two, monkeypatch):
    """The own members get it at once; the others never, rather than behind what was said later."""
    one, other = two
    one.say("before")
    wait_for(lambda: one.heard() == other.heard() == ["before"], "message")
    monkeypatch.setattr(redis_appends, "MAX_AGE_S", 0.3)
    server.process.send_signal(signal.SIGSTOP)
    os.waitpid(server.process.pid, os.WUNTRACED)  # until it stands still
    texts = map(str, itertools.count())

    def said_at_once():
        text = next(texts)
        one.say(text)
        return text if text in one.heard() else None

    alone = wait_for(said_at_once, "message without a number")
    monkeypatch.undo()
    server.process.send_signal(signal.SIGCONT)
    wait_for(lambda: other.heard() != ["before"], "what was on its way")
    other.say("from the other")
    wait_for(lambda: one.heard()[-1] == other.heard()[-1] == "from the other", "message")
    one.say("after")
    wait_for(lambda: one.heard()[-1] == other.heard()[-1] == "after", "message")
    assert [text for text in one.heard() if text != alone] == other.heard()
    # Both were told that something is missing.
    assert one.stats.gaps == other.stats.gaps == 1
