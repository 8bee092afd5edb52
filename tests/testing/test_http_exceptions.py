"""`abort()` in a callback: what says whose mistake it was in HTTP says so in the close code."""

import flask
import pytest
from flask import Flask, abort, g, redirect, request
from werkzeug.exceptions import HTTPException

from flask_wshandler import WebSocketHandler, WebSockets

CASES = {
    "400": 1008,
    "401": 1008,
    "403": 1008,
    "404": 1008,
    "429": 1008,
    "500": 1011,
    "503": 1011,
    "redirect": 1011,
    "response": 1008,
    "missing": 1008,
    "no code": 1011,
    "fault": 1011,
}


def act(what):
    if what == "redirect":
        abort(redirect("/login"))
    if what == "response":
        abort(flask.Response("no", 418))
    if what == "missing":
        request.args["token"]
    if what == "no code":
        raise HTTPException("of no status")
    if what == "fault":
        raise LookupError(what)
    abort(int(what), "a reason\nwith two lines")


class Site:
    def __init__(self, **config):
        self.app = Flask(__name__)
        self.app.config.update(config)
        self.sockets = WebSockets(self.app)
        self.told = []
        self.ended = []
        self.errors = []
        flask.got_request_exception.connect(self.tell, self.app)
        self.app.teardown_request(self.end)
        self.sockets.route("/handler")(self.handler())
        self.sockets.route("/function")(self.function)

    def tell(self, sender, exception):
        self.told.append(exception)

    def end(self, error):
        if g.get("acts"):
            self.ended.append(error)

    def handler(self):
        site = self

        class Acts(WebSocketHandler):
            def on_open(self):
                self.act(request.args.get("open"))

            def on_text(self, message):
                self.act(message)

            def act(self, what):
                if what:
                    g.acts = True
                    act(what)

            def on_error(self):
                site.errors.append(self.error)

        return Acts

    def function(self, ws):
        message = ws.receive()
        g.acts = True
        act(message)

    def close_code(self, path, message=None):
        client = self.app.test_client()
        with client.websocket_connect(path, propagate_exceptions=False) as ws:
            if message:
                ws.send(message)
            return ws.wait_closed()


@pytest.mark.parametrize("path", ["/handler", "/function"])
@pytest.mark.parametrize(("what", "code"), CASES.items())
def test_closes_with(path, what, code, caplog):
    """1008 for a client's mistake, and one line; 1011 for all else, and a traceback."""
    site = Site()
    assert site.close_code(path, what) == code
    [record] = [each for each in caplog.records if each.name == site.app.name]
    name = "Site.function" if path == "/function" else "Site.handler.<locals>.Acts.on_text"
    if code == 1008:
        assert record.levelname == "WARNING"
        assert not record.exc_info
        assert record.getMessage().startswith(f"{name} on {path} refuses its client")
        assert record.getMessage().isprintable()
    else:
        assert record.levelname == "ERROR"
        assert record.exc_info
        assert record.getMessage().startswith(f"Exception in {name} on {path}")


def test_in_on_open():
    """Where a client is refused too late for HTTP."""
    assert Site().close_code("/handler?open=403") == 1008


@pytest.mark.parametrize("path", ["/handler", "/function"])
def test_nobody_is_told_of_a_fault(path):
    """As of a view: it is an answer. `on_error` has it, and teardown functions have no error."""
    site = Site()
    site.close_code(path, "403")
    assert (site.told, site.ended) == ([], [None])
    assert [type(each).__name__ for each in site.errors] == ["Forbidden"] * (path == "/handler")
    assert not site.sockets.stats().failures
    site.close_code(path, "500")
    assert [type(each).__name__ for each in site.told] == ["InternalServerError"]
    assert [type(each).__name__ for each in site.ended[1:]] == ["InternalServerError"]
    assert sum(site.sockets.stats().failures.values()) == 1


@pytest.mark.parametrize(
    ("config", "what"),
    [("TRAP_HTTP_EXCEPTIONS", "403"), ("TRAP_BAD_REQUEST_ERRORS", "missing")],
)
def test_traps_for_those_who_look_for_them(config, what):
    """Flask's settings that make faults of them."""
    site = Site(**{config: True})
    assert site.close_code("/handler", what) == 1011
    assert len(site.told) == 1


def test_a_test_does_not_fail_for_it():
    """Of the test client, where other exceptions are raised."""
    site = Site(TESTING=True)
    with site.app.test_client().websocket_connect("/handler") as ws:
        ws.send("403")
        assert ws.wait_closed() == 1008
