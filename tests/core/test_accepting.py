"""From the view to the first callback: what a view does around `accept_websocket_request`."""

import gc

import pytest
from flask import Flask, abort, g, make_response, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from flask_wshandler import (
    WebSocketCollection,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
)
from flask_wshandler.testing import HandshakeRefused, enable


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


class TestMembersThatAreNotOpen:
    """Handlers that join a collection in the view, or as soon as they are made."""

    @pytest.fixture
    def chat(self):
        return WebSocketCollection("chat")

    @staticmethod
    def view_of(app, run):
        """Have `run(handler)` be what a view does with a handler of its own."""

        class Handler(WebSocketHandler):
            def on_open(self):
                self.send("open")

            def on_close(self):
                closed.append(self.close_code)

        closed = []
        app.route("/ws", endpoint="ws", websocket=True)(lambda: run(Handler()))
        return closed

    def test_nothing_is_lost(self, app, client, chat):
        """What is broadcast from `add` on, in its order, and before what `on_open` sends."""

        def run(handler):
            chat.add(handler)
            chat.broadcast("one")
            response = accept_websocket_request(handler)
            chat.broadcast("two")
            chat.broadcast("not for you", exclude=handler)
            return response

        self.view_of(app, run)
        with client.websocket_connect("/ws") as ws:
            assert [ws.receive() for _ in range(3)] == ["one", "two", "open"]
            with app.app_context():
                chat.broadcast("three")
            assert ws.receive_all() == ["three"]

    @pytest.mark.parametrize("is_accepted", [False, True])
    def test_closing_all_closes_them_too(self, app, client, chat, is_accepted):
        """Nobody slips in who has joined before."""

        def run(handler):
            response = accept_websocket_request(handler) if is_accepted else None
            chat.add(handler)
            chat.broadcast("over")
            chat.close_all(4000, "closed room")
            chat.broadcast("too late")
            chat.close_all(4001)
            return response or accept_websocket_request(handler)

        closed = self.view_of(app, run)
        with client.websocket_connect("/ws") as ws:
            assert ws.wait_closed() == 4000
            assert (ws.receive_all(), ws.close_reason) == (["over"], "closed room")
        assert closed == [4000]

    def test_they_are_sent_so_much_and_no_more(self, app, client, chat):
        """Over 1 MiB before it is open: 1013."""

        def run(handler):
            chat.add(handler)
            for _ in range(11):
                chat.broadcast(b"x" * 100_000)
            return accept_websocket_request(handler)

        self.view_of(app, run)
        with client.websocket_connect("/ws") as ws:
            assert ws.wait_closed() == 1013
            assert (ws.receive_all(), ws.close_reason) == (
                [],
                "over 1048576 bytes came before it was open",
            )

    @pytest.mark.parametrize("is_accepted", [False, True])
    def test_presence_has_the_id_of_the_connection(self, app, client, chat, is_accepted):
        """Whether it was accepted before or after."""
        handlers = []

        def run(handler):
            handlers.append(handler)
            response = accept_websocket_request(handler) if is_accepted else None
            chat.add(handler, name="ann")
            assert [each.metadata for each in chat.presence()] == [{"name": "ann"}]
            return response or accept_websocket_request(handler)

        self.view_of(app, run)
        with client.websocket_connect("/ws") as ws:
            assert ws.receive() == "open"
            with app.app_context():
                assert [each.connection_id for each in chat.presence()] == [
                    handlers[0].context.connection_id
                ]

    @pytest.mark.parametrize("end", ["abort", "raise", "replace", "refuse", "replace later"])
    def test_who_never_opens_is_gone(self, app, client, chat, end):
        """From the collection, in all processes, and from the number of connections.

        When nothing refers to it: a traceback may do so until it is logged and collected.
        """
        seen = []

        def run(handler):
            chat.add(handler)
            seen.append((len(chat), chat.count(), handler in chat, list(chat) == [handler]))
            if end == "refuse":
                request.environ["HTTP_ORIGIN"] = "https://example.net"
            response = accept_websocket_request(handler)
            if end == "abort":
                abort(418)
            if end == "raise":
                raise LookupError("in the view")
            return "replaced" if end == "replace" else response

        self.view_of(app, run)
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.log_exception = lambda *args: None  # pytest would keep what is logged
        if end == "replace later":
            app.after_request(lambda response: make_response("replaced", 418))
        for _ in range(3):
            with pytest.raises(HandshakeRefused):
                client.websocket_connect("/ws")
            gc.collect()
        assert seen == [(1, 1, True, True)] * 3
        with app.app_context():
            assert (len(chat), chat.count(), list(chat), chat.presence()) == (0, 0, [], [])
        assert app.extensions["wshandler"].engine.capacity.taken == 0

    def test_an_open_one_stays(self, app, client, chat):
        """Also if nothing but its connection refers to it, and it leaves at its end."""

        def run(handler):
            chat.add(handler)
            return accept_websocket_request(handler)

        self.view_of(app, run)
        with client.websocket_connect("/ws") as ws:
            assert ws.receive() == "open"
            gc.collect()
            with app.app_context():
                assert (len(chat), chat.count()) == (1, 1)
            ws.close()
            with app.app_context():
                assert (len(chat), chat.count()) == (0, 0)
