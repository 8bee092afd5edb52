"""`after_request` functions that do to a 101 what they do to every response."""

import logging

from flask import Flask, request

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
logger = logging.getLogger(__name__)


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

    @app.after_request
    def log(response):
        logger.info("%s %s %r", request.path, response.status, response.get_data(as_text=True))
        return response

    @app.after_request
    def cache(response):
        response.cache_control.no_store = True
        response.add_etag()
        response.vary.add("Cookie")
        return response.make_conditional(request)

    @app.after_request
    def describe(response):
        response.headers["Content-Type"] = "text/plain"
        response.headers["X-Length"] = response.content_length or 0
        response.freeze()
        return response

    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    client = site.open("/handler")
    assert client.header("Cache-Control") == "no-store"
    assert client.header("X-Length") == "0"
