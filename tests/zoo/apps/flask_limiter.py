"""Flask-Limiter: handshakes count as requests, and what is too much gets 429."""

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

sockets = WebSockets()
limiter = Limiter(get_remote_address, storage_uri="memory://", headers_enabled=True)


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
@limiter.limit("20/hour")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    limiter.init_app(app)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=limiter.exempt(lambda: "page"))

    @app.route("/handler")
    @limiter.limit("2/hour")
    def handler():
        return accept_websocket_request(Echo())

    return app


def promise(site):
    """Messages do not count; the third handshake is too many."""
    with site.open("/handler") as client:
        assert client.header("X-RateLimit-Remaining") == "0"
        for number in range(5):
            client.send_text(str(number))
            assert client.read_text() == str(number)
    assert site.knock("/handler").status == 429
