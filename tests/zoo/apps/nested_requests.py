"""Callbacks that call the app itself: by its test client, and in contexts of their own."""

from flask import Flask, current_app, flash, get_flashed_messages, request, session, url_for

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "hello: /page asked from /handler, then /other, then /handler"

sockets = WebSockets()


def nested(message):
    before = request.path
    page = current_app.test_client().get("/page").text
    with current_app.test_request_context("/other"):
        other = request.path
    return f"{message}: {page} asked from {before}, then {other}, then {request.path}"


@sockets.route("/handler")
class Nested(WebSocketHandler):
    def on_message(self, message):
        self.send(nested(message))


@sockets.route("/flashing")
class Flashing(WebSocketHandler):
    def on_message(self, message):
        session["count"] = session.get("count", 0) + 1
        flash(message)
        link = url_for("page", _external=True)
        self.send(f"{get_flashed_messages()} {session['count']} {link}")


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(nested(ws.receive()).replace("/function", "/handler"))


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    sockets.init_app(app)
    app.add_url_rule("/", "index", lambda: "index")
    app.add_url_rule("/page", "page", lambda: request.path)
    return app


def promise(site):
    """What a callback puts into the session stays for the next one."""
    with site.open("/flashing") as client:
        for count in (1, 2):
            client.send_text("note")
            assert client.read_text() == f"['note'] {count} http://nested-requests.zoo/page"
