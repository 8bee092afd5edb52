"""The app under test: clients of one worker, broadcasts from another."""

import os

from flask import Flask, request
from loops import emit_for_view

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

app = Flask(__name__)
app.config["WSHANDLER_BUS"] = os.environ["BUS_URL"]
app.config["WSHANDLER_BUS_NAME"] = "benchmark"
sockets = WebSockets(app)
clients = WebSocketCollection("clients", history=int(os.environ["HISTORY"]) or None)


@sockets.route("/ws")
class Client(WebSocketHandler):
    """Listens."""

    def on_open(self):
        clients.add(self)
        self.send("ready")


@app.get("/emit")
def emit():
    """Broadcast so many messages in one go; the seconds that the calls took."""
    return emit_for_view(clients.broadcast, request.args)
