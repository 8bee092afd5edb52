"""A middleware that adds headers by a `start_response` of its own."""

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


class HeaderSetter:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        def with_header(status, headers, exc_info=None):
            return start_response(status, [*headers, ("X-Zoo", status[:3])], exc_info)

        return self.app(environ, with_header)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = HeaderSetter(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """On the 101, too, and once."""
    assert site.get("/").getheader("X-Zoo") == "200"
    assert site.open("/handler").header("X-Zoo") == "101"
    assert site.open("/function").header("X-Zoo") == "101"
