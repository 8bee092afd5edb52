"""This package, as its users write an app."""

import os
import time

from flask import Flask, request, session, url_for

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

app = Flask(__name__)
app.secret_key = "of no importance"
app.config["WSHANDLER_COMPRESSION"] = "COMPRESSION" in os.environ
sockets = WebSockets(app)
clients = WebSocketCollection("clients")


@sockets.route("/echo")
class Echo(WebSocketHandler):
    """Answers a message with the same."""

    def on_message(self, message):
        self.send(message)


USES = {
    "path": lambda handler: request.path,
    "args": lambda handler: request.args,
    "query": lambda handler: handler.context.query_string,
    "session": lambda handler: session.get("name"),
    "url": lambda handler: url_for("static", filename="some.js"),
}


@sockets.route("/echo/<use>")
class Using(WebSocketHandler):
    """Looks at something before it answers."""

    def __init__(self, use):
        self.use = USES[use]

    def on_message(self, message):
        self.use(self)
        self.send(message)


@sockets.route("/broadcast")
class Broadcast(WebSocketHandler):
    """Sends a message to all of its kind."""

    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        clients.broadcast(message)


@sockets.route("/slow")
class Slow(WebSocketHandler):
    """Waits, as for a database, before it answers."""

    def on_message(self, message):
        time.sleep(0.01)
        self.send(message)


@app.get("/")
def index():
    """A page."""
    return "ok"
