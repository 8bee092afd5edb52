"""One function for several routes, by functools.partial and by bound methods."""

from functools import partial

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

ANSWER = "hello!"

sockets = WebSockets()


class Marked(WebSocketHandler):
    def __init__(self, mark):
        self.mark = mark

    def on_message(self, message):
        self.send(message + self.mark)


def answer(ws, mark):
    while True:
        ws.send(ws.receive() + mark)


class Room:
    def __init__(self, mark):
        self.mark = mark

    def enter(self, ws):
        answer(ws, self.mark)


def handler(mark):
    return accept_websocket_request(Marked(mark))


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    app.add_url_rule("/handler", "handler", partial(handler, "!"))
    sockets.route("/function", endpoint="function")(partial(answer, mark="!"))
    sockets.route("/room", endpoint="room")(Room("?").enter)
    return app


def promise(site):
    assert site.ask("/room") == "hello?"
