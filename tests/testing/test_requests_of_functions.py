"""A function's request: its thread, its contexts, its teardown functions, and what ends them."""

import gc
import threading
from contextvars import ContextVar

import pytest
from flask import Flask, Response, abort, current_app, g, request, session
from flask_login import LoginManager, UserMixin, current_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.handlers.signals import message_received, websocket_connected
from flask_wshandler.testing import HandshakeRefused
from tests.deadlines import DEADLINE_S, wait_for

tenant = ContextVar("tenant", default="none")


class Site:
    """An app that notes where its request begins and ends."""

    def __init__(self):
        self.app = Flask(__name__)
        self.app.secret_key = "known"
        self.sockets = WebSockets(self.app)
        self.begun = []
        self.ended = []
        self.app.before_request(self.begin)
        self.app.teardown_request(lambda error: self.ended.append(("request", error)))
        self.app.teardown_appcontext(self.end)
        self.sockets.route("/function/<name>")(self.function)
        self.connect = self.app.test_client().websocket_connect

    def begin(self):
        g.opened = request.path
        session["begun"] = True
        tenant.set(request.args.get("tenant"))
        self.begun.append(threading.current_thread())

    def end(self, error):
        self.ended.append((g.opened, error))
        self.ended_in = threading.current_thread()

    def function(self, ws, name):
        while True:
            message = ws.receive()
            if message == "raise":
                raise LookupError(message)
            ws.send(
                f"{name} {g.opened} {request.path} {session['begun']} {tenant.get()} "
                f"{threading.current_thread() is self.begun[-1]}"
            )

    def wait_for_end(self):
        wait_for(lambda: len(self.ended) == 2, "the end of the request")
        wait_for(lambda: not self.begun[-1].is_alive(), "the end of its thread")


@pytest.fixture
def site():
    return Site()


def test_is_one_request_from_beginning_to_end(site):
    """One thread, one `g`; teardown functions run once, when the function has returned."""
    with site.connect("/function/ann?tenant=acme") as ws:
        for _ in range(3):
            ws.send("x")
            answer = "ann /function/ann /function/ann True acme True"
            assert ws.receive(timeout=DEADLINE_S) == answer
        assert not site.ended
    site.wait_for_end()
    assert site.ended == [("request", None), ("/function/ann", None)]
    assert site.ended_in is site.begun[0]


def test_teardown_functions_are_told_of_what_the_function_raises(site):
    """As of what a view raises."""
    with site.connect("/function/ann") as ws:
        ws.send("raise")
        assert ws.wait_closed() == 1011
    site.wait_for_end()
    assert [str(error) for _, error in site.ended] == ["raise", "raise"]


def test_teardown_functions_may_raise(site):
    """It closes the client with 1011."""

    @site.app.teardown_request
    def fail(error):
        raise RuntimeError("in a teardown function")

    with site.connect("/function/ann", propagate_exceptions=False) as ws:
        ws.close()
    with site.connect("/function/bob", propagate_exceptions=False) as ws:
        ws.send("raise")
        assert ws.wait_closed() == 1011


def test_signals_have_contexts_of_their_own(site):
    """Their receivers may open what teardown functions close, so those run after each."""
    heard = []

    def receive(app, handler, message):
        heard.append((message, tenant.get(), "opened" in g, request.path))
        g.opened = "by a receiver"

    hearing = message_received.connected_to(receive, site.app)
    with hearing, site.connect("/function/ann?tenant=acme") as ws:
        ws.send("one")
        assert ws.receive(timeout=DEADLINE_S)
        assert heard == [("one", "acme", False, "/function/ann")]
        assert site.ended == [("request", None), ("by a receiver", None)]


@pytest.mark.parametrize("how", ["replaced", "refused", "raises"])
def test_a_request_that_opens_nothing_ends(site, how):
    """Its teardown functions have run and its thread has ended; the function was not called."""
    status = {"refused": 403, "replaced": 418, "raises": 500}[how]
    if how == "refused":
        site.app.before_request(lambda: abort(status))
    elif how == "replaced":
        site.app.after_request(lambda response: Response("replaced", status))
    else:
        site.app.after_request(lambda response: 1 / 0)
    with pytest.raises(HandshakeRefused) as refused:
        site.connect("/function/ann")
    assert refused.value.response.status_code == status
    site.wait_for_end()


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_response_that_never_leaves_ends_the_request(site, how):
    """A middleware that throws it away, with or without closing it."""
    wsgi_app = site.app.wsgi_app

    def middleware(environ, start_response):
        body = wsgi_app(environ, start_response)
        if how == "closed":
            body.close()
        del body
        gc.collect()
        start_response("418 I'M A TEAPOT", [])
        return [b""]

    site.app.wsgi_app = middleware
    with pytest.raises(HandshakeRefused):
        site.connect("/function/ann")
    site.wait_for_end()


def test_what_the_view_raises_is_the_servers(site):
    """With the traceback of the thread."""
    site.app.testing = True

    @site.app.before_request
    def fail():
        raise LookupError("before the request")

    with pytest.raises(LookupError, match="before the request") as raised:
        site.connect("/function/ann")
    assert "fail" in [entry.name for entry in raised.traceback]
    site.wait_for_end()


def test_pages_and_apps_without_functions_take_no_thread(site):
    """Only a request for a WebSocket can come to a function."""
    site.app.route("/page")(lambda: "a page")
    client = site.app.test_client()
    assert client.get("/page").text == "a page"
    assert site.begun == [threading.current_thread()]
    other = Flask(__name__)
    threads = []

    @WebSockets(other).route("/echo")
    class Echo(WebSocketHandler):
        def __init__(self):
            threads.append(threading.current_thread())

    with other.test_client().websocket_connect("/echo"):
        assert threads == [threading.current_thread()]


def test_no_thread_is_a_refusal(site, monkeypatch):
    """503 with Retry-After, as when the worker is full."""

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(HandshakeRefused) as refused:
        site.connect("/function/ann")
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"]


def test_a_mounted_app_has_its_own_request():
    """The function's `current_app` and teardown functions are those of the app it belongs to."""
    outer, inner = Site(), Site()

    @inner.sockets.route("/app")
    def tell(ws):
        ws.send(current_app.name + ("" if current_app == inner.app else " is another"))
        ws.receive()

    outer.app.wsgi_app = _mounted(outer.app.wsgi_app, inner.app)
    with outer.connect("/inner/app") as ws:
        assert ws.receive(timeout=DEADLINE_S) == inner.app.name
        assert not inner.ended
    inner.wait_for_end()
    assert not outer.begun


def _mounted(wsgi_app, app):
    def dispatch(environ, start_response):
        if environ["PATH_INFO"].startswith("/inner"):
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/inner")
            return app(environ, start_response)
        return wsgi_app(environ, start_response)

    return dispatch


class Base(DeclarativeBase):
    """Of the one table."""


class User(UserMixin, Base):
    """Whose name expires with each commit."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def test_the_users_database_session_is_the_functions(tmp_path):
    """`current_user` can be loaded anew after a commit, and the connection is given back once."""
    app = Flask(__name__)
    app.secret_key = "known"
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/users"
    db = SQLAlchemy(app, model_class=Base)
    LoginManager(app).user_loader(lambda id: db.session.get(User, int(id)))
    with app.app_context():
        Base.metadata.create_all(db.engine)
        db.session.add(User(id=7, name="ann"))
        db.session.commit()
        engine = db.engine

    @app.before_request
    def load():
        assert current_user.name == "ann"

    @WebSockets(app).route("/rename")
    def rename(ws):
        while True:
            current_user.name = ws.receive()
            db.session.commit()
            ws.send(current_user.name)
            db.session.commit()

    client = app.test_client()
    with client.session_transaction() as kept:
        kept.update(_user_id="7", _fresh=True)
    with client.websocket_connect("/rename") as ws:
        for name in ("bob", "eve"):
            ws.send(name)
            assert ws.receive(timeout=DEADLINE_S) == name
    wait_for(lambda: not engine.pool.checkedout(), "the connection")
    engine.dispose()


def test_receivers_of_other_signals_change_nothing(site):
    """A context is made for the callback whose signal is received, and for no other."""
    site.app.teardown_appcontext_funcs.clear()
    hearing = websocket_connected.connected_to(lambda app, handler: None, site.app)
    with hearing, site.connect("/function/ann") as ws:
        ws.send("x")
        assert ws.receive(timeout=DEADLINE_S)
        assert site.ended == [("request", None)]


def test_a_middleware_that_is_a_generator_hides_nothing():
    """Such an app has done nothing yet when it returns; it is begun in the request's thread."""
    app = Flask(__name__)
    app.wsgi_app = _generator(app.wsgi_app)
    sockets = WebSockets(app)
    threads = []
    app.before_request(lambda: threads.append(threading.current_thread()))
    app.teardown_request(lambda error: threads.append(threading.current_thread()))

    @sockets.route("/function")
    def function(ws):
        threads.append(threading.current_thread())
        ws.send(ws.receive())

    with app.test_client().websocket_connect("/function") as ws:
        ws.send("x")
        assert ws.receive(timeout=DEADLINE_S) == "x"
        assert ws.wait_closed() == 1000
    assert len(threads) == 3
    assert len(set(threads)) == 1


def _generator(wsgi_app):
    def middleware(environ, start_response):
        yield from wsgi_app(environ, start_response)

    return middleware
