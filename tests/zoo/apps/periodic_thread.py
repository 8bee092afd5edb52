"""A thread that tells everybody the time, started with the app, outside of any context."""

import itertools
import threading

from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

ALONE = True
ANSWER = "hello"

sockets = WebSockets()
clients = WebSocketCollection("periodic-thread")


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/ticks")
class Ticking(WebSocketHandler):
    def on_open(self):
        clients.add(self)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def tick():
    pause = threading.Event()
    for number in itertools.count():
        clients.broadcast_json({"tick": number})
        pause.wait(0.02)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    threading.Thread(target=tick, daemon=True).start()
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    with site.open("/ticks") as client:
        first, second = (int(client.read_text().split(":")[1][:-1]) for _ in range(2))
        assert second == first + 1
