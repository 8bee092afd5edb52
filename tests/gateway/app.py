"""Gateways to the services that the environment names, configured as tests/live/app.py is."""

import json
import os

from flask import Flask, request

from flask_wshandler import TcpGateway, WebSocketHandler, WebSockets, accept_websocket_request
from tests.notes import note

app = Flask(__name__)
for key, value in os.environ.items():
    if key.startswith("WSHANDLER_"):
        app.config[key] = json.loads(value)
sockets = WebSockets(app)

ADDRESSES = {}
for name, address in json.loads(os.environ.get("SERVICES", "{}")).items():
    ADDRESSES[name] = tuple(address) if isinstance(address, list) else address


class Noting(TcpGateway):
    """Says when it has ended."""

    connect_timeout = 2.0

    def on_close(self):
        super().on_close()
        note("close", code=self.close_code, id=self.context.query_string.get("id"))


@app.get("/to/<name>")
def gateway(name):
    subprotocol = (
        "binary" if "binary" in request.headers.get("Sec-WebSocket-Protocol", "") else None
    )
    return accept_websocket_request(Noting(ADDRESSES[name]), subprotocol=subprotocol)


@sockets.route("/routed")
class Routed(TcpGateway):
    address = ADDRESSES.get("routed", "/nowhere")


@sockets.route("/idle")
class Idle(WebSocketHandler):
    """No gateway."""


@app.get("/stats")
def stats():
    return {"pid": os.getpid()}
