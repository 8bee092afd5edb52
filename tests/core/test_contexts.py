"""A callback's contexts, and what of the handshake's request is kept."""

import contextvars
import gc
import threading
import traceback
import tracemalloc
import types
import weakref

import pytest
from flask import (
    Flask,
    Request,
    copy_current_request_context,
    current_app,
    flash,
    g,
    get_flashed_messages,
    has_app_context,
    has_request_context,
    request,
    session,
    stream_template_string,
    url_for,
)
from werkzeug.datastructures import Headers, ImmutableMultiDict
from werkzeug.utils import cached_property

from flask_wshandler import WebSockets
from flask_wshandler.handlers import recent_requests
from flask_wshandler.handlers.callback_context import (
    CallbackContext,
    ContextApart,
    copied_variables,
)
from flask_wshandler.handlers.context import WebSocketContext
from flask_wshandler.handlers.flask_internals import current_request_context, entered
from flask_wshandler.handlers.request_snapshot import RequestSnapshot

CONNECTION = types.SimpleNamespace(is_open=True)
HEADERS = {
    "Host": "example.org",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "Accept-Language": "en-US,en;q=0.9",
    "Cookie": "a=b",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture
def app():
    app = Flask(__name__)
    app.secret_key = "key"
    WebSockets(app)

    @app.route("/rooms/<int:number>")
    def room(number):
        return ""

    return app


def snapshot_of(app, path="/rooms/7?x=1"):
    with app.test_request_context(path, headers=HEADERS):
        request.marked = "by the app"
        session["name"] = "ann"
        return RequestSnapshot(
            app, request._get_current_object(), session._get_current_object(), "chat"
        )


def test_everything_is_that_of_the_handshake(app):
    """`request` with its rule and the app's own attributes, `session`, `url_for`."""
    context = entered(ContextApart, snapshot_of(app))
    assert current_app._get_current_object() is app
    assert request.path == "/rooms/7"
    assert request.args.to_dict() == {"x": "1"}
    assert request.view_args == {"number": 7}
    assert request.endpoint == "room"
    assert request.marked == "by the app"
    assert request.cookies.to_dict() == {"a": "b"}
    assert session == {"name": "ann"}
    assert url_for("room", number=8) == "/rooms/8"
    assert url_for("room", number=8, _external=True) == "http://example.org/rooms/8"
    flash("kept in the session")
    assert get_flashed_messages() == ["kept in the session"]
    context.pop()
    assert not has_request_context()
    assert not has_app_context()


def test_g_is_fresh_and_torn_down(app):
    """Each callback has its own, and its teardown functions run with the error."""
    seen = []
    app.teardown_appcontext(lambda error: seen.append(("app", g.get("name"), error)))
    app.teardown_request(lambda error: seen.append(("request", request.path, error)))
    snapshot = snapshot_of(app)
    error = ValueError()
    for raised in (None, error):
        context = entered(ContextApart, snapshot)
        assert "name" not in g
        g.name = "set"
        context.pop(raised)
    assert seen[-4:] == [
        ("request", "/rooms/7", None),
        ("app", "set", None),
        ("request", "/rooms/7", error),
        ("app", "set", error),
    ]


def test_a_context_may_be_pushed_again_meanwhile(app):
    """As `stream_with_context` does; teardown functions run once, at the end, and nothing stays."""
    torn_down = []
    app.teardown_appcontext(torn_down.append)
    context = entered(ContextApart, snapshot_of(app))
    torn_down.clear()
    g.name = "ann"
    chunks = stream_template_string("{{ request.path }} {{ g.name }} {{ session.name }}")
    assert "".join(chunks) == "/rooms/7 ann ann"
    with current_request_context():
        assert (request.path, g.name) == ("/rooms/7", "ann")
        with current_app.app_context():
            assert not hasattr(g, "name")
    assert (request.path, g.name, torn_down) == ("/rooms/7", "ann", [None])
    context.pop()
    assert torn_down == [None, None]
    assert not has_app_context()
    assert not has_request_context()


def whole_text(error):
    return "".join(traceback.format_exception(error))


def test_what_a_teardown_function_raises_leaves_no_context(app):
    """It goes to whoever has pushed it."""
    faults = []

    @app.teardown_request
    def fail(error):
        if faults:
            raise faults.pop()

    context = entered(ContextApart, snapshot_of(app))
    faults.append(LookupError("in a teardown function"))
    with pytest.raises(Exception) as raised:  # since Flask 3.2 a group with it
        context.pop()
    assert "LookupError: in a teardown function" in whole_text(raised.value)
    assert not has_app_context()
    assert not has_request_context()


def test_a_session_changed_in_a_callback_is_that_of_the_next(app):
    """It is the handshake's session, for as long as the connection lives."""
    snapshot = snapshot_of(app)
    for count in (1, 2):
        context = entered(ContextApart, snapshot)
        session["count"] = session.get("count", 0) + 1
        assert session["count"] == count
        context.pop()


def test_copied_variables_do_not_keep_the_views_request(app):
    """Flask's own are left out, with all that they refer to."""
    marked = contextvars.ContextVar("marked")

    def view():
        with app.test_request_context("/rooms/7"):
            marked.set("by the view")
            return copied_variables(), weakref.ref(request._get_current_object())

    variables, kept_request = contextvars.Context().run(view)
    gc.collect()
    assert kept_request() is None
    assert dict(variables) == {marked: "by the view"}
    assert contextvars.Context().run(copied_variables) is None


def test_a_copied_context_works_in_another_place(app):
    """`copy_current_request_context` gives an ordinary one."""
    context = entered(ContextApart, snapshot_of(app))

    @copy_current_request_context
    def elsewhere():
        return request.path, session["name"]

    context.pop()
    assert elsewhere() == ("/rooms/7", "ann")


def test_the_environ_is_kept_but_for_the_servers_own(app):
    """Header by header; without the sockets and streams of the request that has ended."""
    with app.test_request_context("/rooms/1", headers=HEADERS) as original:
        original.request.environ["gunicorn.socket"] = object()
        snapshot = RequestSnapshot(app, original.request, original.session)
        kept = snapshot.environ()
        assert "gunicorn.socket" not in kept
        for key, value in original.request.environ.items():
            if not key.startswith(("wsgi.", "werkzeug.", "gunicorn.")):
                assert kept[key] == value
        assert kept["wsgi.input"].read() == b""


def test_a_snapshot_is_small(app):
    """What is the same for all clients is kept once: under 1.2 kB each."""
    snapshots = []

    def take(count):
        for number in range(count):
            headers = {**HEADERS, "Sec-WebSocket-Key": f"{number:024}"}
            with app.test_request_context(f"/rooms/{number}?x={number}", headers=headers) as now:
                snapshots.append(RequestSnapshot(app, now.request, now.session))

    take(100)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    take(1000)
    each = (tracemalloc.get_traced_memory()[0] - before) / 1000
    tracemalloc.stop()
    assert each < 1200


class OwnRequest(Request):
    """A request class as apps have them."""

    __slots__ = ("kept_in_slot",)
    tenant = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.number = next(numbers)

    @cached_property
    def account(self):
        return "computed"

    @property
    def locale(self):
        return self._locale

    @locale.setter
    def locale(self, value):
        self._locale = value


numbers = iter(range(1000))

SET_BY_APPS = {
    "a name of its own": ("player", "ann"),
    "a name that the class has": ("tenant", "acme"),
    "a plain attribute": ("remote_addr", "203.0.113.5"),
    "another": ("scheme", "https"),
    "None": ("remote_addr", None),
    "a cached property of Werkzeug's": ("args", ImmutableMultiDict({"room": "9"})),
    "the host": ("host", "tenant.example.org"),
    "an Accept header": ("accept_languages", ["de"]),
    "the form": ("form", ImmutableMultiDict({"decrypted": "1"})),
    "a cached property of the app's": ("account", "set"),
    "a property with a setter": ("locale", "de"),
    "a slot": ("kept_in_slot", "slotted"),
    "what __init__ has set": ("number", -1),
    "the headers": ("headers", Headers({"X-Own": "yes"})),
    "the rule's variables": ("view_args", {"number": 8}),
}


if Request.max_content_length.fset is not None:  # since Flask 3.1
    SET_BY_APPS["a limit"] = ("max_content_length", 17)


@pytest.mark.parametrize("what", SET_BY_APPS)
def test_what_the_app_sets_on_its_request_is_seen(app, what):
    """Whether or not the class knows the name, in each callback."""
    app.request_class = OwnRequest
    name, value = SET_BY_APPS[what]
    with app.test_request_context("/rooms/7?x=1", headers=HEADERS) as view:
        assert (request.args["x"], request.host) == ("1", "example.org")
        setattr(view.request, name, value)
        number = request.number
        snapshot = RequestSnapshot(app, view.request, view.session)
    snapshot.opened(CONNECTION)
    for _ in range(2):
        context = entered(ContextApart, snapshot)
        assert getattr(request, name) == value
        if name != "number":
            assert request.number == number
        context.pop()
    snapshot.closed()


def test_a_context_shows_what_the_view_saw(app):
    """`self.context`, which is made from the request, too; also changes of the environ."""
    with app.test_request_context("/rooms/7?x=1", headers=HEADERS) as view:
        request.remote_addr = "203.0.113.5"
        request.scheme = "https"
        request.args = ImmutableMultiDict({"room": "9"})
        request.headers = Headers({"Origin": "https://example.org", "User-Agent": "own"})
        snapshot = RequestSnapshot(app, view.request, view.session)
        request.environ["REMOTE_USER"] = "ann"
        request.environ["own.value"] = 3
        snapshot.note_changes(view.request, view.session)
    context = WebSocketContext(snapshot)
    assert context.user_host_address == "203.0.113.5"
    assert context.is_secure_connection
    assert context.query_string.to_dict() == {"room": "9"}
    assert (context.origin, context.user_agent) == ("https://example.org", "own")
    assert context.user == "ann"
    assert context.server_variables["own.value"] == 3


def computed_by_werkzeug():
    names = dir(Request)
    return [name for name in names if isinstance(getattr(Request, name), cached_property)]


@pytest.mark.filterwarnings("ignore:The 'accept_charsets' attribute:DeprecationWarning")
def test_what_werkzeug_computes_is_not_kept(app):
    """A view that has looked at everything leaves nothing more in memory."""
    assert "user_agent" in computed_by_werkzeug()
    with app.test_request_context("/rooms/7?x=1", headers=HEADERS) as view:
        for name in computed_by_werkzeug():
            getattr(view.request, name)
        assert RequestSnapshot(app, view.request, view.session)._attributes is None


class InCallback:
    """Enters a callback's context, as callbacks do."""

    def __init__(self, snapshot):
        self._snapshot = snapshot

    def __enter__(self):
        self._context = entered(CallbackContext, self._snapshot)

    def __exit__(self, *error):
        self._context.end(None)
        self._context.leave()


@pytest.fixture
def snapshot(app):
    snapshot = snapshot_of(app)
    snapshot.opened(CONNECTION)
    yield snapshot
    snapshot.closed()


def set_attribute():
    request.marked = "by a callback"


def set_known_attribute():
    request.remote_addr = "203.0.113.5"


def set_computed():
    request.args = ImmutableMultiDict({"x": "2"})


def set_after_computing():
    request.args["x"]
    set_computed()


def change_environ():
    request.environ["REMOTE_USER"] = "eve"


def take_from_view_args():
    request.view_args.pop("number")


def remove_attribute():
    del request.marked


def update_environ():
    request.environ.update(REMOTE_USER="eve")


def replace_environ():
    request.environ = {**request.environ, "REMOTE_USER": "eve"}


def decrypt_form():
    request.form = ImmutableMultiDict({"decrypted": "1"})


@pytest.mark.parametrize(
    "change",
    [
        set_attribute, set_known_attribute, set_computed, set_after_computing, change_environ,
        take_from_view_args, remove_attribute, update_environ, replace_environ, decrypt_form,
    ],
)  # fmt: skip
def test_what_a_callback_does_to_its_request_is_its_own(app, snapshot, change):
    """The next one has the handshake's again, however often the request was used before."""

    def look():
        return (
            request.marked,
            request.remote_addr,
            request.args.to_dict(),
            request.remote_user,
            request.headers.get("User-Agent"),
            request.form.to_dict(),
            dict(request.view_args),
            request.environ["werkzeug.request"] is request._get_current_object(),
            request.environ["wsgi.input"].read(),
        )

    with InCallback(snapshot):
        before = look()
    for _ in range(2):
        with InCallback(snapshot):
            change()
        with InCallback(snapshot):
            assert look() == before


def test_a_request_that_another_thread_has_taken_is_not_used_again(app, snapshot):
    """`copy_current_request_context`: it is popped there, at some time."""
    with InCallback(snapshot):
        request.marked = "by this callback"
        taken = request._get_current_object()

        @copy_current_request_context
        def elsewhere():
            return request._get_current_object(), request.marked

    with InCallback(snapshot):
        assert request._get_current_object() is not taken
        assert request.marked == "by the app"
    found = []
    thread = threading.Thread(target=lambda: found.append(elsewhere()))
    thread.start()
    thread.join()
    assert found == [(taken, "by this callback")]


def test_the_request_is_made_once(app, snapshot):
    """Not for each callback; nor is its query parsed for each."""
    made = []

    class Counted(Request):
        def __new__(cls, environ):
            made.append(environ)
            return super().__new__(cls)

    app.request_class = Counted
    for _ in range(10):
        with InCallback(snapshot):
            assert request.args["x"] == "1"
            assert request.cookies.to_dict() == {"a": "b"}
            assert url_for("room", number=8) == "/rooms/8"
    assert len(made) == 2  # one of them for the URLs


def test_requests_of_idle_connections_are_not_kept(app, monkeypatch):
    """Those that have used theirs once are under 3 kB each: some of them have it, not all."""
    monkeypatch.setattr(recent_requests, "_MOST", 100)
    snapshots = []

    def connect(count):
        for number in range(count):
            snapshot = snapshot_of(app, f"/rooms/{number}?x={number}")
            snapshot.opened(CONNECTION)
            with InCallback(snapshot):
                request.args["x"]
            snapshots.append(snapshot)

    connect(10)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    connect(400)
    each = (tracemalloc.get_traced_memory()[0] - before) / 400
    tracemalloc.stop()
    for snapshot in snapshots:
        snapshot.closed()
    assert each < 3000


def test_nothing_of_a_request_outlives_its_connection(app):
    """The last use is the end, without the garbage collector; what comes later keeps nothing."""
    snapshot = snapshot_of(app)
    snapshot.opened(CONNECTION)
    with InCallback(snapshot):
        kept = weakref.ref(request._get_current_object())
    assert kept() is not None
    snapshot.closed()
    assert kept() is None
    assert WebSocketContext(snapshot).path == "/rooms/7"
    assert snapshot.recent.request is None
