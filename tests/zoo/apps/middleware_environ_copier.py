"""Middlewares that give the app an environ of its own, with a prefix and an id in it."""

import itertools

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets

PAGE, HANDLER, FUNCTION = "/v1/", "/v1/handler", "/v1/function"


sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


ids = itertools.count(1)


@sockets.route("/id")
class Id(WebSocketHandler):
    def on_message(self, message):
        environ = self.context.server_variables
        self.send(f"{environ['zoo.id'] > 0} {environ['SCRIPT_NAME']} {self.context.request_uri}")


class Prefixed:
    def __init__(self, app, prefix):
        self.app = app
        self.prefix = prefix

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"].removeprefix(self.prefix)
        own = {**environ, "SCRIPT_NAME": self.prefix, "PATH_INFO": path, "zoo.id": next(ids)}
        return self.app(own, start_response)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = Prefixed(app.wsgi_app, "/v1")
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    assert site.ask("/v1/id") == "True /v1 http://middleware-environ-copier.zoo/v1/id"
