"""A middleware that reads `wsgi.input` and puts a copy in its place."""

import io

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


class InputReplacer:
    """For views that want to read the body a second time."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        size = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(size))
        return self.app(environ, start_response)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = InputReplacer(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """A client that does not wait for the 101 is heard."""
    for path in ("/handler", "/function"):
        with site.knock(path, early="early") as client:
            assert client.read_text() == "early"
            client.leave()
