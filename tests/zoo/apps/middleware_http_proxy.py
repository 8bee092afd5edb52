"""Werkzeug's ProxyMiddleware: some paths are another server's."""

from flask import Flask
from werkzeug.middleware.http_proxy import ProxyMiddleware

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
    app.wsgi_app = ProxyMiddleware(app.wsgi_app, {"/elsewhere/": {"target": "http://127.0.0.1:9/"}})
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """What is the other's is not ours; that one is not there."""
    assert site.get("/elsewhere/").status in (404, 502)
