"""flask 6123: a generator of stream_with_context that a callback never finishes."""

from flask import Flask, request, stream_with_context

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
kept, torn_down = [], []


def first_piece(message):
    @stream_with_context
    def pieces():
        yield message
        yield request.path

    generator = pieces()
    kept.append(generator)
    return next(iter(generator))


@sockets.route("/handler")
class Streaming(WebSocketHandler):
    def on_message(self, message):
        self.send(first_piece(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(first_piece(ws.receive()))


@sockets.route("/after")
class After(WebSocketHandler):
    def on_message(self, message):
        self.send(request.path)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.teardown_appcontext(lambda error: torn_down.append(error))
    app.add_url_rule("/", "page", lambda: str(len(torn_down)))
    return app


def promise(site):
    """Others have their own request afterwards, and teardown goes on."""
    before = int(site.get("/").body)
    assert site.ask("/after") == "/after"
    site.wait_for(lambda: int(site.get("/").body) >= before + 3, "teardown")
