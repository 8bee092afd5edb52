"""Class-based views: a MethodView that answers a page or a WebSocket, and an HttpHandler."""

from flask import Flask, request
from flask.views import MethodView

from flask_wshandler import (
    HttpHandler,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)

HANDLER, FUNCTION = "/", "/function"

sockets = WebSockets()


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def counted(view):
    def wrapper(**values):
        counts.append(request.method)
        return view(**values)

    return wrapper


counts = []


class Items(MethodView):
    init_every_request = False
    decorators = (counted,)

    def get(self):
        if is_websocket_request():
            return accept_websocket_request(Echo())
        return "items"

    def post(self):
        return request.form["name"], 201


class Reusable(HttpHandler):
    is_reusable = True

    def process_request(self, context):
        if context.is_websocket_request:
            return context.accept_websocket_request(Echo())
        return "page"


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=Items.as_view("items"))
    app.add_url_rule("/reusable", view_func=Reusable.as_view("reusable"))
    app.add_url_rule("/counts", "counts", lambda: counts)
    return app


def promise(site):
    """The other methods, and the decorators of the class around the handshake."""
    assert site.post("/", {"name": "new"}).status == 201
    assert site.ask("/reusable") == "hello"
    assert site.get("/reusable").body == "page"
    assert site.get("/counts").json() == ["GET", "GET", "POST"]
