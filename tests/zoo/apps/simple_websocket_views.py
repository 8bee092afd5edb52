"""Views that use simple-websocket themselves, beside ours, as its documentation has them."""

import simple_websocket
from flask import Flask, request

from flask_wshandler import WebSocketHandler, WebSockets

ALONE = True  # what it logs at the end may come late
LOGS_ERRORS = True

sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")

    @app.route("/echo", websocket=True)
    def echo():
        ws = simple_websocket.Server(request.environ)
        try:
            while True:
                ws.send(f"{ws.receive()} {request.path}")
        except simple_websocket.ConnectionClosed:
            pass
        return ""

    return app


def visit(site):
    """They talk as ever; how their server takes the end is not ours to promise."""
    assert site.get("/").body == "page"
    assert site.ask("/handler") == site.ask("/function") == "hello"
    with site.open("/echo") as client:
        client.send_text("hello")
        assert client.read_text() == "hello /echo"
