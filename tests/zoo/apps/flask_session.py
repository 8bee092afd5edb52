"""Flask-Session: the session is in a store of the server."""

from cachelib import SimpleCache
from flask import Flask, session
from flask_session import Session

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "hello ann"

sockets = WebSockets()


@sockets.route("/handler")
class Named(WebSocketHandler):
    def on_message(self, message):
        self.send(f"{message} {session['name']}")


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {session.get('name')}")


def create_app():
    app = Flask(__name__)
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=SimpleCache())
    Session(app)
    sockets.init_app(app)

    @app.get("/")
    def page():
        session["name"] = "ann"
        return session.sid

    return app


def promise(site):
    """Another visitor has another session."""
    site.cookies.clear()
    assert site.ask("/function") == "hello None"
