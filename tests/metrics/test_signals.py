"""The three signals: who hears what, in which order, in which context."""

import contextlib

import pytest
from flask import current_app, g, request

from flask_wshandler import (
    WebSocketHandler,
    WebSockets,
    message_received,
    websocket_connected,
    websocket_disconnected,
)

from .small_app import create_app


@contextlib.contextmanager
def listening(signal, receiver, sender):
    with signal.connected_to(receiver, sender):
        yield


@pytest.fixture
def heard(app):
    """What has been heard of `app`, as (signal, handler, details)."""
    heard = []

    def connected(sender, handler):
        heard.append(("connected", handler, request.path))

    def received(sender, handler, message):
        heard.append(("received", handler, message))

    def disconnected(sender, handler):
        heard.append(("disconnected", handler, handler.close_code))

    with (
        listening(websocket_connected, connected, app),
        listening(message_received, received, app),
        listening(websocket_disconnected, disconnected, app),
    ):
        yield heard


def test_each_is_sent_once_and_in_order(client, heard):
    """With the handler that it is about, in the contexts of its callback."""
    with client.websocket_connect("/echo") as ws:
        ws.send("text")
        ws.send(b"binary")
        ws.receive_all()
    handlers = {handler for _, handler, _ in heard}
    assert len(handlers) == 1
    assert [(name, detail) for name, _, detail in heard] == [
        ("connected", "/echo"),
        ("received", "text"),
        ("received", b"binary"),
        ("disconnected", 1000),
    ]


def test_the_sender_is_the_app(client, heard):
    """Another app's clients are not heard."""
    with create_app().test_client().websocket_connect("/echo") as ws:
        ws.send("x")
        ws.receive(timeout=5)
    assert heard == []


def test_a_receiver_that_comes_later_hears_open_connections(app, client):
    """And one that has gone hears nothing."""
    heard = []

    def receive(sender, message, **extra):
        heard.append(message)

    with client.websocket_connect("/echo") as ws:
        ws.send("before")
        ws.receive_all()
        with message_received.connected_to(receive, app):
            ws.send("meanwhile")
            ws.receive_all()
        ws.send("after")
        ws.receive_all()
    assert heard == ["meanwhile"]


def test_connected_comes_before_on_open_and_shares_its_g():
    """So that a receiver can prepare what the callback uses; `disconnected` comes after it."""
    app = create_app()
    sockets, order = WebSockets(app), []

    @sockets.route("/order")
    class Ordered(WebSocketHandler):
        def on_open(self):
            order.append(g.prepared)

        def on_message(self, message):
            order.append((message, g.prepared))

        def on_close(self):
            g.left = True
            order.append("on_close")

    def prepare(sender, **extra):
        g.prepared = "prepared"

    def left(sender, handler):
        order.append((sender is current_app._get_current_object(), g.left))

    with (
        listening(websocket_connected, prepare, app),
        listening(message_received, prepare, app),
        listening(websocket_disconnected, left, app),
        app.test_client().websocket_connect("/order") as ws,
    ):
        ws.send("x")
        ws.receive_all()
        ws.close()
    assert order == ["prepared", ("x", "prepared"), "on_close", (True, True)]


@pytest.mark.parametrize("signal", [websocket_connected, message_received])
def test_a_receiver_that_raises_is_a_callback_that_raises(app, client, signal):
    """1011 for this client, and its callback is not called."""

    def fail(sender, **extra):
        raise LookupError("in a receiver")

    with (
        listening(signal, fail, app),
        client.websocket_connect("/echo", propagate_exceptions=False) as ws,
    ):
        with contextlib.suppress(Exception):
            ws.send("x")
        assert ws.wait_closed() == 1011
        assert ws.receive_all() == []
    with client.websocket_connect("/echo") as ws:
        ws.send("goes on")
        assert ws.receive(timeout=5) == "goes on"


def test_disconnected_is_sent_whatever_on_close_raises():
    """Exactly once, and what a receiver raises is in `error`, too."""
    app = create_app()
    heard = []

    @WebSockets(app).route("/raises")
    class Raises(WebSocketHandler):
        def on_close(self):
            raise LookupError("in on_close")

        def on_error(self):
            heard.append(("error", repr(self.error)))

    def left(sender, handler):
        heard.append("left")
        raise ValueError("in a receiver")

    with (
        listening(websocket_disconnected, left, app),
        app.test_client().websocket_connect("/raises", propagate_exceptions=False) as ws,
    ):
        ws.close()
    assert heard == ["left", ("error", "ValueError('in a receiver')")]
