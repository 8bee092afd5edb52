"""The app of the servers under test: an echo, measured."""

import json
import os

from flask import Flask
from prometheus_client import Counter

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from flask_wshandler.prometheus import PrometheusMetrics

app = Flask(__name__)
for key, value in os.environ.items():
    if key.startswith("WSHANDLER_"):
        app.config[key] = json.loads(value)
sockets = WebSockets(app)
PrometheusMetrics(app, path="/metrics")
everybody = WebSocketCollection("everybody")
kept = WebSocketCollection("kept", history=100)


@app.logger.addFilter
def refuse(record):
    """A filter that raises, as one that reads the request where there is none."""
    if record.exc_info and isinstance(record.exc_info[1], ArithmeticError):
        raise RuntimeError("working outside of request context")
    return True


pages = Counter("pages", "Pages of the app itself.")


@app.get("/page")
def page():
    pages.inc()
    return {"pid": os.getpid()}


@app.get("/stats")
def stats():
    return {"pid": os.getpid()}


@sockets.route("/echo")
class Echo(WebSocketHandler):
    def on_open(self):
        everybody.add(self)

    def on_message(self, message):
        if message == "pid":
            message = str(os.getpid())
        elif message == "keep":
            kept.broadcast(message)
        elif message == "fail":
            raise LookupError("as it was told")
        elif message == "fault":
            raise ArithmeticError("which can't even be logged")
        self.send(message)
