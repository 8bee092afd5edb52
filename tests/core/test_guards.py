"""Guards of `sockets.route`: they answer before the upgrade, whoever is behind them."""

import functools
import logging
import sys
import types

import pytest
from flask import Blueprint, Flask, abort, request
from flask_login import LoginManager, UserMixin, login_required, login_user

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.testing import HandshakeRefused, enable


class Echo(WebSocketHandler):
    def __init__(self, room="lobby"):
        self.room = room

    def on_message(self, message):
        self.send(f"{self.room}: {message}")


def no_strangers(view):
    """A guard as people write them."""

    @functools.wraps(view)
    def checked(*args, **kwargs):
        if request.headers.get("X-Friend") != "yes":
            abort(403)
        return view(*args, **kwargs)

    return checked


def keeping(view):
    """One that keeps the view elsewhere."""
    kept = {"view": view}

    @functools.wraps(view)
    def checked(*args, **kwargs):
        return kept["view"](*args, **kwargs)

    return checked


def careless(view):
    """One that does not say what it wraps."""

    def checked(*args, **kwargs):
        return view(*args, **kwargs)

    return checked


@pytest.fixture
def app():
    app = Flask("guarded")
    app.config["SECRET_KEY"] = "for tests"
    app.config["WSHANDLER_BUS"] = "none"
    logins = LoginManager(app)

    @logins.user_loader
    def load_user(name):
        user = UserMixin()
        user.id = name
        return user

    @app.get("/login")
    def log_in():
        login_user(load_user("ada"))
        return "welcome"

    return app


@pytest.fixture
def sockets(app):
    enable(app)
    return WebSockets(app)


def status_of(client, path, **options):
    with pytest.raises(HandshakeRefused) as refused:
        client.websocket_connect(path, **options)
    return refused.value.response.status_code


def assert_guarded(app, path, answer="lobby: hi"):
    """Strangers get the guard's answer, users get in."""
    client = app.test_client()
    assert status_of(client, path) == 401
    client.get("/login")
    with client.websocket_connect(path) as ws:
        ws.send("hi")
        assert ws.receive() == answer


def assert_guarded_twice(app):
    """At /echo/x: users that are strangers get the second guard's answer."""
    client = app.test_client()
    assert status_of(client, "/echo/x") == 401
    client.get("/login")
    assert status_of(client, "/echo/x") == 403
    with client.websocket_connect("/echo/x", headers={"X-Friend": "yes"}) as ws:
        ws.send("hi")
        assert ws.receive() == "x: hi"


def test_a_class_behind_decorators(app, sockets):
    """The first is the innermost, as with `View.decorators`."""
    sockets.route("/echo/<room>", decorators=[no_strangers, login_required])(Echo)
    assert_guarded_twice(app)


def test_a_class_below_a_decorator(app, sockets):
    """A wrapped class is known as one."""
    sockets.route("/echo")(login_required(Echo))
    assert_guarded(app, "/echo")


def test_a_class_below_several_decorators(app, sockets):
    """The outermost answers first."""
    sockets.route("/echo")(login_required(no_strangers(Echo)))
    client = app.test_client()
    assert status_of(client, "/echo") == 401
    client.get("/login")
    assert status_of(client, "/echo") == 403


def test_routes_of_blueprints_and_of_objects_without_an_app(app):
    """The same for both."""
    enable(app)
    sockets, rooms = WebSockets(), Blueprint("rooms", __name__, url_prefix="/rooms")
    sockets.route("/<room>", bp=rooms, decorators=[login_required])(Echo)
    sockets.route("/free", decorators=[login_required])(Echo)
    app.register_blueprint(rooms)
    sockets.init_app(app)
    assert_guarded(app, "/rooms/x", "x: hi")
    assert_guarded(app, "/free")


def test_a_guards_redirect_is_the_answer(app, sockets):
    """With `login_view`, as for any page."""
    app.login_manager.login_view = "log_in"
    sockets.route("/echo")(login_required(Echo))
    with pytest.raises(HandshakeRefused) as refused:
        app.test_client().websocket_connect("/echo")
    assert refused.value.response.status_code in (302, 303)  # 303 since Flask 3.2
    assert refused.value.response.location.startswith("/login")


def test_a_decorator_that_hides_a_class_is_refused(sockets):
    """It would be taken for a function."""
    with pytest.raises(TypeError, match=r"functools\.wraps hides Echo.*decorators=\["):
        sockets.route("/echo")(careless(Echo))


def test_what_is_no_decorator_is_refused(sockets):
    """For example its answer."""
    with pytest.raises(TypeError, match="decorators are functions, not 'login_required'"):
        sockets.route("/echo", decorators=["login_required"])(Echo)


def test_a_function_below_a_decorator(app, sockets):
    """Strangers get its answer before the upgrade; the function runs behind it."""

    @sockets.route("/echo/<room>")
    @login_required
    @no_strangers
    def echo(ws, room):
        ws.send(f"{room}: {ws.receive()}")

    assert_guarded_twice(app)


def test_a_function_behind_decorators(app, sockets):
    """Given to `route`."""

    @sockets.route("/echo", decorators=[login_required])
    def echo(ws):
        ws.send(f"lobby: {ws.receive()}")

    assert_guarded(app, "/echo")


def test_what_a_guard_passes_on_reaches_the_function(app, sockets):
    """As with a view: arguments of its own, before and behind the WebSocket."""

    def with_user(view):
        @functools.wraps(view)
        def checked(*args, **kwargs):
            return view(*args, "ada", age=36, **kwargs)

        return checked

    @sockets.route("/<int:number>")
    @with_user
    def tell(ws, user, number, age):
        ws.send(f"{user} {number} {age}")

    with app.test_client().websocket_connect("/7") as ws:
        assert ws.receive() == "ada 7 36"


def test_a_decorator_that_names_the_websocket_is_part_of_the_function(app, sockets):
    """It has the open WebSocket, and is around all of the function's time."""
    here = []

    def tracked(function):
        @functools.wraps(function)
        def run(ws, *args, **kwargs):
            here.append(ws)
            try:
                return function(ws, *args, **kwargs)
            finally:
                here.remove(ws)

        return run

    @sockets.route("/count")
    @login_required
    @tracked
    def count(ws):
        while ws.receive() != "bye":
            ws.send(len(here))

    client = app.test_client()
    assert status_of(client, "/count") == 401
    client.get("/login")
    with client.websocket_connect("/count") as ws:
        ws.send("?")
        assert ws.receive() == "1"
        ws.send("bye")
        assert ws.wait_closed() == 1000
    assert here == []


def test_the_routed_function_stays_what_it_is(sockets):
    """Whoever calls it by its name calls it, with its decorators."""

    @sockets.route("/echo")
    @no_strangers
    def echo(ws):
        return ws

    with Flask("other").test_request_context(headers={"X-Friend": "yes"}):
        assert echo("a WebSocket") == "a WebSocket"


class Guard:
    """A decorator that is a class."""

    def __init__(self, view):
        functools.update_wrapper(self, view)
        self.view = view

    def __call__(self, *args, **kwargs):
        if request.headers.get("X-Friend") != "yes":
            abort(403)
        return self.view(*args, **kwargs)


def test_a_guard_that_is_an_object(app, sockets):
    """It is copied as well."""

    @sockets.route("/echo")
    @Guard
    def echo(ws):
        ws.send("welcome")

    client = app.test_client()
    assert status_of(client, "/echo") == 403
    with client.websocket_connect("/echo", headers={"X-Friend": "yes"}) as ws:
        assert ws.receive() == "welcome"


def test_a_guard_that_can_not_come_first_is_refused(sockets):
    """It keeps the function where nobody sees it."""
    match = r"(keeping|test_guards).* can't be called before the upgrade.*=\["
    with pytest.raises(TypeError, match=match):

        @sockets.route("/echo")
        @keeping
        def echo(ws):
            pass


def test_a_guard_that_touches_the_websocket(app, sockets, caplog):
    """The log says what it has to do."""

    def greeting(view):
        @functools.wraps(view)
        def checked(*args, **kwargs):
            args[0].send("hello")
            return view(*args, **kwargs)

        return checked

    @sockets.route("/echo")
    @greeting
    def echo(ws):
        pass

    with caplog.at_level(logging.ERROR):
        assert status_of(app.test_client(), "/echo") == 500
    assert "names it as its first parameter" in caplog.text


def test_a_decorator_that_hides_a_function_is_refused(sockets):
    """It can't be told from the function itself."""
    with pytest.raises(TypeError, match=r"functools\.wraps hides .*echo"):

        @sockets.route("/echo")
        @careless
        def echo(ws):
            pass


@pytest.fixture
def module():
    module = types.ModuleType("guarded_module")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def test_a_decorator_above_route_is_refused(app, sockets, module, caplog):
    """It guards nothing: nobody gets in, and the log says what to do."""
    source = (
        "@login_required\n"
        "@sockets.route('/echo')\n"
        "class Chat(Echo):\n"
        "    pass\n"
        "@sockets.route('/free')\n"
        "class Free(Echo):\n"
        "    pass\n"
    )
    vars(module).update(login_required=login_required, sockets=sockets, Echo=Echo)
    exec(source, vars(module))
    client = app.test_client()
    client.get("/login")
    with caplog.at_level(logging.ERROR):
        assert status_of(client, "/echo") == 500
    assert "login_required stands above sockets.route on Chat" in caplog.text.replace(
        "flask_login.utils", "login_required"
    )
    assert "decorators=[login_required]" in caplog.text
    with client.websocket_connect("/free") as ws:
        ws.send("hi")
        assert ws.receive() == "lobby: hi"


def test_a_page_of_what_speaks_websocket_only(app, sockets):
    """426, with what is spoken there."""
    sockets.route("/echo")(Echo)
    response = app.test_client().get("/echo")
    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
