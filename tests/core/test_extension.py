"""The `WebSockets` object: its routes, whatever app they are of, and its figures."""

import pytest
from flask import Flask
from werkzeug.routing import BuildError

from flask_wshandler import SettingError, WebSocketHandler, WebSockets
from flask_wshandler.testing import HandshakeRefused, enable


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def make_app(name, *objects, **config):
    app = Flask(name)
    app.testing = True
    app.config.update(config)
    for each in objects:
        each.init_app(app)
    return app


def answers(app, path):
    """Whether `path` echoes."""
    enable(app)
    with app.test_client().websocket_connect(path) as ws:
        ws.send("hi")
        return ws.receive() == "hi"


def test_routes_are_of_all_apps():
    """Those that were there before it was declared, and those that come after."""
    sockets = WebSockets()
    sockets.route("/first")(Echo)
    one = make_app("one", sockets)
    two = make_app("two", sockets)
    sockets.route("/second")(Echo)
    three = make_app("three", sockets)
    for app in (one, two, three):
        assert answers(app, "/first")
        assert answers(app, "/second")


def test_one_app_may_have_several_objects():
    """Each with routes of its own."""
    one, two = WebSockets(), WebSockets()
    one.route("/one")(Echo)
    two.route("/two")(Echo)
    app = make_app("app", one, two)
    assert answers(app, "/one")
    assert answers(app, "/two")


def test_async_functions_are_refused():
    """They would never run."""
    with pytest.raises(TypeError, match="talk is async"):

        @WebSockets().route("/talk")
        async def talk(ws):
            pass


def test_stats_are_those_of_the_current_app():
    """Else of the one that was given at first; there has to be one."""
    sockets = WebSockets()
    with pytest.raises(RuntimeError, match="inside an app context"):
        sockets.stats()
    one = make_app("one", sockets, WSHANDLER_MAX_CONNECTIONS=1)
    two = make_app("two", sockets, WSHANDLER_MAX_CONNECTIONS=2)
    assert sockets.stats().max_connections == 1
    with two.app_context():
        assert sockets.stats().max_connections == 2
    with Flask("three").app_context(), pytest.raises(RuntimeError, match="'three' has no WebSock"):
        sockets.stats()
    assert one.extensions["wshandler"].engine.stats() == sockets.stats()


@pytest.mark.parametrize("where", ["instance", "class"])
@pytest.mark.parametrize("name", ["on_message", "on_text"])
def test_a_callback_may_come_later(where, name):
    """As tests put it in the place of another; before, such messages close with 1003."""

    class Silent(WebSocketHandler):
        def __init__(self):
            if where == "instance":
                setattr(self, name, self.answer)

        def answer(self, message):
            self.send(f"late {message}")

    if where == "class":
        setattr(Silent, name, Silent.answer)
    sockets = WebSockets()
    sockets.route("/silent")(Silent)
    app = make_app("app", sockets)
    enable(app)
    with app.test_client().websocket_connect("/silent") as ws:
        ws.send("hi")
        assert ws.receive() == "late hi"
        ws.send(b"hi")
        if name == "on_text":
            assert ws.wait_closed() == 1003
        else:
            assert ws.receive() == "late b'hi'"


def test_ping_interval_of_flask_sock():
    """0 is none, as there; what can't be is named by the key that the user knows."""
    sockets = WebSockets()
    options = {"ping_interval": 0}
    sockets.route("/talk")(lambda ws: ws.send("hi"))
    app = make_app("app", sockets, SOCK_SERVER_OPTIONS=options)
    enable(app)
    with app.test_client().websocket_connect("/talk") as ws:
        assert ws.receive() == "hi"
    options["ping_interval"] = -1
    with pytest.raises(SettingError, match=r"SOCK_SERVER_OPTIONS.ping_interval is -1"):
        app.test_client().websocket_connect("/talk")
    del options["ping_interval"]
    with pytest.raises(HandshakeRefused):
        app.test_client().websocket_connect("/nowhere")


def test_the_name_of_a_route_is_its_classs():
    """Also of one that was made before there was an app; Flask's own errors stay what they are."""
    sockets = WebSockets()
    sockets.route("/echo/<room>")(Echo)
    app = make_app("app", sockets)
    sockets.route("/late", endpoint="late")(Echo)
    with app.test_request_context():
        assert app.url_for("Echo", room="a", _anchor="b") == "ws://localhost/echo/a#b"
        assert app.url_for("Echo", room="a", _scheme="wss") == "wss://localhost/echo/a"
        assert app.url_for("late") == "ws://localhost/late"
        for name in ("Echo", "nothing"):
            with pytest.raises(BuildError):
                app.url_for(name)
