"""A callback's contexts, and what of the handshake's request is kept."""

import contextvars
import gc
import tracemalloc
import weakref

import pytest
from flask import (
    Flask,
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
from flask.globals import request_ctx

from flask_wshandler import WebSockets
from flask_wshandler.context import RequestSnapshot, copied_variables, entered

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
    context = entered(snapshot_of(app))
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
        context = entered(snapshot)
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
    context = entered(snapshot_of(app))
    torn_down.clear()
    g.name = "ann"
    chunks = stream_template_string("{{ request.path }} {{ g.name }} {{ session.name }}")
    assert "".join(chunks) == "/rooms/7 ann ann"
    with request_ctx._get_current_object():
        assert (request.path, g.name) == ("/rooms/7", "ann")
        with current_app.app_context():
            assert not hasattr(g, "name")
    assert (request.path, g.name, torn_down) == ("/rooms/7", "ann", [None])
    context.pop()
    assert torn_down == [None, None]
    assert not has_app_context()
    assert not has_request_context()


def test_what_a_teardown_function_raises_leaves_no_context(app):
    """It goes to whoever has pushed it."""
    faults = []

    @app.teardown_request
    def fail(error):
        if faults:
            raise faults.pop()

    context = entered(snapshot_of(app))
    faults.append(LookupError("in a teardown function"))
    with pytest.raises(LookupError):
        context.pop()
    assert not has_app_context()
    assert not has_request_context()


def test_a_session_changed_in_a_callback_is_that_of_the_next(app):
    """It is the handshake's session, for as long as the connection lives."""
    snapshot = snapshot_of(app)
    for count in (1, 2):
        context = entered(snapshot)
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
    context = entered(snapshot_of(app))

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
