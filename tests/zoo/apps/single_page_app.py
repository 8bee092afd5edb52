"""A single-page app: files at the root, and index.html for whatever else there is."""

from flask import Flask

from flask_wshandler import (
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)

sockets = WebSockets()


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__, static_folder=".", static_url_path="")
    sockets.init_app(app)

    app.errorhandler(404)(lambda error: "index")
    app.add_url_rule("/", "index", lambda: "index")

    @app.route("/handler")
    def handler():
        return accept_websocket_request(Echo()) if is_websocket_request() else "handler"

    return app


def promise(site):
    """The same address answers a page; what is no WebSocket's is the app's page or a file."""
    assert site.get("/handler").body == "handler"
    assert site.get("/some/where").body == "index"
    assert site.knock("/some/where").status == 200
    assert site.get("/single_page_app.py").status == 200
