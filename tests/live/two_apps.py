"""Two apps behind one dispatcher, with different settings."""

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()


@sockets.route("/echo")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def make(limit):
    app = Flask(f"limit {limit}")
    app.config["WSHANDLER_MAX_MESSAGE_SIZE"] = limit
    sockets.init_app(app)
    return app


app = DispatcherMiddleware(Flask("root"), {"/one": make(10), "/two": make(20)})
