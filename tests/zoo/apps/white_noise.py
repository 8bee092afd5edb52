"""WhiteNoise around the app: it serves files, and lets everything else through."""

from pathlib import Path

from flask import Flask
from whitenoise import WhiteNoise

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
    app.wsgi_app = WhiteNoise(app.wsgi_app, root=Path(__file__).parent, prefix="files/")
    app.add_url_rule("/", view_func=lambda: "page")
    return app


def promise(site):
    assert site.get(f"/files/{Path(__file__).name}").content == Path(__file__).read_bytes()
