"""A response class of one's own, views that return pairs, and `make_response` around it all."""

from flask import Flask, Response, make_response

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

sockets = WebSockets()


class JsonResponse(Response):
    default_mimetype = "application/json"
    charset = "utf-8"

    def __init__(self, response=None, status=200, **options):
        super().__init__(response, status, **options)
        self.headers["X-Class"] = "JsonResponse"

    @classmethod
    def force_type(cls, response, environ=None):
        if isinstance(response, list):
            response = cls(str(response))
        return super().force_type(response, environ)


class TolerantFlask(Flask):
    response_class = JsonResponse

    def make_response(self, value):
        return super().make_response("" if value is None else value)


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = TolerantFlask(__name__)
    sockets.init_app(app)

    @app.route("/")
    def page():
        return None

    @app.route("/handler")
    def handler():
        return accept_websocket_request(Echo()), {"X-Pair": "yes"}

    @app.route("/made")
    def made():
        response = make_response(accept_websocket_request(Echo()))
        response.set_cookie("visited", "yes")
        return response

    return app


def promise(site):
    """What class and view set is on the 101."""
    pair, made = site.open("/handler"), site.open("/made")
    assert (pair.header("X-Class"), pair.header("X-Pair")) == ("JsonResponse", "yes")
    assert made.header("Set-Cookie") == "visited=yes; Path=/"
    assert site.ask("/made") == "hello"
