"""Flask-Compress: pages are compressed, a 101 is not touched."""

import gzip

from flask import Flask
from flask_compress import Compress

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {"Accept-Encoding": "gzip, deflate"}

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
    app.config.update(COMPRESS_MIN_SIZE=1, COMPRESS_MIMETYPES=["text/html"])
    Compress(app)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: "page " * 1000)
    return app


def promise(site):
    response = site.get("/", {"Accept-Encoding": "gzip"})
    assert gzip.decompress(response.content) == b"page " * 1000
    assert site.open("/handler", HEADERS).header("Content-Encoding") is None
