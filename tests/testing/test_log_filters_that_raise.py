"""A log filter of the app's that raises ends nothing: no request, no callback, no client."""

import pytest
from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.testing import HandshakeRefused
from tests.core.rig import wait_for

FOREIGN = {"headers": {"Origin": "https://elsewhere.example"}}


class Echo(WebSocketHandler):
    def on_text(self, message):
        if message == "raise":
            raise LookupError(message)
        self.send(message)


@pytest.fixture
def site():
    """An app that has its own logging fail, and notes what was to be logged."""
    app = Flask(__name__)
    app.config.update(WSHANDLER_MAX_CONNECTIONS=2, WSHANDLER_MAX_CONNECTIONS_PER_IP=1)
    sockets = WebSockets(app)
    sockets.route("/echo")(Echo)

    @sockets.route("/function")
    def function(ws):
        ws.send(ws.receive())

    app.to_be_logged = []
    app.sockets = sockets
    logger, fail = app.logger, failing(app.to_be_logged)
    logger.addFilter(fail)
    yield app
    logger.removeFilter(fail)


def failing(to_be_logged):
    def fail(record):
        to_be_logged.append(record.getMessage())
        raise RuntimeError("in a filter")

    return fail


def connect(app, path="/echo", address="203.0.113.1", **options):
    client = app.test_client()
    return client.websocket_connect(path, environ_base={"REMOTE_ADDR": address}, **options)


def status_of(app, **options):
    with pytest.raises(HandshakeRefused) as refused:
        connect(app, **options)
    return refused.value.response.status_code


def logged(app, part):
    return any(part in line for line in app.to_be_logged)


def test_a_refusal_stays_what_it_is(site):
    """It is logged, which fails, and answered."""
    assert status_of(site, **FOREIGN) == 403
    with connect(site), connect(site, address="203.0.113.2"):
        assert status_of(site) == 429
        assert status_of(site, address="203.0.113.3") == 503
    for part in ("elsewhere.example", "of 203.0.113.1 already", "there are 2 already"):
        assert logged(site, part)


def test_settings_that_come_late_are_no_reason_to_refuse(site):
    """The line about them fails as well."""
    site.config["WSHANDLER_PING_INTERVAL"] = 7
    with connect(site) as ws:
        ws.send("x")
        assert ws.receive() == "x"
    assert logged(site, "changed after")


def test_exceptions_of_callbacks_and_what_they_do_not_take(site):
    """Each closes its client with its code."""
    with connect(site, propagate_exceptions=False) as ws:
        ws.send("raise")
        assert ws.wait_closed() == 1011
    with connect(site) as ws:
        ws.send(b"binary")
        assert ws.wait_closed() == 1003
    assert logged(site, "Exception in")
    assert logged(site, "overrides neither")


def test_a_function_that_gets_no_thread(site, monkeypatch):
    """It is refused, though that can't be logged."""
    monkeypatch.setattr("flask_wshandler.upgrade.request_thread.RequestThread.start", no_thread)
    assert status_of(site, path="/function") == 503
    assert logged(site, "no threads")


def no_thread(self):
    raise RuntimeError("no threads")


def test_an_app_whose_logger_can_not_be_had(site):
    """As where its handler's file can't be opened."""

    class NoLogger(Flask):
        @property
        def logger(self):
            raise PermissionError("app.log")

    site.__class__ = NoLogger
    assert status_of(site, **FOREIGN) == 403
    with connect(site, propagate_exceptions=False) as ws:
        ws.send("raise")
        assert ws.wait_closed() == 1011
    assert wait_for(lambda: site.sockets.stats().faults.get("log"), "a fault that is counted")
