"""What Flask offers around a request, asked for where WebSockets are served."""

import threading

import pytest
from flask import (
    Flask,
    after_this_request,
    copy_current_request_context,
    current_app,
    request,
    session,
)

from flask_wshandler import HttpHandler, WebSocketHandler, WebSockets


@pytest.fixture
def app():
    app = Flask(__name__)
    app.secret_key = "known"
    app.testing = True
    return app


class Copying(WebSocketHandler):
    """Answers from a thread of its own."""

    def on_text(self, message):
        @copy_current_request_context
        def answer():
            self.send(f"{message} {request.path} {session['who']} {current_app.name}")

        threading.Thread(target=answer).start()


def test_a_copied_context_works_in_another_thread(app):
    """`copy_current_request_context`: the request, session and app of the handshake."""
    WebSockets(app).route("/copied")(Copying)
    client = app.test_client()
    with client.session_transaction() as kept:
        kept["who"] = "ann"
    with client.websocket_connect("/copied") as ws:
        ws.send("hi")
        assert ws.receive(timeout=5) == f"hi /copied ann {app.name}"


class Late(WebSocketHandler):
    """Wants to change a response that has long left."""

    def on_text(self, message):
        after_this_request(lambda response: self.close(4000))
        self.send(message)


def test_nothing_comes_after_this_request(app):
    """`after_this_request` is taken, and its function never called: there is no response."""
    WebSockets(app).route("/late")(Late)
    with app.test_client().websocket_connect("/late") as ws:
        for text in ("one", "two"):
            ws.send(text)
            assert ws.receive(timeout=5) == text


class Telling(HttpHandler):
    """Answers plain requests from its context."""

    def process_request(self, context):
        session = context.session
        return f"{context.request.path} {session['who']} {context.application.name}"


def test_the_context_of_an_http_handler_shows_flasks(app):
    """`request`, `session` and `application`, as ASP.NET's HttpContext has them."""
    WebSockets(app)
    app.add_url_rule("/telling", view_func=Telling.as_view("telling"))
    client = app.test_client()
    with client.session_transaction() as kept:
        kept["who"] = "ann"
    assert client.get("/telling").text == f"/telling ann {app.name}"


class Carrying(WebSocketHandler):
    def __init__(self, name):
        self.name = name

    def on_open(self):
        context = self.context
        self.send_json([self.name, context.items, context.user, context.application.name])


class Reading(HttpHandler):
    """Passes on what its context knows."""

    def process_request(self, context):
        context.items["agent"] = context.headers["User-Agent"]
        name = context.cookies["UserName"] + context.query_string["suffix"]
        response = context.accept_websocket_request(Carrying(f"{name} {context.user}"))
        context.items["late"] = True
        return response


def test_the_context_of_an_http_handler_knows_the_request(app):
    """By ASP.NET's names; its items are those of the WebSocket."""
    WebSockets(app)
    app.add_url_rule("/reading", view_func=Reading.as_view("reading"))
    client = app.test_client()
    client.set_cookie("UserName", "Ada")
    with client.websocket_connect(
        "/reading?suffix=!",
        headers={"User-Agent": "a test"},
        environ_base={"REMOTE_USER": "lovelace"},
    ) as ws:
        name, items, user, application = ws.receive_json()
    assert name == "Ada! lovelace"
    assert items == {"agent": "a test", "late": True}
    assert (user, application) == ("lovelace", app.name)
