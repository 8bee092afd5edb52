"""Flask-SocketIO in the same app: its middleware is around everything, its events in threads."""

from flask import Flask
from flask_socketio import SocketIO

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

ALONE = True
LOGS_ERRORS = True  # Werkzeug, of a WebSocket of python-engineio's that has ended

sockets = WebSockets()
socketio = SocketIO()
clients = WebSocketCollection("flask-socketio")


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        socketio.emit("said", message)
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


@socketio.on("message")
def tell(message):
    clients.broadcast(message)


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    sockets.init_app(app)
    socketio.init_app(app, async_mode="threading")
    app.add_url_rule("/", view_func=lambda: "page")
    return app


def promise(site):
    """Its polling sends what a handler's client gets by broadcast; its WebSockets open."""
    opened = site.get("/socket.io/?EIO=4&transport=polling").body
    session = opened.split('"sid":"')[1].split('"')[0]
    path = f"/socket.io/?EIO=4&transport=polling&sid={session}"
    with site.open("/handler") as client:
        assert site.post(path, raw="40").body == "OK"
        assert site.post(path, raw='42["message","by socket.io"]').body == "OK"
        assert client.read_text() == "by socket.io"
        client.leave()
    with site.open("/socket.io/?EIO=4&transport=websocket") as client:
        assert client.read_text().startswith("0{")
        client.send_text("40")
        assert client.read_text().startswith("40{")
