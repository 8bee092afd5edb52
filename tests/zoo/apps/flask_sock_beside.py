"""flask-sock in the same app, not changed yet, with its own routes."""

from flask import Flask, request
from flask_sock import Sock

from flask_wshandler import WebSocketHandler, WebSockets

sock = Sock()
sockets = WebSockets()


@sock.route("/old")
def old(ws):
    while True:
        ws.send(f"{ws.receive()} {request.path}")


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    sock.init_app(app)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: "page")
    return app


def promise(site):
    """Its function answers as ever."""
    with site.open("/old") as client:
        client.send_text("hello")
        assert client.read_text() == "hello /old"
