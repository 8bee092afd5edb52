"""Guards below `route`, as flask-sock's users write them: they answer before the upgrade."""

import functools

from flask import Flask, abort, request

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {"X-User": "ann"}

sockets = WebSockets()


def guarded(refuse):
    def decorate(function):
        @functools.wraps(function)
        def guard(*args, **values):
            if "X-User" not in request.headers:
                return refuse()
            return function(*args, **values)

        return guard

    return decorate


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
@guarded(lambda: abort(401))
def function(ws):
    ws.send(ws.receive())
    ws.receive()


@sockets.route("/answering")
@guarded(lambda: ("Who are you?", 401))
def answering(ws):
    ws.send(ws.receive())
    ws.receive()


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """Whoever is refused gets the guard's answer, whatever it has sent already."""
    assert site.ask("/answering", headers=HEADERS) == "hello"
    for path in ("/function", "/answering"):
        assert site.knock(path, early="hello").status == 401
