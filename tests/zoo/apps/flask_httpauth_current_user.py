"""Flask-HTTPAuth: basic authentication, and callbacks that ask for its user."""

from flask import Flask
from flask_httpauth import HTTPBasicAuth

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

HEADERS = {"Authorization": "Basic YW5uOnNlY3JldA=="}
ANSWER = "hello ann"

sockets = WebSockets()
auth = HTTPBasicAuth()


@auth.verify_password
def verify_password(username, password):
    return username if (username, password) == ("ann", "secret") else None


class Named(WebSocketHandler):
    def on_message(self, message):
        self.send(f"{message} {auth.current_user()}")


@sockets.route("/function")
@auth.login_required
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {auth.current_user()}")


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)

    @app.get("/")
    @auth.login_required
    def page():
        return auth.current_user()

    @app.route("/handler")
    @auth.login_required
    def handler():
        return accept_websocket_request(Named())

    return app


def promise(site):
    """Whoever says nothing is asked."""
    client = site.knock("/handler")
    assert (client.status, client.header("WWW-Authenticate")) == (
        401,
        'Basic realm="Authentication Required"',
    )
