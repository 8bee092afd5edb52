"""Many middlewares: some around the app before it has WebSockets, some after, one around it all."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

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


def streaming(app):
    def middleware(environ, start_response):
        yield from app(environ, start_response)

    return middleware


def listing(app):
    return lambda environ, start_response: list(app(environ, start_response))


def marking(app, name):
    def middleware(environ, start_response):
        def start(status, headers, exc_info=None):
            return start_response(status, [*headers, ("X-Passed", name)], exc_info)

        return app(environ, start)

    return middleware


def create_app():
    app = Flask(__name__)
    app.wsgi_app = marking(listing(streaming(app.wsgi_app)), "before")
    sockets.init_app(app)
    app.wsgi_app = ProxyFix(marking(listing(streaming(app.wsgi_app)), "after"))
    app.add_url_rule("/", "page", lambda: "page")
    return marking(streaming(listing(app)), "around")


def promise(site):
    assert site.get("/").getheader("X-Passed") == "before, after, around"
