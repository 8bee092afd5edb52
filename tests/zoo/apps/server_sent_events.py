"""Server-sent events beside WebSockets: streams that stay open, fed by callbacks."""

import queue

from flask import Flask, Response

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
events = queue.Queue(100)


@sockets.route("/handler")
class Telling(WebSocketHandler):
    def on_message(self, message):
        events.put(message)
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        message = ws.receive()
        events.put(message)
        ws.send(message)


def stream():
    while (message := events.get()) != "end":
        yield f"data: {message}\n\n"


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    app.add_url_rule("/events", "events", lambda: Response(stream(), mimetype="text/event-stream"))
    return app


def promise(site):
    site.ask("/handler", "one")
    site.ask("/function", "end")
    assert site.get("/events").body == "data: hello\n\ndata: hello\n\ndata: one\n\n"
