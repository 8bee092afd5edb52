"""Middlewares that wrap the body in an iterator with a `close` of its own."""

from flask import Flask
from werkzeug.wsgi import ClosingIterator

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


closed = []


class Watched:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        done = lambda: closed.append(environ["PATH_INFO"])  # noqa: E731
        return ClosingIterator(self.app(environ, start_response), done)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = Watched(Watched(app.wsgi_app))
    app.add_url_rule("/", "page", lambda: "page")
    return app
