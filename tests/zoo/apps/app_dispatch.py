"""Flask's application dispatching: another app below /api by DispatcherMiddleware."""

from flask import Flask, request, url_for
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_wshandler import WebSocketHandler, WebSockets

HANDLER, FUNCTION = "/api/handler", "/api/function"
ANSWER = "hello /api /api/items/"

sockets = WebSockets()


def answer(message):
    return f"{message} {request.script_root} {url_for('items')}"


@sockets.route("/handler")
class OfApi(WebSocketHandler):
    def on_message(self, message):
        self.send(answer(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(answer(ws.receive()))


def create_app():
    front = Flask("front")
    front.add_url_rule("/", view_func=lambda: "front")
    api = Flask("api")
    sockets.init_app(api)
    api.add_url_rule("/items/", "items", lambda: "items")
    front.wsgi_app = DispatcherMiddleware(front.wsgi_app, {"/api": api})
    return front


def promise(site):
    """The app in front, which has no WebSockets, has none."""
    assert site.get("/api/items/").body == "items"
    assert site.knock("/handler").status == 404
