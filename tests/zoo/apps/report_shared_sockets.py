"""The chat that people write with flask-sock: a set of `ws`, to which every function sends."""

from flask import Flask
from simple_websocket import ConnectionClosed

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
clients = set()


def tell_all(message):
    for client in clients.copy():
        try:
            client.send(message)
        except ConnectionClosed:
            clients.discard(client)


@sockets.route("/handler")
class Telling(WebSocketHandler):
    """A handler may tell them, too."""

    def on_message(self, message):
        tell_all(f"a handler says {message}")
        self.send(message)


@sockets.route("/function")
def function(ws):
    clients.add(ws)
    try:
        while True:
            tell_all(ws.receive())
    finally:
        clients.discard(ws)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: [client.connected for client in clients])
    return app


def promise(site):
    ann, bob = site.open("/function"), site.open("/function")
    ann.send_text("from ann")
    assert ann.read_text() == "from ann"
    bob.send_text("from bob")
    assert [ann.read_text(), bob.read_text().replace("ann", "bob")] == ["from bob"] * 2
