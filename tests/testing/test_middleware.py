"""What an app and its classes have around callbacks."""

import contextvars
import functools

import pytest
from flask import Flask, abort, g, request

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.calls import CallError, Hub, call
from flask_wshandler.testing import websocket_connect
from tests.calls.conftest import Peer

who = contextvars.ContextVar("who", default=None)


class Site:
    """An app whose middlewares note what they are around of."""

    def __init__(self):
        self.noted = []
        self.app = Flask("site")
        self.app.secret_key = "of-tests"
        self.sockets = WebSockets(self.app)

    def noting(self, name):
        """A middleware."""

        def middleware(handler, call, message=None):
            self.noted.append((name, call.__name__, message))
            call(message)
            self.noted.append((name, "end"))

        return middleware

    def connect(self, path="/ws", **options):
        return websocket_connect(self.app.test_client(), path, **options)


@pytest.fixture
def site():
    return Site()


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def test_the_order(site):
    """The app's in the order of their registration, then base classes', then the class's."""

    class Base(Echo):
        middleware = (site.noting("base"),)

    class Derived(Base):
        middleware = (site.noting("first"), site.noting("second"))

    site.sockets.route("/ws")(Derived)
    site.sockets.middleware(site.noting("app"))
    site.sockets.middleware(site.noting("app 2"))
    with site.connect() as ws:
        site.noted.clear()
        ws.send("x")
        assert ws.receive() == "x"
    # What is behind the answer was done before the client had left.
    names = ["app", "app 2", "base", "first", "second"]
    expected = [(name, "on_message", "x") for name in names]
    expected += [(name, "end") for name in reversed(names)]
    assert site.noted[: len(expected)] == expected


@pytest.mark.parametrize("options", [{}, {"resumable": True}, {"transport": "stream"}])
def test_every_callback(site, options):
    """By its name; those that take no message are given none."""

    class Handler(Echo):
        recheck_session_s = 5.0

        def on_text(self, message):
            if message == "fail":
                raise LookupError(message)

    site.sockets.route("/ws")(Handler)
    site.sockets.middleware(site.noting("app"))
    with site.connect(**options) as ws:
        ws.send("a")
        ws.send(b"b")
        ws.receive()
        if options.get("resumable"):
            ws.cut()
            ws.come_back()
        ws.send("fail")
        ws.wait_closed()
    noted = [(name, message) for _, name, message in filter(lambda each: len(each) > 2, site.noted)]
    returned = [("on_away", None), ("on_back", None)] if options.get("resumable") else []
    assert noted == [
        ("on_open", None),
        ("on_text", "a"),
        ("on_message", b"b"),
        *returned,
        ("on_text", "fail"),
        ("on_error", None),
        ("on_close", None),
    ]


def test_in_the_contexts_of_the_client(site):
    """Flask's, and context variables, which callbacks after that find."""

    class Handler(WebSocketHandler):
        def on_message(self, message):
            self.send(f"{who.get()} {g.user} {message}")

    @site.sockets.middleware
    def known(handler, call, message=None):
        who.set(request.args["user"])
        g.user = request.args["user"]
        return call(message and message.upper())

    site.sockets.route("/ws")(Handler)
    with site.connect("/ws?user=ada") as one, site.connect("/ws?user=bob") as other:
        for ws, name in ((one, "ada"), (other, "bob")) * 2:
            ws.send("x")
            assert ws.receive() == f"{name} {name} X"


def test_one_that_does_not_call(site):
    """The callback does not happen; at the end nothing of the package's is left undone."""

    @site.sockets.middleware
    def muted(handler, call, message=None):
        if message != "secret" and call.__name__ != "on_close":
            call()

    closed = []

    class Handler(Echo):
        def on_close(self):
            closed.append(self)

    site.sockets.route("/ws")(Handler)
    with site.connect() as ws:
        ws.send("secret")
        ws.send("x")
        assert ws.receive() == "x"
    assert not closed
    assert site.sockets.stats().connections == 0


@pytest.mark.parametrize(("error", "code"), [(LookupError("in the middleware"), 1011), (403, 1008)])
def test_one_that_raises(site, error, code, caplog):
    """As if the callback had."""
    errors = []

    class Handler(Echo):
        def on_error(self):
            errors.append(self.error)

    @site.sockets.middleware
    def raising(handler, call, message=None):
        if message == "x":
            if error == 403:
                abort(403)
            raise error
        call(message)

    site.sockets.route("/ws")(Handler)
    with site.connect() as ws:
        ws.send("x")
        assert ws.wait_closed() == code
    assert len(errors) == 1
    assert "Handler.on_message on /ws" in caplog.text


def test_calls_of_a_hub(site):
    """By their names, with the message; what is raised is answered, and what is swallowed, too."""

    class Board(Hub):
        @call
        def double(self, number: int) -> int:
            return 2 * number

        @call
        def count(self, to: int):
            yield from range(to)

        @call(thread=True)
        def apart(self) -> str:
            return who.get()

    @site.sockets.middleware
    def guard(handler, call, message=None):
        who.set("guarded")
        site.noted.append(call.__name__)
        if message and "13" in message:
            raise CallError(13, "unlucky")
        if message and "14" in message:
            return None
        if message and "15" in message:
            message = message.replace("15", "16")
        return call(message)

    site.sockets.route("/ws")(Board)
    with site.connect() as ws:
        peer = Peer(ws)
        assert peer.result("double", 12) == 24
        assert peer.error("double", 13) == {"code": 13, "message": "unlucky"}
        assert peer.error("double", 14)["code"] == -32603
        assert peer.result("double", 15) == 32
        assert peer.result("apart") == "guarded"
        peer.send(id=1, method="count", params=[2])
        assert peer.items()[0] == [0, 1]
    assert site.noted[:2] == ["on_open", "double"]
    assert site.noted.count("count") >= 2


def test_a_function(site):
    """Of flask-sock's: around the whole of it, in its request."""

    @site.sockets.middleware
    def around(handler, call, message=None):
        site.noted.append((call.__name__, request.path, message))
        call()
        site.noted.append("end")

    @site.sockets.route("/ws")
    def echo(ws):
        ws.send(ws.receive())

    with site.connect() as ws:
        ws.send("x")
        assert ws.receive() == "x"
        assert ws.wait_closed() == 1000
    assert site.noted == [("function", "/ws", None), "end"]


def test_registration_before_and_after_the_app():
    """As of routes, for all apps of the object, and for no others."""
    sockets, noted = WebSockets(), []

    @sockets.middleware
    def first(handler, call, message=None):
        noted.append("first")
        call(message)

    apps = [Flask("one"), Flask("two")]
    for app in apps:
        sockets.init_app(app)
    sockets.route("/ws")(Echo)
    sockets.middleware(lambda handler, call, message=None: noted.append("later") or call(message))
    other = Flask("three")
    WebSockets(other).route("/ws")(Echo)
    for app, expected in (
        (apps[0], ["first", "later"]),
        (apps[1], ["first", "later"]),
        (other, []),
    ):
        with websocket_connect(app.test_client(), "/ws") as ws:
            noted.clear()
            ws.send("x")
            assert ws.receive() == "x"
            assert noted == expected


async def async_one(handler, call, message=None): ...


def yielding(handler, call, message=None):
    yield


def of_two(handler, call): ...


class CallableObject:
    def __call__(self, handler, call, message=None):
        call(message)


@pytest.mark.parametrize(
    ("middleware", "reason"),
    [
        (1, "a middleware is a function, not 1"),
        (CallableObject, "a middleware is a function, not <class"),
        (async_one, "the middleware async_one is async"),
        (yielding, "the middleware yielding has a yield"),
        (of_two, r"the middleware of_two\(handler, call\) can't be called; write `def of_two\("),
    ],
)
def test_what_is_none(site, middleware, reason):
    """At the registration, and when a class is made."""
    with pytest.raises(TypeError, match=reason):
        site.sockets.middleware(middleware)
    with pytest.raises(TypeError, match=reason):
        type("Handler", (WebSocketHandler,), {"middleware": [middleware]})
    with pytest.raises(TypeError, match=r"Handler\.middleware is a list of functions"):
        type("Handler", (WebSocketHandler,), {"middleware": of_two})


def test_what_is_one(site):
    """Objects, partials, and bound methods."""
    site.sockets.middleware(CallableObject())
    site.sockets.middleware(functools.partial(CallableObject().__call__))
    site.sockets.route("/ws")(Echo)
    with site.connect() as ws:
        ws.send("x")
        assert ws.receive() == "x"
