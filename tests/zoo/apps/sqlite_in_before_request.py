"""Flask's tutorial of old: `g.db` is opened by `before_request`, closed at teardown."""

import sqlite3

from flask import Flask, g

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    """In callbacks `g` is fresh, so it opens what it needs."""

    def on_message(self, message):
        connect()
        self.send(g.db.execute("SELECT ?", [message]).fetchone()[0])


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(g.db.execute("SELECT ?", [ws.receive()]).fetchone()[0])


def connect():
    g.db = sqlite3.connect(":memory:", check_same_thread=False)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.before_request(connect)

    @app.teardown_appcontext
    def close(error):
        if hasattr(g, "db"):
            g.db.close()

    @app.get("/")
    def page():
        return g.db.execute("SELECT 'page'").fetchone()[0]

    return app


def promise(site):
    """Several messages of one client, too."""
    with site.open("/function") as client:
        for message in ("one", "two", "three"):
            client.send_text(message)
            assert client.read_text() == message
