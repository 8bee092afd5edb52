"""A middleware that is a generator: it passes pieces on, and looks at the clock after the last."""

import time

from flask import Flask

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


class Timed:
    def __init__(self, app):
        self.app = app
        self.times_s = []

    def __call__(self, environ, start_response):
        start_s = time.perf_counter()
        pieces = self.app(environ, start_response)
        try:
            yield from pieces
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
            self.times_s.append(time.perf_counter() - start_s)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = Timed(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """It is done with a handshake at once, not at the connection's end."""
    with site.open("/handler") as client:
        assert site.get("/times").status == 404
        client.leave()
