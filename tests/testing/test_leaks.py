"""Nothing is left of clients, of apps, and of tests that forget them."""

import gc
import os
import threading
import weakref

import pytest
from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from flask_wshandler.collections import current
from flask_wshandler.testing import HandshakeRefused, WebSocketClient, worker_of
from flask_wshandler.testing.failures import Failures
from tests.deadlines import wait_for

from .app import create_app, seen


class Process:
    """The threads and descriptors that this process has had when a test began."""

    def __init__(self):
        self._threads = set(threading.enumerate())
        self._descriptors = set(os.listdir("/proc/self/fd"))

    def new_threads(self):
        """Of this package, since then."""
        new = set(threading.enumerate()) - self._threads
        return [each.name for each in new if each.name.startswith("wshandler")]

    def new_descriptors(self):
        """Opened since then, and not closed."""
        return sorted(set(os.listdir("/proc/self/fd")) - self._descriptors)

    def has_nothing_new(self):
        """Neither threads nor descriptors."""
        return not self.new_threads() and not self.new_descriptors()


@pytest.fixture(params=["epoll", "blocking"])
def transport(request):
    return request.param


def test_several_hundred_clients(transport):
    """One after the other, of one app."""
    client = WebSocketClient(create_app(WSHANDLER_TRANSPORT=transport))
    process = Process()
    for number in range(300):
        with client.websocket_connect("/chat") as ws:
            ws.send(str(number))
            assert ws.receive() == f"nobody: {number}"
    assert process.new_threads() == []
    assert process.new_descriptors() == []


def test_clients_that_come_back(transport):
    """Or do not: neither those that were closed while they were away, nor their handlers."""
    client = WebSocketClient(create_app(WSHANDLER_TRANSPORT=transport))
    process = Process()
    for number in range(50):
        with client.websocket_connect("/chat", resumable=True) as ws:
            ws.cut()
            if number % 2:
                assert ws.come_back()
                ws.send(str(number))
                assert ws.receive() == f"nobody: {number}"
    assert process.new_threads() == []
    assert process.new_descriptors() == []


def test_clients_that_come_back_to_another_process(transport):
    """Both are at rest when they have gone."""
    app = create_app(WSHANDLER_TRANSPORT=transport)
    process = Process()
    worker = worker_of(app)
    with worker.other_process(lambda: create_app("two", WSHANDLER_TRANSPORT=transport)) as second:
        other = second.app.test_client()
        for _ in range(20):
            with worker.websocket_connect("/chat", resumable=True) as ws:
                ws.cut()
                ws.come_back(client=other)
        worker.settle()
        assert process.new_threads() == []
        assert process.new_descriptors() == []


def test_clients_at_once(transport):
    """A hundred, and the threads end with the last."""
    client = WebSocketClient(create_app(WSHANDLER_TRANSPORT=transport))
    process = Process()
    opened = [client.websocket_connect("/echo") for _ in range(100)]
    for ws in opened:
        ws.send("hi")
    assert [ws.receive() for ws in opened] == ["hi"] * 100
    assert process.new_threads()
    for ws in opened:
        ws.close()
    assert process.new_threads() == []
    assert process.new_descriptors() == []


def test_an_app_for_each_test(transport):
    """With a collection that is watched, and a second process; `close` ends all of it."""
    process = Process()
    for _ in range(20):
        app = create_app(WSHANDLER_TRANSPORT=transport)
        worker = worker_of(app)
        with app.app_context():
            len(seen)
        with worker.other_process(create_app) as second:
            forgotten = worker.websocket_connect("/members/ann")
            second.websocket_connect("/members/bob").send("who?")
        worker.close()
        assert forgotten.close_code == 1001
    wait_for(process.has_nothing_new)


class Member(WebSocketHandler):
    """In a watched collection."""

    def on_open(self):
        seen.add(self, name="ann")


@pytest.mark.parametrize("state", ["open", "away"])
def test_forgotten_apps_are_collected(transport, state):
    """Without a word of the test: client, app and engine."""
    process = Process()
    gone = []
    for _ in range(5):
        app = Flask("forgotten")
        app.config.update(NAME="forgotten", WSHANDLER_TRANSPORT=transport)
        WebSockets(app).route("/")(Member)
        ws = WebSocketClient(app).websocket_connect("/", resumable=state == "away")
        if state == "away":
            ws.cut()
        ws.send("hi")
        gone.append(weakref.ref(app))
        del app, ws

    def are_gone():
        gc.collect()
        return not any(each() for each in gone) and process.has_nothing_new()

    wait_for(are_gone)


def test_refusals_leave_nothing():
    """Neither does a view that raises."""
    client = WebSocketClient(create_app())
    process = Process()
    for path, error in (("/nowhere", Exception), ("/broken", LookupError)):
        for _ in range(20):
            with pytest.raises(error):
                client.websocket_connect(path)
    gc.collect()
    assert process.new_threads() == []
    assert process.new_descriptors() == []


def test_nothing_is_kept_of_clients_that_have_not_failed(transport):
    """Of those that were refused, that have closed, and that the test has forgotten."""

    def kept():
        return {each for each in gc.get_objects() if type(each) is Failures}

    client = WebSocketClient(create_app(WSHANDLER_TRANSPORT=transport))
    before = kept()
    for _ in range(3):
        with pytest.raises(HandshakeRefused):
            client.websocket_connect("/nowhere")
        with client.websocket_connect("/echo"):
            pass
        client.websocket_connect("/echo")
    worker_of(client.application).settle()
    client.websocket_connect("/echo").close()
    gc.collect()
    assert kept() <= before


def test_app_serves_really_after_it_was_tested():
    """`close` leaves it as `init_app` did, and the next client of a test begins anew."""
    app = create_app()
    before = app.extensions["wshandler"]
    for _ in range(2):
        worker = worker_of(app)
        assert type(app.extensions["wshandler"].engine).__name__ == "EngineUnderTest"
        with worker.websocket_connect("/echo"):
            pass
        worker.close()
        after = app.extensions["wshandler"]
        assert after.settings is before.settings
        assert type(after.engine) is type(before.engine)
        assert type(after.collections.bus) is type(before.collections.bus)


def test_a_closed_app_is_meant_if_there_is_no_other(monkeypatch):
    """Where no app is current: one after the other may be made, and none has to be collected."""
    monkeypatch.setattr(current, "known_apps", weakref.WeakSet())
    members = WebSocketCollection("seen")
    before, after = create_app(), create_app()
    with pytest.raises(RuntimeError, match="2 apps"):
        len(members)
    with worker_of(before).websocket_connect("/members/ann"):
        worker_of(after).close()
        assert len(members) == 1
    worker_of(before).close()
    with worker_of(after).websocket_connect("/members/bob"):
        assert len(members) == 1
    worker_of(after).close()
    with pytest.raises(RuntimeError, match="2 apps"):
        len(members)
    monkeypatch.setattr(current, "known_apps", weakref.WeakSet([before]))
    assert len(members) == 0


def test_watchers_go_on_watching():
    """Also those that an app has had since it was made."""
    app = create_app()
    seen.news.clear()
    with app.app_context():
        len(seen)
    for _ in range(2):
        worker = worker_of(app)
        with worker.websocket_connect("/members/ann"):
            worker.settle()
            assert ("one", [("ann", 1)]) in seen.news
        worker.close()
        seen.news.clear()
