"""Flask-Caching around views that answer pages and WebSockets, by a decorator of everybody's."""

from flask import Flask
from flask_caching import Cache

from flask_wshandler import (
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)

LOGS_ERRORS = True

sockets = WebSockets()
cache = Cache()


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    app.config["CACHE_TYPE"] = "SimpleCache"
    cache.init_app(app)
    sockets.init_app(app)

    @app.route("/")
    @cache.cached(60, unless=is_websocket_request)
    def page():
        return accept_websocket_request(Echo()) if is_websocket_request() else "page"

    @app.route("/handler")
    @cache.cached(60)
    def handler():
        return accept_websocket_request(Echo())

    return app


def visit(site):
    """Where the handshake itself is cached, the second client is told that it has no WebSocket."""
    assert site.get("/").body == "page"
    assert site.ask("/") == site.ask("/") == site.ask("/function") == "hello"
    assert site.ask("/handler") == "hello"
    assert site.knock("/handler").status == 500
    assert site.get("/handler").status == 500
    assert "is_websocket_request() applies" in site.log
