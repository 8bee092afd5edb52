"""What an app has made of its logging: a filter that raises ends no request and no client,
and a logger of another package gets the lines, too."""

import logging

import pytest
from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.testing import HandshakeRefused
from tests.deadlines import wait_for

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


class Lines:
    """A logger that is none of `logging`, as structlog's and loguru's: it formats by `{}`."""

    def __init__(self):
        self.lines = []

    def warning(self, message, *args, **kwargs):
        self.lines.append(f"warning {message.format(*args, **kwargs) if kwargs else message}")

    def error(self, message, *args, **kwargs):
        self.lines.append(f"error {message.format(*args, **kwargs) if kwargs else message}")


def test_a_logger_of_another_package():
    """It gets whole lines, with the traceback in them."""
    app = Flask(__name__)
    app.logger = Lines()
    WebSockets(app).route("/echo/<name>")(Named)
    with connect(app, "/echo/{name}%s", propagate_exceptions=False) as ws:
        ws.send("raise")
        assert ws.wait_closed() == 1011
    assert status_of(app, path="/echo/x", **FOREIGN) == 403
    first, second = app.logger.lines
    assert first.startswith('error Exception in Named.on_text on "/echo/{name}%s"\nTraceback')
    assert first.endswith("LookupError: raise")
    assert second.startswith("warning A WebSocket from https://elsewhere.example was refused")


def test_a_logger_adapter(caplog):
    """Its records are its logger's."""
    app = Flask(__name__)
    app.logger = logging.LoggerAdapter(app.logger, {"tenant": "acme"})
    WebSockets(app).route("/echo/<name>")(Named)
    with connect(app, "/echo/x", propagate_exceptions=False) as ws:
        ws.send("raise")
        assert ws.wait_closed() == 1011
    [record] = caplog.records
    assert (record.getMessage(), record.tenant) == ("Exception in Named.on_text on /echo/x", "acme")
    assert record.exc_info


class Named(Echo):
    def __init__(self, name):
        del name
