"""What people get wrong at first: each ends in a sentence that says what to do."""

import logging
import subprocess
import sys
import threading
import warnings
import weakref

import pytest
from flask import Flask, abort
from flask.json.provider import DefaultJSONProvider
from flask.views import MethodView

from flask_wshandler import (
    HttpHandler,
    WebSocketCollection,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
)
from flask_wshandler.collections import current
from flask_wshandler.testing import HandshakeRefused, enable


class Loud(DefaultJSONProvider):
    def dumps(self, obj, **kwargs):
        return super().dumps(obj, **kwargs).upper()


def make_app(name="mistaken"):
    app = Flask(name)
    app.testing = True
    app.json = Loud(app)
    app.config["WSHANDLER_BUS"] = "none"
    enable(app)
    return app


def test_a_class_in_the_place_of_a_handler():
    """The view has forgotten the parentheses."""
    app = make_app()
    WebSockets(app)

    @app.route("/ws")
    def ws():
        return accept_websocket_request(WebSocketHandler)

    @app.route("/text")
    def text():
        return accept_websocket_request("hello")

    client = app.test_client()
    with pytest.raises(TypeError, match=r"an instance: WebSocketHandler\(…\), not the class"):
        client.websocket_connect("/ws")
    with pytest.raises(TypeError, match="an instance of a WebSocketHandler subclass, not 'hello'"):
        client.websocket_connect("/text")


def test_the_context_in_a_constructor():
    """It is not there yet."""

    class Early(WebSocketHandler):
        def __init__(self):
            self.name = self.context.query_string["name"]

    with pytest.raises(AttributeError, match=r"Early has no context yet: .* on_open"):
        Early()
    assert not hasattr(WebSocketHandler(), "context")


def test_a_kind_of_message_that_is_not_taken(caplog):
    """1003, and one line for the class, whoever sends one."""
    app = make_app()
    sockets = WebSockets(app)

    @sockets.route("/ws")
    class TextOnly(WebSocketHandler):
        def on_text(self, message):
            self.send(message)

    for _ in range(2):
        with (
            caplog.at_level(logging.WARNING),
            app.test_client().websocket_connect("/ws") as ws,
        ):
            ws.send(b"bytes")
            assert ws.wait_closed() == 1003
    lines = [each for each in caplog.messages if "on_binary" in each]
    assert len(lines) == 1
    assert "TextOnly overrides neither on_message nor on_binary" in lines[0]
    assert "1003" in lines[0]


def test_a_named_collection_without_an_app():
    """It would reach nobody."""
    program = (
        "from flask_wshandler import WebSocketCollection\n"
        "mine = WebSocketCollection()\n"
        "mine.broadcast('to nobody, as it is this process\\'s')\n"
        "WebSocketCollection('chat').broadcast('hello')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "RuntimeError: a named collection is its app's" in run.stderr
    assert "flask_wshandler.bus.connect" in run.stderr


def test_json_in_a_thread_of_ones_own(monkeypatch):
    """By the app's provider, as in a callback."""
    monkeypatch.setattr(current, "known_apps", weakref.WeakSet())  # with those of other tests
    app = make_app()
    sockets = WebSockets(app)
    clients = WebSocketCollection("chat")

    @sockets.route("/ws")
    class Member(WebSocketHandler):
        def on_open(self):
            clients.add(self)

    with app.test_client().websocket_connect("/ws") as ws:

        def tell():
            next(iter(clients)).send_json({"to": "one"})
            clients.broadcast_json({"to": "all"})

        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
        assert ws.receive_all() == ['{"TO": "ONE"}', '{"TO": "ALL"}']


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def with_view(view, name="mistaken", **config):
    """A test client of an app that has `view` at /ws; errors are answered as in production."""
    app = make_app(name)
    app.testing = False
    app.config.update(config)
    WebSockets(app)
    app.add_url_rule("/ws", view_func=view)
    return app.test_client()


def visit(view, *messages, **options):
    """What becomes of a client of a handler or a view: its close code, or the refusal."""
    if isinstance(view, type):
        handler = view

        def view():
            return accept_websocket_request(handler())

    client = with_view(view)
    try:
        with client.websocket_connect("/ws", **options) as ws:
            for message in messages:
                ws.send(message)
            ws.receive_all()
        return ws.close_code
    except HandshakeRefused as refused:
        return refused


def test_async_callbacks_and_functions():
    """They would be called, and not run."""
    with pytest.raises(TypeError, match=r"Chat\.on_message is async; .* `def on_message\(self, m"):

        class Chat(WebSocketHandler):
            async def on_message(self, message): ...

    with pytest.raises(TypeError, match=r"talk is async; .* write `def talk`"):

        @WebSockets(make_app()).route("/talk")
        async def talk(ws): ...


def test_a_callback_with_a_yield():
    """It would be called, and not run."""
    with pytest.raises(TypeError, match=r"Chat\.on_open has a yield, .* self\.send"):

        class Chat(WebSocketHandler):
            def on_open(self):
                yield "hello"


@pytest.mark.parametrize(
    ("name", "callback", "line"),
    [
        ("on_message", lambda self: None, "def on_message(self, message):"),
        ("on_open", lambda self, ws: None, "def on_open(self):"),
        ("on_close", lambda self, code, reason: None, "def on_close(self):"),
        ("on_error", lambda self, error: None, "def on_error(self):"),
    ],
)
def test_callbacks_with_the_parameters_of_another_library(name, callback, line):
    """The class statement warns, with the line to write."""
    with pytest.warns(UserWarning) as warned:
        type("Chat", (WebSocketHandler,), {name: callback})
    message = str(warned[0].message)
    assert message.startswith(f"Chat.{name}(self")
    assert f"can't be called; write `{line}`" in message


def test_parameters_that_can_be_called_are_fine():
    """With defaults, or with whatever a decorator takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Chat(WebSocketHandler):
            def on_open(self, *args): ...
            def on_close(self, code=None): ...
            @staticmethod
            def check_session(): ...

        class Room(WebSocketCollection):
            def on_presence(self, joined, left, why=None): ...


def test_a_handler_that_is_returned_by_the_view(caplog):
    """Or a handler class in the place of a view."""
    for view in (lambda: Echo(), Echo):
        caplog.clear()
        client = with_view(view if isinstance(view, type) else named(view))
        assert client.get("/ws").status_code == 500
        assert "return accept_websocket_request(Echo(…))" in caplog.text


def named(function, name="ws"):
    function.__name__ = name
    return function


def test_an_http_handler_without_as_view(caplog):
    """Flask makes an object of it, and has no use for that."""

    class Ws(HttpHandler):
        def process_request(self, context): ...

    assert with_view(Ws).get("/ws").status_code == 500
    assert 'app.add_url_rule(…, view_func=Ws.as_view("ws"))' in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        lambda accepted: None,
        lambda accepted: "ok",
        lambda accepted: (accepted, 200),
    ],
)
def test_what_is_accepted_and_not_returned(answer, caplog):
    """The client gets what was returned; the log says what to return."""

    def ws():
        return answer(accept_websocket_request(Echo()))

    assert isinstance(visit(ws), HandshakeRefused)
    assert "A WebSocket on /ws does not open" in caplog.text
    assert "Return what accept_websocket_request() returns, as it is" in caplog.text


def test_one_handler_for_all_clients(caplog):
    """The second client is refused."""
    shared = Echo()
    client = with_view(named(lambda: accept_websocket_request(shared)))
    with client.websocket_connect("/ws"), pytest.raises(HandshakeRefused):
        client.websocket_connect("/ws")
    assert "this Echo serves another client already: make one for each, by Echo(…)" in caplog.text


def test_a_function_that_is_accepted(caplog):
    """It belongs elsewhere."""

    def talk(ws): ...

    visit(named(lambda: accept_websocket_request(talk)))
    assert "belongs below sockets.route(…)" in caplog.text


def test_no_super_call_in_a_constructor():
    """None is needed."""

    class Named(WebSocketHandler):
        def __init__(self):
            self.name = "Ada"

        def on_open(self):
            self.send(self.name)

    assert visit(Named) == 1000


def test_sending_and_closing_in_a_constructor(caplog):
    """There is nobody yet."""
    for method in ("send", "close"):
        caplog.clear()

        class Early(WebSocketHandler):
            def __init__(self, method=method):
                getattr(self, method)(*["hello"] * (method == "send"))

        visit(Early)
        assert "Early is not connected yet: give it to accept_websocket_request()" in caplog.text


@pytest.mark.parametrize("message", [{"a": 1}, 7, None])
def test_what_is_no_message(message, caplog):
    """Neither `send` nor `broadcast` makes JSON by itself."""

    class Wrong(WebSocketHandler):
        def on_open(self):
            clients.add(self)
            (self.send if message is None else clients.broadcast)(message)

    clients = WebSocketCollection()
    assert visit(Wrong) == 1011
    assert "a message is str or bytes, not " in caplog.text
    assert "send_json() and broadcast_json() send an object as JSON" in caplog.text


@pytest.mark.parametrize("where", ["one", "all"])
def test_bytes_as_json(where, caplog):
    """JSON has none, and they are a message already."""
    clients = WebSocketCollection()

    class Wrong(WebSocketHandler):
        def on_open(self):
            clients.add(self)
            if where == "one":
                self.send_json(b"bytes")
            else:
                clients.broadcast_json(b"bytes")

    assert visit(Wrong) == 1011
    assert "bytes can't be JSON: send() and broadcast() send them as they are" in caplog.text


def test_bytes_that_the_apps_provider_can_write():
    """Are its matter."""

    class Hex(DefaultJSONProvider):
        default = staticmethod(lambda obj: obj.hex())

    class Sends(WebSocketHandler):
        def on_open(self):
            self.send_json(b"\x01")

    app = make_app()
    app.json = Hex(app)
    WebSockets(app).route("/ws")(Sends)
    with app.test_client().websocket_connect("/ws") as ws:
        assert ws.receive() == '"01"'


def test_a_callback_that_returns_its_answer(caplog):
    """Said once of a class; what `send` returns is nothing to be told of."""

    class Answers(WebSocketHandler):
        def on_text(self, message):
            return message

        def on_binary(self, message):
            return self.send(message)

    assert visit(Answers, "one", "two", b"three") == 1000
    lines = [line for line in caplog.messages if "returned" in line]
    assert len(lines) == 1
    assert "Answers.on_text has returned str, which goes nowhere" in lines[0]
    assert "self.send(…)" in lines[0]


def test_a_missing_argument_in_a_callback(caplog):
    """Its name, and what to write; what is missing because of it is a line. No traceback."""

    class Named(WebSocketHandler):
        def on_open(self):
            self.name = self.context.query_string["name"]

        def on_close(self):
            self.send(f"{self.name} has gone")

    assert visit(Named) == 1008
    first, second = (record for record in caplog.records if "Named.on_" in record.getMessage())
    assert not first.exc_info
    assert "Named.on_open on /ws refuses its client" in first.getMessage()
    assert "The request has no name: use .get()" in first.getMessage()
    assert not second.exc_info
    assert "Named.on_close on /ws: there is no self.name" in second.getMessage()
    assert "`name = None`" in second.getMessage()


def test_an_error_of_its_own_after_another_has_its_traceback(caplog):
    """It is not for want of what the first would have set."""

    class Twice(WebSocketHandler):
        def on_open(self):
            raise LookupError

        def on_close(self):
            return None.name

    visit(Twice)
    assert [bool(record.exc_info) for record in caplog.records if record.levelname == "ERROR"] == [
        True,
        True,
    ]


def test_an_http_error_of_the_server_in_a_callback(caplog):
    """There is no response any more. A 4xx refuses the client."""

    class Guarded(WebSocketHandler):
        def on_message(self, message):
            abort(503)

    assert visit(Guarded, "hello") == 1011
    assert "an HTTP error answers nobody after the handshake; self.close(code, reason)" in (
        caplog.text
    )


def test_an_object_or_nothing_in_the_place_of_the_class():
    """Neither becomes a route."""
    sockets = WebSockets(make_app())
    with pytest.raises(TypeError, match=r"takes a WebSocketHandler class, .* or a function, not <"):
        sockets.route("/ws")(Echo())
    with pytest.raises(TypeError, match=r'needs a path: write @sockets\.route\("/…"\)'):
        sockets.route(Echo)


def test_a_function_without_a_websocket():
    """A view below the wrong `route`."""
    sockets = WebSockets(make_app())
    with pytest.raises(TypeError, match=r"talk takes no WebSocket: write `def talk\(ws, …\)`"):

        @sockets.route("/talk")
        def talk(): ...


def test_a_class_of_another_kind_below_route():
    """A view class has its own way, and whatever else needs its base class."""
    sockets = WebSockets(make_app())
    with pytest.raises(TypeError, match=r'Page is a view, .* view_func=Page\.as_view\("page"\)'):

        @sockets.route("/page")
        class Page(MethodView): ...

    with pytest.raises(TypeError, match=r"write `class Chat\(WebSocketHandler\):`"):

        @sockets.route("/chat")
        class Chat: ...


def test_a_page_of_another_origin(caplog):
    """The page is refused; the log names the setting, and what a proxy may have lost."""
    refused = visit(Echo, origin="https://elsewhere.example")
    assert "https://elsewhere.example are not allowed" in str(refused)
    assert "is this app itself, its proxy has to pass Host on" in caplog.text
    assert "put it into the list WSHANDLER_ALLOWED_ORIGINS" in caplog.text


def test_a_page_of_an_origin_that_is_not_listed(caplog):
    """The log says what the list has."""
    config = {"WSHANDLER_ALLOWED_ORIGINS": ["https://one.example"]}
    client = with_view(named(lambda: accept_websocket_request(Echo())), **config)
    with pytest.raises(HandshakeRefused):
        client.websocket_connect("/ws", origin="https://two.example")
    assert "WSHANDLER_ALLOWED_ORIGINS has only https://one.example" in caplog.text
    assert "put https://two.example into it" in caplog.text


def test_a_proxy_that_ends_tls_without_proxy_fix(caplog):
    """It says so itself."""
    options = {"origin": "https://localhost", "headers": {"X-Forwarded-Proto": "https"}}
    visit(Echo, **options)
    assert "the app needs werkzeug's ProxyFix" in caplog.text


def test_the_refusal_of_a_test_client_says_why():
    """As the page does."""
    refused = visit(named(lambda: abort(409, "The room is full.")))
    assert str(refused) == "the handshake was answered with 409 CONFLICT: The room is full."
    assert str(visit(named(lambda: abort(401)))).endswith("401 UNAUTHORIZED")


def test_the_address_of_a_route_as_a_page():
    """426, with the version."""
    app = make_app()
    WebSockets(app).route("/ws")(Echo)
    page = app.test_client().get("/ws")
    assert page.status_code == 426
    assert "This address speaks WebSocket, version 13." in page.text


def test_a_setting_by_half_its_name(caplog):
    """With the one that is meant."""
    app = make_app()
    app.config["WSHANDLER_PING"] = 3
    app.config["WSHANDLER_THREAD"] = 3
    WebSockets(app)
    assert "WSHANDLER_PING is no setting; is WSHANDLER_PING_INTERVAL meant?" in caplog.text
    assert "WSHANDLER_THREAD is no setting; is WSHANDLER_THREADS meant?" in caplog.text


def test_an_app_without_websockets(tmp_path):
    """Flask refuses the handshake before any view is called; the log and the page say why."""
    (tmp_path / "bare.py").write_text(
        "from flask import Flask\n"
        "from flask_wshandler import WebSocketHandler, accept_websocket_request\n"
        "app = Flask(__name__)\n"
        "@app.route('/ws')\n"
        "def ws(): return accept_websocket_request(WebSocketHandler())\n"
        "headers = {'Connection': 'Upgrade', 'Upgrade': 'websocket',\n"
        "           'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 16 * 'A'}\n"
        "for path in ('/ws', '/ws', '/elsewhere'):\n"
        "    response = app.test_client().get(path, headers=headers)\n"
        "    print(response.status_code, 'has no WebSockets' in response.text)\n"
    )
    command = [sys.executable, "bare.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["400 True", "400 True", "404 False"]
    assert run.stderr.count("has no WebSockets") == 1
    assert "A WebSocket on /ws was refused: the app 'bare' has no WebSockets" in run.stderr
    assert "call WebSockets(app)" in run.stderr


def test_an_http_handler_that_returns_nothing():
    """As ASP.NET's ProcessRequest: the accepting is the answer, and 426 without one."""

    class Ws(HttpHandler):
        def process_request(self, context):
            if context.is_websocket_request:
                context.accept_websocket_request(Echo())

    client = with_view(Ws.as_view("ws"))
    with client.websocket_connect("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    assert client.get("/ws").status_code == 426
