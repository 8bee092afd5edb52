"""Flask-Login: login_required, current_user in callbacks, another user after the next login."""

import flask_login
from flask import Flask, request
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

PAGE = "/login?name=ann"
ANSWER = "hello ann"

sockets = WebSockets()
login_manager = LoginManager()


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@login_manager.user_loader
def load_user(name):
    return User(name)


class Named(WebSocketHandler):
    def on_message(self, message):
        self.send(f"{message} {current_user.id}")


@sockets.route("/function")
@login_required
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {current_user.id}")


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    sockets.init_app(app)
    login_manager.init_app(app)

    @app.get("/login")
    def login():
        login_user(User(request.args["name"]), remember=True)
        return flask_login.__name__

    @app.route("/handler")
    @login_required
    def handler():
        return accept_websocket_request(Named())

    return app


def promise(site):
    """A connection keeps its user when the browser gets another; nobody gets none."""
    with site.open("/handler") as client:
        site.get("/login?name=bob")
        client.send_text("still")
        assert client.read_text() == "still ann"
        client.leave()
    assert site.ask("/handler") == "hello bob"
    site.cookies.clear()
    assert site.knock("/handler").status == 401
