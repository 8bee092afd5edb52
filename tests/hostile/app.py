"""The app that hostile clients meet, configured by WSHANDLER_* in the environment, as JSON."""

import asyncio
import json
import os

import gevent
from flask import Flask, g

from flask_wshandler import (
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)
from tests.notes import note

app = Flask(__name__)
for key, value in os.environ.items():
    if key.startswith("WSHANDLER_"):
        app.config[key] = json.loads(value)

sockets = WebSockets(app)


@app.get("/")
def index():
    return "plain"


@app.get("/stats")
def stats():
    figures = sockets.stats()
    return {"connections": figures.connections, "threads": figures.threads, "pid": os.getpid()}


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@app.route("/echo")
def echo():
    if is_websocket_request():
        return accept_websocket_request(Echo())
    return "This address speaks WebSocket.", 426


@sockets.route("/sink")
class Sink(WebSocketHandler):
    """Takes whatever comes."""

    def on_message(self, message):
        pass


class Recorder(WebSocketHandler):
    """Notes its callbacks, and closes when it is told to."""

    def __init__(self, id):
        self.id = id

    def on_open(self):
        note("open", id=self.id)

    def on_message(self, message):
        note("message", id=self.id, size=len(message))
        if message == "close":
            self.close(4000)

    def on_close(self):
        note("close", id=self.id, code=self.close_code)


@sockets.route("/recorder/<id>")
class RecorderRoute(Recorder):
    pass


@sockets.route("/flood/<id>")
class Flood(Recorder):
    """Sends until the client is given up."""

    def on_open(self):
        super().on_open()
        while self.send(bytes(65536)):
            pass


@sockets.route("/last-words/<id>")
class LastWords(Recorder):
    """Sends more than a socket takes, and then closes."""

    def on_message(self, message):
        self.send(bytes(int(message)))
        self.close(4000)


ERRORS = {
    "ValueError": ValueError,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
    "GeneratorExit": GeneratorExit,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "Timeout": gevent.Timeout,
}


@sockets.route("/raises/<where>/<error>/<id>")
class Raises(WebSocketHandler):
    """Raises in one of its callbacks, or in all."""

    def __init__(self, where, error, id):
        self.where = where
        self.exception = ERRORS[error]
        self.id = id

    def _called(self, name):
        note(name, id=self.id)
        if self.where in (name, "all"):
            raise self.exception(f"in {name}")

    def on_open(self):
        self._called("on_open")

    def on_message(self, message):
        if self.where == "on_error":
            raise ValueError("for on_error")
        self._called("on_message")

    def on_error(self):
        self._called("on_error")

    def on_close(self):
        self._called("on_close")


@sockets.route("/raises-in-teardown/<id>")
class RaisesInTeardown(Recorder):
    def on_message(self, message):
        super().on_message(message)
        g.fails = True


@app.teardown_appcontext
def tear_down(error):
    if g.get("fails"):
        raise ValueError("in the teardown function")
