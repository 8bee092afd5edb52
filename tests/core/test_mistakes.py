"""What people get wrong at first: each ends in a sentence that says what to do."""

import logging
import subprocess
import sys
import threading
import weakref

import pytest
from flask import Flask
from flask.json.provider import DefaultJSONProvider

from flask_wshandler import (
    WebSocketCollection,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    extension,
)
from flask_wshandler.testing import enable


class Loud(DefaultJSONProvider):
    def dumps(self, obj, **kwargs):
        return super().dumps(obj, **kwargs).upper()


def make_app(name="mistaken"):
    app = Flask(name)
    app.testing = True
    app.json = Loud(app)
    app.config["WSHANDLER_BUS"] = "none"
    enable(app)
    return app


def test_a_class_in_the_place_of_a_handler():
    """The view has forgotten the parentheses."""
    app = make_app()
    WebSockets(app)

    @app.route("/ws")
    def ws():
        return accept_websocket_request(WebSocketHandler)

    @app.route("/text")
    def text():
        return accept_websocket_request("hello")

    client = app.test_client()
    with pytest.raises(TypeError, match=r"an instance: WebSocketHandler\(…\), not the class"):
        client.websocket_connect("/ws")
    with pytest.raises(TypeError, match="an instance of a WebSocketHandler subclass, not 'hello'"):
        client.websocket_connect("/text")


def test_the_context_in_a_constructor():
    """It is not there yet."""

    class Early(WebSocketHandler):
        def __init__(self):
            self.name = self.context.query_string["name"]

    with pytest.raises(AttributeError, match=r"Early has no context yet: .* on_open"):
        Early()
    assert not hasattr(WebSocketHandler(), "context")


def test_a_kind_of_message_that_is_not_taken(caplog):
    """1003, and one line for the class, whoever sends one."""
    app = make_app()
    sockets = WebSockets(app)

    @sockets.route("/ws")
    class TextOnly(WebSocketHandler):
        def on_text(self, message):
            self.send(message)

    for _ in range(2):
        with (
            caplog.at_level(logging.WARNING),
            app.test_client().websocket_connect("/ws") as ws,
        ):
            ws.send(b"bytes")
            assert ws.wait_closed() == 1003
    lines = [each for each in caplog.messages if "on_binary" in each]
    assert len(lines) == 1
    assert "TextOnly overrides neither on_message nor on_binary" in lines[0]
    assert "1003" in lines[0]


def test_a_named_collection_without_an_app():
    """It would reach nobody."""
    program = (
        "from flask_wshandler import WebSocketCollection\n"
        "mine = WebSocketCollection()\n"
        "mine.broadcast('to nobody, as it is this process\\'s')\n"
        "WebSocketCollection('chat').broadcast('hello')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "RuntimeError: a named collection is its app's" in run.stderr
    assert "flask_wshandler.bus.connect" in run.stderr


def test_json_in_a_thread_of_ones_own(monkeypatch):
    """By the app's provider, as in a callback."""
    monkeypatch.setattr(extension, "_apps", weakref.WeakSet())  # with those of other tests
    app = make_app()
    sockets = WebSockets(app)
    clients = WebSocketCollection("chat")

    @sockets.route("/ws")
    class Member(WebSocketHandler):
        def on_open(self):
            clients.add(self)

    with app.test_client().websocket_connect("/ws") as ws:

        def tell():
            next(iter(clients)).send_json({"to": "one"})
            clients.broadcast_json({"to": "all"})

        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
        assert ws.receive_all() == ['{"TO": "ONE"}', '{"TO": "ALL"}']
