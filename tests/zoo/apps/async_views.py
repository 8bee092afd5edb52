"""Async views and request functions: `flask[async]`.

No async teardown: it would run beside the next request, and gevent's patches let asyncio have one
loop at a time.
"""

from flask import Flask, g

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

ANSWER = "hello"

sockets = WebSockets()


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

    @app.before_request
    async def load():
        g.loaded = True

    @app.after_request
    async def mark(response):
        response.headers["X-Loaded"] = str(g.loaded)
        return response

    @app.route("/")
    async def page():
        return "page"

    @app.route("/handler")
    async def handler():
        return accept_websocket_request(Echo())

    return app


def promise(site):
    assert site.open("/handler").header("X-Loaded") == "True"
    assert site.ask("/handler") == "hello"
