"""Flask-Talisman: HTTPS is forced, and every response has its security headers."""

from flask import Flask
from flask_talisman import Talisman
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {"X-Forwarded-Proto": "https", "Origin": "https://flask-talisman.zoo"}

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
    app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1)
    Talisman(app, content_security_policy={"default-src": "'self'"})
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: "page")
    return app


def promise(site):
    """The headers on the 101, too; a handshake without TLS is sent on to it."""
    client = site.open("/handler", HEADERS)
    assert client.header("Strict-Transport-Security").startswith("max-age=")
    assert client.header("X-Frame-Options") == "SAMEORIGIN"
    assert site.knock("/handler").status == 302
