"""Routes of one host or another."""

from flask import Flask, request

from flask_wshandler import WebSocketHandler, WebSockets

HOST = "www.host-matching.zoo"
ANSWER = "hello www.host-matching.zoo"

sockets = WebSockets()


@sockets.route("/handler", host="<name>.host-matching.zoo")
class Named(WebSocketHandler):
    def __init__(self, name):
        assert name == "www"

    def on_message(self, message):
        self.send(f"{message} {request.host}")


@sockets.route("/function", host="www.host-matching.zoo")
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {request.host}")


def create_app():
    app = Flask(__name__, host_matching=True, static_host="static.host-matching.zoo")
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda name: name, host="<name>.host-matching.zoo")
    return app


def promise(site):
    """The other host has no such function."""
    assert site.knock("/function", host="api.host-matching.zoo").status == 404
