"""The collection, and what a handler is without a connection."""

import dataclasses
import threading
import tracemalloc
import weakref

import pytest
from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from flask_wshandler.handlers.handler import connection_of, end_handler, open_handler


@pytest.fixture(autouse=True)
def app_context():
    """Of an app without a bus, whose the collections that have a name are."""
    app = Flask(__name__)
    app.config["WSHANDLER_BUS"] = "none"
    WebSockets(app)
    with app.app_context():
        yield


class Peer:
    """Stands for a connection: takes what is sent."""

    is_open = True
    queued_bytes = 0
    dropped_messages = 0
    positions = None

    def __init__(self):
        self.frames = []

    def send(self, message):
        self.frames.append(message)
        return True

    def deliver(self, message):
        self.frames.append(message.frame(None))
        return True

    def deliver_all(self, messages):
        for message in messages:
            self.deliver(message)

    def close(self, code=1000, reason=""):
        self.is_open = False


def connected(cls=WebSocketHandler):
    handler = cls()
    open_handler(handler, Peer())
    return handler


def test_is_a_set():
    """`add`, `remove`, `discard`, `clear`, `in`, `len`, iteration."""
    clients = WebSocketCollection("name")
    ann, bob = connected(), connected()
    assert clients.add(ann)
    assert not clients.add(ann)
    assert clients.add(bob)
    assert ann in clients
    assert len(clients) == 2
    assert list(clients) == [ann, bob]
    assert clients.remove(ann)
    assert not clients.remove(ann)
    clients.discard(ann)
    assert ann not in clients
    clients.clear()
    assert len(clients) == 0
    assert repr(clients) == "<WebSocketCollection 'name'>"


def test_only_handlers_and_names():
    """Mistakes are said at the call."""
    with pytest.raises(TypeError, match="a member is a WebSocketHandler, not object"):
        WebSocketCollection().add(object())
    with pytest.raises(ValueError, match="non-empty str"):
        WebSocketCollection("")
    with pytest.raises(TypeError, match="str or bytes, not int"):
        WebSocketCollection().broadcast(1)


def test_a_broadcast_reaches_all_in_one_encoding():
    """The same bytes object for everybody."""
    clients = WebSocketCollection()
    handlers = [connected() for _ in range(3)]
    for handler in handlers:
        clients.add(handler)
    clients.broadcast("hi")
    clients.broadcast_json({"a": [1, None]})
    frames = [connection_of(handler).frames for handler in handlers]
    assert frames == [[b"\x81\x02hi", b'\x81\x10{"a": [1, null]}']] * 3
    assert frames[0][0] is frames[1][0] is frames[2][0]


def test_a_handler_that_is_not_open_is_passed_over():
    """It may have been added in the view."""
    clients = WebSocketCollection()
    clients.add(WebSocketHandler())
    clients.broadcast("hi")


def test_what_comes_before_it_is_open_is_kept_for_it():
    """Messages, but those from which it is excluded, and the order to close; also to others."""
    clients = WebSocketCollection()
    early, ann = WebSocketHandler(), connected()
    clients.add(early)
    clients.add(ann)
    clients.broadcast("to all")
    clients.broadcast("to ann", exclude=early)
    clients.broadcast("to early", exclude=ann)
    clients.close_all(4000)
    open_handler(early, Peer())
    clients.broadcast("to ann, too", exclude=early)
    clients.broadcast("to early, too", exclude=ann)
    texts = [[frame[2:] for frame in connection_of(each).frames] for each in (early, ann)]
    assert texts[0] == [b"to all", b"to early", b"to early, too"]
    assert texts[1] == [b"to all", b"to ann", b"to ann, too"]
    assert not early.is_open


def test_a_handler_that_never_opens_is_kept_by_nobody():
    """And is no member any more."""
    clients, others = WebSocketCollection(), WebSocketCollection()
    early, ann = WebSocketHandler(), connected()
    for each in (clients, others):
        each.add(early)
    clients.add(ann)
    gone = weakref.ref(early)
    del early
    clients.broadcast("to ann alone")
    assert gone() is None
    assert list(clients) == [ann]
    assert (len(clients), len(others)) == (1, 0)
    clients.add(WebSocketHandler())
    assert list(clients) == [ann]


def test_a_closed_handler_has_left_and_gets_in_nowhere():
    """By itself, from all of its collections."""
    one, two = WebSocketCollection(), WebSocketCollection()
    handler = connected()
    one.add(handler)
    two.add(handler)
    end_handler(handler)
    assert len(one) == len(two) == 0
    assert not one.add(handler)
    assert handler not in one


def test_one_more_collection_costs_as_much_as_the_first():
    """A client in 50,000: joining and leaving copies nothing that grows with their number."""
    handler = connected()
    for number in range(50_000):
        WebSocketCollection(f"many {number}").add(handler)
    joined, left = [], []
    tracemalloc.start()
    try:
        # Several, because a dict makes room for many now and then.
        for number in range(3):
            collection = WebSocketCollection(f"one more {number}")
            joined.append(peak_bytes(lambda collection=collection: collection.add(handler)))
            left.append(peak_bytes(lambda collection=collection: collection.remove(handler)))
    finally:
        tracemalloc.stop()
    assert max(min(joined), min(left)) < 10_000
    end_handler(handler)
    assert not any(handler in WebSocketCollection(f"many {number}") for number in (0, 49_999))


def peak_bytes(call):
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    call()
    return tracemalloc.get_traced_memory()[1] - before


def test_members_are_told_apart_by_identity():
    """Whatever their `__eq__` says; also if they have no hash."""

    @dataclasses.dataclass
    class Player(WebSocketHandler):
        name: str = "same"

    clients = WebSocketCollection()
    clients.add(connected(Player))
    clients.add(connected(Player))
    assert len(clients) == 2


def test_threads_may_come_and_go_during_broadcasts():
    """Nothing is lost, nothing raises."""
    clients = WebSocketCollection()
    staying = [connected() for _ in range(20)]
    for handler in staying:
        clients.add(handler)

    def come_and_go():
        for _ in range(200):
            handler = connected()
            clients.add(handler)
            end_handler(handler)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        clients.broadcast(str(number))
    for thread in threads:
        thread.join()
    assert set(clients) == set(staying)
    for handler in staying:
        assert len(connection_of(handler).frames) == 200


def test_sending_before_the_connection_is_a_mistake():
    """It says what to do."""
    for call in (lambda h: h.send("x"), lambda h: h.send_json({}), lambda h: h.close()):
        with pytest.raises(RuntimeError, match="not connected yet"):
            call(WebSocketHandler())


def test_async_callbacks_are_refused():
    """They would never run."""
    with pytest.raises(TypeError, match="on_message is async"):

        class Handler(WebSocketHandler):
            async def on_message(self, message):
                pass

    with pytest.raises(TypeError, match="on_presence is async"):

        class Clients(WebSocketCollection):
            async def on_presence(self, joined, left):
                pass
