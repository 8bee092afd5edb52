"""What Flask offers around a request, asked for where WebSockets are served."""

import contextvars
import gc
import threading
import weakref

import pytest
from flask import (
    Blueprint,
    Flask,
    after_this_request,
    copy_current_request_context,
    current_app,
    g,
    request,
    session,
    url_for,
)

from flask_wshandler import HttpHandler, WebSocketHandler, WebSockets, accept_websocket_request


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


class Globals(WebSocketHandler):
    """Tells what its `g` has, and leaves something there."""

    def on_text(self, message):
        self.send_json({name: getattr(g, name) for name in g})
        g.left = message


def asked(app, path, *messages):
    """The answers to each message."""
    with app.test_client().websocket_connect(path) as ws:
        for message in messages:
            ws.send(message)
        return [ws.receive_json(timeout=5) for _ in messages]


def test_what_is_kept_of_g_is_said_by_a_setting(app):
    """By default what extensions keep there of whom they have admitted; nothing else."""

    @app.before_request
    def fill():
        g.flask_httpauth_user = "ann"
        g.tenant = "acme"

    @app.after_request
    def fill_late(response):
        g.late = "late"
        return response

    WebSockets(app).route("/globals")(Globals)
    assert asked(app, "/globals", "x", "y") == 2 * [{"flask_httpauth_user": "ann"}]
    app.config["WSHANDLER_KEEP_IN_G"] = ["tenant", "late", "absent"]
    other = Flask(__name__)
    other.config["WSHANDLER_KEEP_IN_G"] = app.config["WSHANDLER_KEEP_IN_G"]
    other.before_request(fill)
    other.after_request(fill_late)
    WebSockets(other).route("/globals")(Globals)
    assert asked(other, "/globals", "x", "y") == 2 * [{"tenant": "acme", "late": "late"}]


class Linking(WebSocketHandler):
    """Answers with an address in its client's language, and what the view has seen."""

    def on_text(self, message):
        self.send_json([url_for("i18n.about"), g.lang, request.view_args])


def test_url_processors_run_for_callbacks(app):
    """Those of the app and of the blueprint, with what the URL had for the view."""
    blueprint = Blueprint("i18n", __name__, url_prefix="/<lang>/<project>")
    calls = []

    @app.url_value_preprocessor
    def pull_project(endpoint, values):
        calls.append(endpoint)
        g.project = values.pop("project")

    @blueprint.url_value_preprocessor
    def pull_language(endpoint, values):
        assert "project" not in values
        g.lang = values.pop("lang")

    @blueprint.url_defaults
    def add(endpoint, values):
        values.update(lang=g.lang, project=g.project)

    sockets = WebSockets(app)
    sockets.route("/live/<int:number>", bp=blueprint)(type("Live", (Linking,), {"__init__": init}))
    blueprint.add_url_rule("/about", "about", lambda: "about")
    app.register_blueprint(blueprint)
    assert asked(app, "/de/x/live/7", "x", "y") == 2 * [["/de/x/about", "de", {"number": 7}]]
    assert calls == 3 * ["i18n.Live"]


def init(self, number):
    assert number == 7


def test_teardown_functions_find_what_url_processors_set(app):
    """Also after a callback that has not used `g`."""
    found = []
    app.url_value_preprocessor(lambda endpoint, values: setattr(g, "lang", values["lang"]))
    app.teardown_appcontext(lambda error: found.append(g.lang))

    @WebSockets(app).route("/<lang>/echo")
    class Echo(WebSocketHandler):
        def __init__(self, lang):
            pass

        def on_text(self, message):
            self.send(message)

    with app.test_client().websocket_connect("/de/echo") as ws:
        ws.send("x")
        assert ws.receive(timeout=5) == "x"
        assert ws.receive_all() == []
    # The request, on_open, on_text and on_close.
    assert found == 4 * ["de"]


class Thing:
    """Something of a callback's."""


VARIABLE = contextvars.ContextVar("variable")


class Leaving(WebSocketHandler):
    """Answers whether anything is left of the last callback's `g` and request."""

    def __init__(self):
        self.last = []

    def on_text(self, message):
        left = [each for each in self.last if each() is not None]
        self.send(f"{message} {left}")
        g.thing, request.thing = Thing(), Thing()
        if message == "sets a variable":
            VARIABLE.set("value")
        self.last = [weakref.ref(each) for each in (g.thing, request.thing)]


@pytest.fixture
def no_collection():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_nothing_is_left_of_a_callback_for_the_garbage_collector(app):
    """With a context variable of its own and without: what is in `g` goes when it returns."""
    WebSockets(app).route("/leaving")(Leaving)

    def talk():
        with app.test_client().websocket_connect("/leaving") as ws:
            for text in ("one", "two", "sets a variable", "three", "four"):
                ws.send(text)
                assert ws.receive(timeout=5) == f"{text} []"

    contextvars.Context().run(talk)  # pytest has variables of its own


class Asking(WebSocketHandler):
    """Asks for its user in another thread, in a copy of the callback's context."""

    def __init__(self, torn_down):
        self._torn_down = torn_down

    def on_text(self, message):
        @copy_current_request_context
        def ask():
            before = len(self._torn_down)
            self.context.user  # noqa: B018  # it is loaded
            self.send(str(len(self._torn_down) - before))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()


def test_the_user_in_a_copied_context_needs_no_other(app):
    """One more would run the app's teardown functions amid the work of that thread."""
    torn_down = []
    app.login_manager = type(
        "Manager", (), {"_load_user": lambda self: setattr(g, "_login_user", 1)}
    )()
    app.teardown_appcontext(torn_down.append)
    app.add_url_rule(
        "/asking", "asking", lambda: accept_websocket_request(Asking(torn_down)), websocket=True
    )
    WebSockets(app)
    with app.test_client().websocket_connect("/asking") as ws:
        ws.send("who?")
        assert ws.receive(timeout=5) == "0"
