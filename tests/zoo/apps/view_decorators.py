"""Flask's view decorators: login_required, around views, handlers' views and functions."""

import functools

from flask import Flask, abort, g, request, session

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

HEADERS = {"X-User": "ann"}
ANSWER = "hello ann"

sockets = WebSockets()


def login_required(view):
    @functools.wraps(view)
    def decorated_view(*args, **values):
        if g.user is None:
            abort(401)
        return view(*args, **values)

    return decorated_view


class Named(WebSocketHandler):
    def __init__(self, user):
        self.user = user

    def on_message(self, message):
        self.send(f"{message} {self.user}")


@sockets.route("/function")
@login_required
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {g.user}")


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    sockets.init_app(app)

    @app.before_request
    def load_user():
        g.user = request.headers.get("X-User") or session.get("user")

    @app.route("/")
    @login_required
    def page():
        return g.user

    @app.route("/handler")
    @login_required
    def handler():
        return accept_websocket_request(Named(g.user))

    return app


def promise(site):
    """Who is nobody gets 401."""
    assert site.get("/").status == 401
    assert site.knock("/handler").status == 401
