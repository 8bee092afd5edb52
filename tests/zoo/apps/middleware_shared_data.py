"""Werkzeug's SharedDataMiddleware in front: files, and the app for the rest."""

from pathlib import Path

from flask import Flask
from werkzeug.middleware.shared_data import SharedDataMiddleware

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


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = SharedDataMiddleware(app.wsgi_app, {"/files": str(Path(__file__).parent)})
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    assert site.get(f"/files/{Path(__file__).name}").content == Path(__file__).read_bytes()
