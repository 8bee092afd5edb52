"""flask-sock 21, 25, 70, 77: loops over `ws.connected`, busy, sleeping, and with time-outs."""

import time

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "{'data': 'hello'}"

sockets = WebSockets()
ended = []


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(str({"data": message}))


@sockets.route("/function")
def function(ws):
    while ws.connected:
        message = ws.receive(timeout=0.01)
        if message:
            ws.send({"data": message})
    ended.append("function")


@sockets.route("/ticking")
def ticking(ws):
    while ws.connected:
        ws.send("tick")
        time.sleep(0.01)
    ended.append("ticking")


@sockets.route("/busy")
def busy(ws):
    ws.send("busy")
    while ws.connected:
        time.sleep(0)
    ended.append("busy")


@sockets.route("/closing")
def closing(ws):
    ws.send("closing")
    ws.close(reason=4000, message="stupidity")
    return "what a function returns is nobody's"


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: ended)
    return app


def promise(site):
    """When the client leaves, the loops end."""
    for path in ("/ticking", "/busy"):
        with site.open(path) as client:
            assert client.read_text() == path[1:].replace("ticking", "tick")
            client.leave()
    client = site.open("/closing")
    assert (client.read_text(), client.read_close()) == ("closing", (4000, "stupidity"))
    wanted = {"function", "ticking", "busy"}
    site.wait_for(lambda: wanted & set(site.get("/").json()), "ends")
