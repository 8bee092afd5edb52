"""What log lines call a callback: what its author calls it."""

import functools

import pytest
from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request


def tick(ws, name="nobody"):
    ws.receive()
    raise LookupError("in a function")


class Ticker:
    def __call__(self, ws):
        tick(ws)

    def method(self, ws):
        tick(ws)


class Fails(WebSocketHandler):
    def on_text(self, message):
        raise LookupError(message)


class FailsPartially(WebSocketHandler):
    def fail(self, why, message):
        raise LookupError(why)

    on_text = functools.partialmethod(fail, "so")


def a_lambda():
    handler = WebSocketHandler()
    handler.on_text = lambda message: 1 / 0
    return handler


def of_another():
    handler = WebSocketHandler()
    handler.on_text = Fails().on_text
    return handler


WAYS = {
    "handler": (Fails, "Fails.on_text"),
    "partialmethod": (FailsPartially, "FailsPartially.on_text"),
    "lambda": (a_lambda, "WebSocketHandler.on_text"),
    "of another": (of_another, "WebSocketHandler.on_text"),
    "function": (tick, "tick"),
    "partial": (functools.partial(tick, name="ann"), "tick"),
    "object": (Ticker(), "Ticker"),
    "method": (Ticker().method, "Ticker.method"),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


@pytest.fixture
def app():
    return Flask(__name__)


def serve(app, callback):
    """Have `callback` serve "/": a handler's maker, or a function of flask-sock's kind."""
    sockets = WebSockets(app)
    if callback in (a_lambda, of_another):
        app.add_url_rule("/", "made", lambda: accept_websocket_request(callback()))
    else:
        sockets.route("/", endpoint="ws")(callback)


def fail(app):
    with app.test_client().websocket_connect("/", propagate_exceptions=False) as ws:
        ws.send("x")
        assert ws.wait_closed() == 1011


def test_of_one_that_raises(app, way, caplog):
    """In the line above the traceback."""
    callback, name = way
    serve(app, callback)
    fail(app)
    assert f"Exception in {name} on /" in [each.getMessage() for each in caplog.records]


@pytest.mark.parametrize("observer", ["prometheus", "otel"])
def test_whoever_watches_knows_it_as_well(app, way, observer, caplog):
    """Nothing but the callback's own exception is logged."""
    callback, name = way
    serve(app, callback)
    if observer == "prometheus":
        prometheus = pytest.importorskip("flask_wshandler.prometheus")
        prometheus.PrometheusMetrics(app, registry=None)
    else:
        pytest.importorskip("flask_wshandler.otel").OpenTelemetry(app)
    fail(app)
    [line] = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert line == f"Exception in {name} on /"
