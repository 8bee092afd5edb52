"""A filter on the root logger's handler that reads `request`, whoever logs."""

import logging

from flask import Flask, current_app, request

from flask_wshandler import WebSocketHandler, WebSockets

ALONE = True
LOGS_ERRORS = True

sockets = WebSockets()


class PathFilter(logging.Filter):
    def filter(self, record):
        record.path = request.path
        return True


@sockets.route("/handler")
class Logging(WebSocketHandler):
    def on_message(self, message):
        current_app.logger.warning("handler: %s", message)
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        message = ws.receive()
        current_app.logger.warning("function: %s", message)
        ws.send(message)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(path)s: %(message)s"))
    handler.addFilter(PathFilter())
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("werkzeug").propagate = False  # `flask run` itself does not bear it
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """Clients that break the protocol, vanish or are refused, and the next one is served."""
    with site.open("/handler") as client:
        client.send(b"\xff\xff")
        assert client.read_close()[0] == 1002
    site.open("/handler").reset()
    site.open("/function").reset()
    assert site.knock("/handler", {"Origin": "http://elsewhere.example"}).status == 403
    assert site.ask("/handler") == site.ask("/function") == "hello"
    assert "/handler: handler: hello" in site.log
    assert "Error handling request" not in site.log
