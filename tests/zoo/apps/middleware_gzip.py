"""A middleware that compresses every body, whatever it is."""

import gzip

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {"Accept-Encoding": "gzip"}

sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


class Gzip:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        if "gzip" not in environ.get("HTTP_ACCEPT_ENCODING", ""):
            return self.app(environ, start_response)
        answer = []
        pieces = self.app(environ, lambda *head: answer.extend(head))
        body = gzip.compress(b"".join(pieces))
        status, headers = answer[:2]
        if not status.startswith("1"):
            headers = [pair for pair in headers if pair[0] != "Content-Length"]
            headers.append(("Content-Encoding", "gzip"))
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers)
        return [body]


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = Gzip(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    assert gzip.decompress(site.get("/", HEADERS).content) == b"page"
