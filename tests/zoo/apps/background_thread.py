"""A worker thread with a queue, as people have before they have Celery; it broadcasts results."""

import queue
import threading

from flask import Flask, copy_current_request_context, current_app, g, request

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

ANSWER = "HELLO for /handler"
FUNCTION = "/handler"

sockets = WebSockets()
clients = WebSocketCollection("background-thread")
jobs = queue.Queue(100)


@sockets.route("/handler")
class Waiting(WebSocketHandler):
    """Gives its job away with its own request, and gets the answer from another thread."""

    def on_message(self, message):
        @copy_current_request_context
        def job():
            self.send(f"{message.upper()} for {request.path}")

        jobs.put(job)


@sockets.route("/all")
class Listening(WebSocketHandler):
    def on_open(self):
        clients.add(self)
        self.send("listening")


@sockets.route("/function")
def function(ws):
    while (message := ws.receive()) is not None:
        jobs.put(lambda message=message: ws.send(message))


def work(app):
    while True:
        job = jobs.get()
        with app.app_context():
            job()


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    threading.Thread(target=work, args=[app], daemon=True).start()

    @app.get("/")
    def page():
        return "page"

    @app.post("/tell")
    def tell():
        name = current_app.name
        jobs.put(lambda: clients.broadcast(f"told by {name}, {len(vars(g))} in g"))
        return "", 202

    return app


def promise(site):
    """A view's job reaches everybody; a function's client is answered by the worker, too."""
    listeners = [site.open("/all") for _ in range(2)]
    assert [client.read_text() for client in listeners] == ["listening"] * 2
    assert site.post("/tell").status == 202
    for client in listeners:
        assert client.read_text() == "told by tests.zoo.apps.background_thread, 0 in g"
        client.leave()
    assert site.ask("/function") == "hello"
