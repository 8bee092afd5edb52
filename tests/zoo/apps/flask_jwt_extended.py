"""Flask-JWT-Extended: a token in the query string, as browsers can't set headers."""

from flask import Flask
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt_identity,
    jwt_required,
)

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

ANSWER = "hello ann"

sockets = WebSockets()


class Named(WebSocketHandler):
    def on_message(self, message):
        self.send(f"{message} {get_jwt_identity()}")


@sockets.route("/function")
@jwt_required(locations="query_string")
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {get_jwt_identity()}")


def create_app():
    app = Flask(__name__)
    app.config.update(
        JWT_SECRET_KEY="a key of the zoo, of thirty-two bytes or more",
        JWT_TOKEN_LOCATION=["query_string"],
        JWT_QUERY_STRING_NAME="token",
    )
    JWTManager(app)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: create_access_token("ann"))

    @app.route("/handler")
    @jwt_required()
    def handler():
        return accept_websocket_request(Named())

    return app


def visit(site):
    token = site.get("/").body
    for path in ("/handler", "/function"):
        assert site.ask(f"{path}?token={token}") == ANSWER
    assert site.knock(f"/handler?token=x{token}").status == 422
    assert site.knock("/handler").status == 401
