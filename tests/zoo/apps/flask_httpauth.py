"""Flask-HTTPAuth as docs/howto/authentication.md has it: the view gives the user to the handler."""

from flask import Flask
from flask_httpauth import HTTPTokenAuth

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

HEADERS = {"Authorization": "Bearer secret"}
ANSWER = "hello ann"

sockets = WebSockets()
auth = HTTPTokenAuth()
auth.verify_token({"secret": "ann"}.get)


class Named(WebSocketHandler):
    def __init__(self, user):
        self.user = user

    def on_message(self, message):
        self.send(f"{message} {self.user}")


@sockets.route("/function")
@auth.login_required
def function(ws):
    user = auth.current_user()
    while True:
        ws.send(f"{ws.receive()} {user}")


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=auth.login_required(lambda: auth.current_user()))

    @app.route("/handler")
    @auth.login_required
    def handler():
        return accept_websocket_request(Named(auth.current_user()))

    return app
