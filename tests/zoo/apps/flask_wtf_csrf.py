"""Flask-WTF: CSRFProtect over all views; a handshake is a GET and needs no token."""

from flask import Flask, render_template_string
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
csrf = CSRFProtect()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/token")
class Token(WebSocketHandler):
    """A page that lives on its WebSocket gets the token for its forms by it."""

    def on_message(self, message):
        self.send(render_template_string("{{ csrf_token() }}"))


@sockets.route("/function")
def function(ws):
    while True:
        generate_csrf()
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    csrf.init_app(app)
    sockets.init_app(app)
    app.add_url_rule("/", "page", generate_csrf)
    app.add_url_rule("/form", "form", lambda: "taken", methods=["POST"])
    return app


def promise(site):
    """The token of a callback is one that a form may use."""
    token = site.ask("/token")
    assert site.post("/form").status == 400
    assert site.post("/form", {"csrf_token": token}).body == "taken"
