"""Blueprints in blueprints, each with a URL prefix and a `before_request`; relative `url_for`."""

from flask import Blueprint, Flask, g, request, url_for

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
parent = Blueprint("parent", __name__, url_prefix="/parent")
child = Blueprint("child", __name__, url_prefix="/<room>")
PAGE, HANDLER, FUNCTION = "/parent/7/", "/parent/7/handler", "/parent/7/function"
ANSWER = "hello parent.child 7 /parent/8/"
torn_down = []


def answer(message, room):
    return f"{message} {request.blueprint} {room} {url_for('.page', room=8)}"


@child.route("/")
def page(room):
    return g.order


@sockets.route("/handler", child)
class InRoom(WebSocketHandler):
    def __init__(self, room):
        assert g.order == ["app", "parent", "child"]
        self.room = room

    def on_message(self, message):
        self.send(answer(message, self.room))


@sockets.route("/function", child)
def function(ws, room):
    while True:
        ws.send(answer(ws.receive(), room))


@child.teardown_request
def tear_down(error):
    torn_down.append(request.endpoint)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    for name, scaffold in (("app", app), ("parent", parent), ("child", child)):
        scaffold.before_request(lambda name=name: g.setdefault("order", []).append(name))
    parent.register_blueprint(child)
    app.register_blueprint(parent)
    app.add_url_rule("/torn-down", view_func=lambda: torn_down)
    return app


def promise(site):
    """`before_request` in their order; the child's teardown runs for its callbacks."""
    assert site.get(PAGE).json() == ["app", "parent", "child"]
    wanted = {"parent.child.InRoom", "parent.child.function"}
    # The function's end comes when its thread has noticed that the client is gone.
    site.wait_for(lambda: wanted <= set(site.get("/torn-down").json()), "teardowns")
