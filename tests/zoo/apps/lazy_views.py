"""Flask's lazily loaded views, and decorated views that are no functions."""

from flask import Flask
from werkzeug.utils import cached_property, import_string

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

sockets = WebSockets()


class LazyView:
    def __init__(self, import_name):
        self.__module__, self.__name__ = import_name.rsplit(".", 1)
        self.import_name = import_name

    @cached_property
    def view(self):
        return import_string(self.import_name)

    def __call__(self, *args, **values):
        return self.view(*args, **values)


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def handler():
    return accept_websocket_request(Echo())


def echo(ws):
    while True:
        ws.send(ws.receive())


class EchoObject:
    """A function that is an object."""

    def __call__(self, ws):
        echo(ws)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: "page", endpoint="page")
    app.add_url_rule("/handler", view_func=LazyView(f"{__name__}.handler"))
    sockets.route("/function", endpoint="function")(LazyView(f"{__name__}.echo"))
    sockets.route("/object", endpoint="object")(EchoObject())
    return app


def promise(site):
    assert site.ask("/object") == "hello"
