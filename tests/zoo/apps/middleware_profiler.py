"""Werkzeug's ProfilerMiddleware, which joins the body before it passes it on."""

import io

from flask import Flask
from werkzeug.middleware.profiler import ProfilerMiddleware

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


profiles = io.StringIO()


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = ProfilerMiddleware(app.wsgi_app, profiles)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """Every request has its profile."""
    assert site.get("/").body == "page"
