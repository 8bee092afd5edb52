"""This package. Its clients stay in a collection while they are away."""

import threading

from flask import Flask
from returning.stream import Ends, add_pages

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

app = Flask(__name__)
app.config.update(WSHANDLER_PING_INTERVAL=2, WSHANDLER_PING_TIMEOUT=2)
sockets = WebSockets(app)
clients = WebSocketCollection("clients")
end = Ends()
is_opened = threading.Event()


@sockets.route("/stream")
class Stream(WebSocketHandler):
    """One of those who are sent numbers, and send some."""

    def on_open(self):
        clients.add(self)
        is_opened.set()

    def on_text(self, number):
        end.came.append(int(number))


def send(number):
    """To all who are there, or come back; a client is connected a moment before `on_open`."""
    is_opened.wait()
    with app.app_context():
        clients.broadcast(str(number))


add_pages(app, end, send)
