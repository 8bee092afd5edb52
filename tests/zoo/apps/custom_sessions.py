"""A session interface of one's own: ids in a cookie, the rest in a store."""

import secrets

from flask import Flask, session
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.datastructures import CallbackDict

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "hello ann"

sockets = WebSockets()
store = {}


class StoredSession(CallbackDict, SessionMixin):
    def __init__(self, initial=None, sid=None):
        super().__init__(initial, lambda changed: setattr(changed, "modified", True))
        self.sid = sid
        self.modified = False


class StoreInterface(SessionInterface):
    def open_session(self, app, request):
        sid = request.cookies.get("sid") or secrets.token_hex(4)
        return StoredSession(store.get(sid), sid)

    def save_session(self, app, session, response):
        if session.modified:
            store[session.sid] = dict(session)
            response.set_cookie("sid", session.sid)


@sockets.route("/handler")
class Named(WebSocketHandler):
    def on_message(self, message):
        self.send(f"{message} {session['name']}")


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {session['name']}")


def create_app():
    app = Flask(__name__)
    app.session_interface = StoreInterface()
    sockets.init_app(app)

    @app.get("/")
    def page():
        session["name"] = "ann"
        return session.sid

    return app
