"""Werkzeug's debugger around the app, as `flask run --debug` and many a wsgi.py have it."""

from flask import Flask
from werkzeug.debug import DebuggedApplication

from flask_wshandler import WebSocketHandler, WebSockets

LOGS_ERRORS = True

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
    app.debug = True
    app.wsgi_app = DebuggedApplication(app.wsgi_app, evalex=True)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    app.add_url_rule("/fault", "fault", lambda: 1 / 0)
    return app


def promise(site):
    """A view's error shows as in any app with it, and a WebSocket afterwards is as before."""
    assert "ZeroDivisionError" in site.get("/fault").body
    assert site.ask("/handler") == site.ask("/function") == "hello"
