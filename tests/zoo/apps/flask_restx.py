"""Flask-RESTX: its API has error handlers, routes and response classes of its own."""

from flask import Flask
from flask_restx import Api, Resource

from flask_wshandler import (
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)

PAGE = "/api/items"
HANDLER = "/api/live"

sockets = WebSockets()


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


class Items(Resource):
    def get(self):
        return ["item"]


class Live(Resource):
    def get(self):
        if is_websocket_request():
            return accept_websocket_request(Echo())
        return {"live": "by WebSocket"}, 426


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    api = Api(app, prefix="/api", doc="/api/doc")
    api.add_resource(Items, "/items")
    api.add_resource(Live, "/live")
    return app


def promise(site):
    """A refusal is JSON like the API's other errors."""
    assert site.get("/api/live").status == 426
    refused = site.knock("/api/live", {"Origin": "http://elsewhere.example"})
    assert (refused.status, refused.header("Content-Type")) == (403, "application/json")
