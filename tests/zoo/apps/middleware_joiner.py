"""A middleware that makes one piece of the body, as minifiers and filters do."""

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


class Joiner:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        pieces = self.app(environ, start_response)
        try:
            body = b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        return [body.replace(b"page", b"PAGE")]


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = Joiner(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    assert site.get("/").body == "PAGE"
