"""From the view to the first callback: what a view does around `accept_websocket_request`."""

import pytest
from flask import Flask, g, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request
from flask_wshandler.testing import enable


class User(UserMixin):
    def __init__(self, user_id):
        self.id = user_id


@pytest.fixture
def app():
    app = Flask(__name__)
    app.secret_key = "key"
    app.testing = True
    WebSockets(app)
    enable(app)
    LoginManager(app).user_loader(User)
    app.get("/login/<name>")(lambda name: str(login_user(User(name))))
    return app


@pytest.fixture
def client(app):
    return app.test_client()


class TestUser:
    """`context.user`."""

    def test_asking_for_it_tears_nothing_down(self, app, client):
        """Not in the view and not in a callback, where the app has begun something."""
        events = []
        app.teardown_appcontext(lambda error: events.append("torn down"))

        class Handler(WebSocketHandler):
            recheck_session_s = 60

            def on_message(self, message):
                events.append("begun")
                self.send(f"{self.context.user.id} {self.context.is_authenticated}")
                events.append("done")

        @app.route("/ws", websocket=True)
        def view():
            events.append("view")
            response = accept_websocket_request(Handler())
            events.append(f"accepted {current_user.id}")
            return response

        client.get("/login/ann")
        with client.websocket_connect("/ws") as ws:
            ws.receive_all()
            assert events[1:] == ["view", "accepted ann", *["torn down"] * 2]
            del events[:]
            ws.send("who?")
            assert ws.receive() == "ann True"
            ws.receive_all()
            assert events == ["begun", "done", "torn down"]

    def test_elsewhere_it_is_loaded_and_torn_down(self, app, client):
        """In another client's callback, in another context, and without one."""
        torn_down = []
        app.teardown_appcontext(torn_down.append)
        handlers = []

        class Handler(WebSocketHandler):
            def on_open(self):
                handlers.append(self)

            def on_message(self, message):
                self.send(f"{handlers[0].context.user.id} {self.context.user.id}")

        @app.route("/ws", websocket=True)
        def view():
            return accept_websocket_request(Handler())

        client.get("/login/ann")
        other = app.test_client()
        other.get("/login/bob")
        with client.websocket_connect("/ws") as ann, other.websocket_connect("/ws") as bob:
            assert ann.receive_all() == []
            bob.send("who?")
            assert bob.receive() == "ann bob"
            assert bob.receive_all() == []
            del torn_down[:]
            assert [each.context.user.id for each in handlers] == ["ann", "bob"]
            assert torn_down == [None, None]
            with Flask("another").app_context():
                assert handlers[0].context.user.id == "ann"
                assert not hasattr(g, "_login_user")


class TestAfterwards:
    """What a view does when it has accepted, and what comes after the view."""

    def test_the_session_is_that_of_the_response(self, app, client):
        """With what the view and an `after_request` function have put in."""

        class Handler(WebSocketHandler):
            def on_open(self):
                self.send_json([dict(session), request.player])

        @app.route("/ws", websocket=True)
        def view():
            response = accept_websocket_request(Handler())
            session["view"] = 1
            request.player = "ann"
            return response

        @app.after_request
        def mark(response):
            session["after"] = 2
            return response

        with client.websocket_connect("/ws") as ws:
            assert ws.receive_json() == [{"view": 1, "after": 2}, "ann"]

    @pytest.mark.parametrize("before", [None, "bob"])
    @pytest.mark.parametrize("after", [None, "ann"])
    def test_the_user_is_the_last_one(self, app, client, wshandler, before, after):
        """Also to the checks of the session that follow."""

        class Handler(WebSocketHandler):
            recheck_session_s = 60

            def on_message(self, message):
                self.send(str(current_user.get_id()))

        @app.route("/ws", websocket=True)
        def view():
            response = accept_websocket_request(Handler())
            logout_user() if after is None else login_user(User(after))
            return response

        if before is not None:
            client.get(f"/login/{before}")
        with client.websocket_connect("/ws") as ws:
            ws.send("who?")
            assert ws.receive() == str(after)
            wshandler.clock.advance(61)
            ws.send("who?")
            assert ws.receive() == str(after)
