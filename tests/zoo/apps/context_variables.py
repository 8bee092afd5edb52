"""Context variables set by `before_request`, as structlog and tracers do."""

from contextvars import ContextVar

from flask import Flask, request

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {"X-Request-Id": "zoo-1"}
ANSWER = "hello of zoo-1 after nothing"

sockets = WebSockets()
request_id = ContextVar("request_id", default="nobody")
last_message = ContextVar("last_message", default="nothing")


def answer(message):
    last = last_message.get()
    last_message.set(message)
    return f"{message} of {request_id.get()} after {last}"


@sockets.route("/handler")
class Answering(WebSocketHandler):
    def on_message(self, message):
        self.send(answer(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(answer(ws.receive()))


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)

    @app.before_request
    def note_id():
        request_id.set(request.headers.get("X-Request-Id"))

    app.add_url_rule("/", "page", lambda: request_id.get())
    return app


def promise(site):
    """Each client has what its own callbacks have set."""
    for path in ("/handler", "/function"):
        ann, bob = (site.open(path, {"X-Request-Id": name}) for name in ("ann", "bob"))
        for last, message in (("nothing", "one"), ("one", "two")):
            for name, client in (("ann", ann), ("bob", bob)):
                client.send_text(message)
                assert client.read_text() == f"{message} of {name} after {last}"
