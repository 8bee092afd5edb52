"""Werkzeug's ProxyFix: scheme, host, prefix and address of the visitor, also for the origin."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "zoo.example",
    "X-Forwarded-Prefix": "/below",
    "Origin": "https://zoo.example",
}


sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


@sockets.route("/context")
class Telling(WebSocketHandler):
    def on_message(self, message):
        context = self.context
        scheme = "wss" if context.is_secure_connection else "ws"
        self.send(f"{scheme} {context.user_host_address} {context.request_uri}")


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """Callbacks know the visitor's address and its URL."""
    seen = site.ask("/context", headers=HEADERS)
    assert seen == "wss 203.0.113.9 https://zoo.example/below/context"
