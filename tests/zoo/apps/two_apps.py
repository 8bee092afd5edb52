"""Two apps with WebSockets behind one server, whose collections have one name but are two."""

from flask import Flask, current_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

ANSWER = "hello from front"

sockets = WebSockets()
clients = WebSocketCollection("two-apps")


@sockets.route("/handler")
class Telling(WebSocketHandler):
    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        clients.broadcast(f"{message} from {current_app.name}")


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(f"{ws.receive()} from {current_app.name}")


def create_app():
    front, back = Flask("front"), Flask("back")
    for app in (front, back):
        sockets.init_app(app)
        app.add_url_rule("/", "page", lambda: str(len(clients)))
    front.wsgi_app = DispatcherMiddleware(front.wsgi_app, {"/back": back})
    return front


def promise(site):
    with site.open("/handler") as of_front, site.open("/back/handler") as of_back:
        site.wait_for(lambda: site.get("/").body == site.get("/back/").body == "1", "members")
        of_back.send_text("hello")
        assert of_back.read_text() == "hello from back"
        of_front.send_text("hello")
        assert of_front.read_text() == "hello from front"
