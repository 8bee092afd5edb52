"""A ThreadPoolExecutor that callbacks give work to, and whose results they wait for."""

from concurrent.futures import ThreadPoolExecutor

from flask import Flask, current_app, request

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "HELLO"

sockets = WebSockets()
pool = ThreadPoolExecutor(2)


@sockets.route("/handler")
class Waiting(WebSocketHandler):
    def on_message(self, message):
        self.send(pool.submit(message.upper).result())


@sockets.route("/later")
class Later(WebSocketHandler):
    """Does not wait; the callback is long over when its result is sent."""

    def on_message(self, message):
        pool.submit(self.send_later, current_app._get_current_object(), message)

    def send_later(self, app, message):
        with app.test_request_context("/elsewhere"):
            self.send(f"{message} from {request.path}, {self.context.path}")


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(pool.submit(ws.receive().upper).result())


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: pool.submit("page".upper).result())
    return app


def promise(site):
    assert site.ask("/later") == "hello from /elsewhere, /later"
