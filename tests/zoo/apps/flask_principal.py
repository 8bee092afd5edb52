"""Flask-Principal: permissions by the identity that the session holds."""

from flask import Flask, current_app, g
from flask_principal import (
    Identity,
    Permission,
    Principal,
    RoleNeed,
    identity_changed,
    identity_loaded,
)

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

PAGE = "/login"

sockets = WebSockets()
admins = Permission(RoleNeed("admin"))


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
@admins.require(403)
def function(ws):
    while True:
        ws.send(ws.receive() if admins.can() else g.identity.id)


def provide_role(sender, identity):
    if identity.id == "ann":
        identity.provides.add(RoleNeed("admin"))


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    Principal(app)
    identity_loaded.connect(provide_role, app)
    sockets.init_app(app)

    @app.get("/login")
    def login():
        identity_changed.send(current_app._get_current_object(), identity=Identity("ann"))
        return "ann"

    @app.route("/handler")
    @admins.require(403)
    def handler():
        return accept_websocket_request(Echo())

    return app


def promise(site):
    """Whoever has no role gets 403."""
    site.cookies.clear()
    assert site.knock("/handler").status == 403
