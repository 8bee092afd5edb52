"""A test client in a collection with history, and its way over new handlers."""

import pytest
from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from flask_wshandler.testing import HandshakeRefused

chat = WebSocketCollection("chat of those that come back", history=3)


class Member(WebSocketHandler):
    def on_open(self):
        chat.add(self)


@pytest.fixture
def app():
    app = Flask(__name__)
    app.config.update(TESTING=True, WSHANDLER_COMPRESSION=True)
    WebSockets(app).route("/chat")(Member)
    return app


def say(app, *texts):
    with app.app_context():
        for text in texts:
            chat.broadcast(text)


def gone(ws, wshandler):
    """Cut `ws`, and have its handler end for that."""
    ws.cut()
    wshandler.clock.advance(61)
    assert ws.close_code == 1006


def test_a_new_handler_goes_on_where_the_last_has_ended(app, client, wshandler):
    """Each message once and in order, those of the time between as well."""
    with client.websocket_connect("/chat", resumable=True) as ws:
        say(app, "1", "2")
        assert ws.receive_all() == ["1", "2"]
        gone(ws, wshandler)
        say(app, "3", "4")
        assert ws.come_back() is False
        say(app, "5")
        assert ws.receive_all() == ["3", "4", "5"]
        assert (ws.was_lost, ws.history_gaps) == (True, 0)


def test_who_has_heard_nothing_has_a_place_all_the_same(app, client, wshandler):
    """What is said between its two handlers is the first that it hears."""
    with client.websocket_connect("/chat", resumable=True) as ws:
        assert ws.receive_all() == []
        gone(ws, wshandler)
        say(app, "between")
        assert ws.come_back() is False
        assert ws.receive_all() == ["between"]
        assert ws.history_gaps == 0


def test_what_is_not_in_the_history_any_more_is_told(app, client, wshandler):
    """As a gap of another kind than that of the handler."""
    with client.websocket_connect("/chat", resumable=True) as ws:
        say(app, "1")
        assert ws.receive() == "1"
        gone(ws, wshandler)
        say(app, *"23456")
        assert ws.come_back() is False
        assert ws.receive_all() == ["4", "5", "6"]
        assert (ws.was_lost, ws.history_gaps) == (True, 1)


def test_nothing_is_told_to_who_is_there(app, client):
    """What its connection has kept is no business of the log."""
    with client.websocket_connect("/chat", resumable=True) as ws:
        say(app, "1")
        ws.cut()
        say(app, *"23456")
        assert ws.come_back()
        assert ws.receive_all() == [*"123456"]
        assert (ws.was_lost, ws.history_gaps) == (False, 0)


def test_a_client_that_does_not_come_back_has_no_gaps(app, client):
    """Nor does it see anything of places."""
    with client.websocket_connect("/chat") as ws:
        say(app, "1", "2")
        assert ws.receive_all() == ["1", "2"]
        assert ws.history_gaps == 0


def test_messages_may_be_compressed(app, client, wshandler):
    """At once, when they are sent again, and out of the history."""
    one, two, three = (each * 500 for each in "123")
    with client.websocket_connect("/chat", resumable=True) as ws:
        assert ws.is_compressed
        say(app, one)
        assert ws.receive() == one
        ws.cut()
        say(app, two)
        assert ws.come_back()
        assert ws.receive() == two
        gone(ws, wshandler)
        say(app, three)
        assert ws.come_back() is False
        assert ws.receive_all() == [three]


@pytest.mark.parametrize("count", [32, 33])
def test_no_more_places_are_taken_than_a_client_says(client, count):
    """A bad request, before anything is made of it."""
    places = [f"p.{number:012x}.{'1' * 64}" for number in range(count)]
    offer = ["wshandler.1", "r.0000000000000000.3.2.0", *places]
    if count == 32:
        client.websocket_connect("/chat", subprotocols=offer).close()
        return
    with pytest.raises(HandshakeRefused, match="400"):
        client.websocket_connect("/chat", subprotocols=offer)
