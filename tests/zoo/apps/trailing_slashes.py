"""Addresses with and without a slash at the end, strict and not, and a redirect of old ones."""

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

HANDLER, FUNCTION = "/handler/", "/function"

sockets = WebSockets()


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function/", strict_slashes=False)
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    app.add_url_rule("/handler/", "handler", lambda: accept_websocket_request(Echo()))
    app.add_url_rule("/old", "old", redirect_to="/handler/")
    return app


def promise(site):
    """Clients of WebSockets follow no redirects, so they are told by the status."""
    client = site.knock("/handler")
    assert client.status == 308
    assert client.header("Location").endswith("/handler/")
    assert site.knock("/old").status == 308
    assert site.ask("/function/") == "hello"
