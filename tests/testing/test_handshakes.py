"""The handshake is a request of Flask's test client."""

import functools
import sys

import pytest
from flask import Flask, Response, request, session
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.testing import (
    HandshakeRefused,
    WebSocketClient,
    WebSocketClientMixin,
    enable,
    websocket_connect,
    worker_of,
)

from .app import create_app, users


def mirror(ws):
    """What the handler knows of the handshake."""
    ws.send("?")
    return ws.receive_json()


def refusal(client, path, **options):
    """The response that refuses a handshake."""
    with pytest.raises(HandshakeRefused) as refused:
        client.websocket_connect(path, **options)
    return refused.value.response


class TestCookies:
    def test_session_of_a_transaction(self, client):
        """Flask's way to prepare a session."""
        with client.session_transaction() as prepared:
            prepared["visits"] = 41
        with client.websocket_connect("/cookie") as ws:
            assert mirror(ws)["session"] == {"visits": 42}

    def test_cookies_of_the_answer_are_kept(self, client):
        """The 101 response sets them, the next request has them."""
        with client.websocket_connect("/cookie") as ws:
            assert ws.response.status_code == 101
        assert client.get("/plain").json["cookies"].keys() == {"kept", "session"}
        with client.websocket_connect("/cookie") as ws:
            assert mirror(ws)["cookies"]["kept"] == "yes"
            assert mirror(ws)["session"]["visits"] == 2

    def test_clients_have_their_own(self, client):
        """Each test client is a browser."""
        client.set_cookie("name", "ann")
        other = client.application.test_client()
        with client.websocket_connect("/mirror") as mine, other.websocket_connect("/mirror") as its:
            assert mirror(mine)["cookies"] == {"name": "ann"}
            assert mirror(its)["cookies"] == {}


class TestLogin:
    def test_stranger_is_refused(self, client):
        """By `login_required`, with an ordinary response."""
        assert refusal(client, "/for-users").status_code == 401

    def test_login_of_the_client_holds(self, client):
        """The cookie of an ordinary request."""
        client.get("/login")
        with client.websocket_connect("/for-users") as ws:
            assert not ws.closed
        with client.websocket_connect("/mirror") as ws:
            assert mirror(ws)["user"] == "ann"

    def test_login_is_checked_again(self, client, wshandler, monkeypatch):
        """`recheck_session_s`, by the clock of the test: 4401 when the user is gone."""
        client.get("/login")
        with client.websocket_connect("/for-users") as ws:
            wshandler.clock.advance(60)
            assert not ws.closed
            monkeypatch.delitem(users, "ann")
            wshandler.clock.advance(59)
            assert not ws.closed
            wshandler.clock.advance(1)
            assert ws.close_code == 4401


class TestRefusals:
    def test_response_is_ordinary(self, client):
        """As `client.get` returns it."""
        response = refusal(client, "/area/ws")
        assert response.status_code == 401
        assert "no key" in response.text
        assert response.request.path == "/area/ws"
        with client.websocket_connect("/area/ws?key=1") as ws:
            ws.send("in")
            assert ws.receive() == "in"

    def test_nothing_there(self, client):
        """404."""
        assert refusal(client, "/nowhere").status_code == 404

    def test_redirect_is_not_followed(self, client):
        """Browsers don't."""
        response = refusal(client, "/moved")
        assert (response.status_code, response.location) == (302, "/echo")

    def test_view_that_is_none(self, client):
        """A page that answers every request."""
        assert refusal(client, "/plain").json["websocket"] is True

    def test_response_that_was_replaced(self, client):
        """By after_request: the handler never opens, and the client is none."""
        assert refusal(client, "/echo?replace=1").text == "replaced"

    def test_too_many(self):
        """503 with Retry-After."""
        client = WebSocketClient(create_app(WSHANDLER_MAX_CONNECTIONS=1))
        with client.websocket_connect("/echo"):
            response = refusal(client, "/echo")
            assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        with client.websocket_connect("/echo"):
            pass

    def test_exception_of_the_view_is_raised(self, client):
        """As in every request of a test client."""
        with pytest.raises(LookupError, match="in the view"):
            client.websocket_connect("/broken")

    def test_exception_of_the_view_is_a_response(self, app, client):
        """Where Flask makes one of it."""
        app.config["PROPAGATE_EXCEPTIONS"] = False
        assert refusal(client, "/broken").status_code == 500

    def test_answer_that_is_no_handshake(self, app, client):
        """A 101 that the protocol does not allow."""

        @app.after_request
        def spoil(response):
            response.headers["Sec-WebSocket-Protocol"] = "not-offered"
            return response

        with pytest.raises(HandshakeRefused, match=r"no handshake.*subprotocol"):
            client.websocket_connect("/echo")

    def test_switching_to_something_else(self, app, client):
        """A 101 that no WebSocket is behind."""
        app.add_url_rule("/other", view_func=lambda: Response(status=101))
        with pytest.raises(HandshakeRefused, match="101 SWITCHING PROTOCOLS, but no app has"):
            client.websocket_connect("/other")

    def test_client_that_loses_the_socket(self, app):
        """It is in `environ_overrides`, which its `open` may add to, but not replace."""

        class Elsewhere(FlaskClient):
            def open(self, *args, **options):
                options["environ_overrides"] = {"REMOTE_ADDR": "192.0.2.1"}
                return super().open(*args, **options)

        with pytest.raises(HandshakeRefused, match=r"400 BAD REQUEST: .*environ_overrides"):
            websocket_connect(Elsewhere(app), "/echo")

    def test_app_without_the_extension(self):
        """Says what is missing."""
        with pytest.raises(RuntimeError, match="has no WebSockets"):
            websocket_connect(Flask("bare").test_client(), "/")

    def test_client_of_something_else(self, app):
        """Werkzeug's own, of a WSGI function."""
        with pytest.raises(TypeError, match="test client of a Flask app"):
            websocket_connect(Client(app.wsgi_app), "/echo")


class TestOrigin:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"base_url": "https://chat.example.org"},
            {"base_url": "http://chat.example.org:8080"},
            {"url_scheme": "https"},
            {"headers": {"Host": "other.example.org"}},
        ],
    )
    def test_is_the_apps_own(self, client, options):
        """A page of the app's, at whatever address."""
        with client.websocket_connect("/mirror", **options) as ws:
            found = mirror(ws)
            assert found["url"] == found["origin"] + "/mirror"

    def test_of_another_site_is_refused(self, client):
        """403."""
        assert refusal(client, "/echo", origin="https://elsewhere.example").status_code == 403

    def test_of_another_site_may_be_allowed(self):
        """As the setting says."""
        app = create_app(WSHANDLER_ALLOWED_ORIGINS=["https://*.example.org"])
        client = WebSocketClient(app)
        with client.websocket_connect("/mirror", origin="https://a.example.org") as ws:
            assert mirror(ws)["origin"] == "https://a.example.org"
        assert refusal(client, "/mirror").status_code == 403

    def test_none_at_all(self, client):
        """No browser."""
        with client.websocket_connect("/mirror", origin=None) as ws:
            assert mirror(ws)["origin"] is None

    def test_among_the_headers(self, client):
        """Who gives the header means it."""
        headers = {"Origin": "https://elsewhere.example"}
        assert refusal(client, "/echo", headers=headers).status_code == 403


class TestRequest:
    def test_options_are_those_of_a_request(self, client):
        """All that `client.get` takes."""
        with client.websocket_connect(
            "/mirror",
            query_string={"a": "b c"},
            base_url="https://example.org/root",
            headers={"X-Test": "yes"},
            auth=("ann", "secret"),
            environ_overrides={"extra": "over"},
            environ_base={"REMOTE_ADDR": "192.0.2.1"},
        ) as ws:
            found = mirror(ws)
        assert found["url"] == "https://example.org/root/mirror?a=b+c"
        assert found["root"] == "/root"
        assert found["headers"]["X-Test"] == "yes"
        assert found["authorization"] == "ann"
        assert found["extra"] == "over"
        assert found["address"] == "192.0.2.1"

    @pytest.mark.parametrize(
        ("path", "options"),
        [
            ("wss://example.org/mirror", {}),
            ("https://example.org/mirror", {}),
            ("/mirror", {"base_url": "wss://example.org"}),
        ],
    )
    def test_addresses_of_websockets(self, client, path, options):
        """ws: and wss: are what they are to a browser."""
        with client.websocket_connect(path, **options) as ws:
            assert mirror(ws)["url"] == "https://example.org/mirror"

    def test_subdomain(self):
        """With a SERVER_NAME; the page is one of the subdomain."""
        app = Flask("small", subdomain_matching=True)
        app.config.update(SERVER_NAME="example.org", TESTING=True)
        sockets = WebSockets(app)

        @sockets.route("/", subdomain="chat")
        class Host(WebSocketHandler):
            def on_open(self):
                self.send(self.context.origin)

        client = WebSocketClient(app)
        with client.websocket_connect("/", subdomain="chat") as ws:
            assert ws.receive() == "http://chat.example.org"
        assert refusal(client, "/").status_code == 404

    def test_options_of_the_call(self, client):
        """`client.get` has two that are none of the request."""
        with client.websocket_connect("/mirror", follow_redirects=False, buffered=True) as ws:
            assert mirror(ws)["origin"] == "http://localhost"
        with pytest.raises(ValueError, match="no redirect of a handshake is followed"):
            client.websocket_connect("/moved", follow_redirects=True)

    def test_defaults_of_the_client(self, client):
        """`environ_base`."""
        client.environ_base["HTTP_X_TEST"] = "always"
        with client.websocket_connect("/mirror") as ws:
            assert mirror(ws)["headers"]["X-Test"] == "always"

    def test_subprotocols(self, client):
        """Offered in order; the view chooses."""
        with client.websocket_connect("/ws.ashx", subprotocols=["a", "b"]) as ws:
            assert ws.subprotocol == "b"
        with client.websocket_connect("/ws.ashx") as ws:
            assert ws.subprotocol is None
            ws.send("hi")
            assert ws.receive() == "hi"
        assert client.get("/ws.ashx").status_code == 426

    def test_context_is_preserved(self, client):
        """`with client:` keeps the request of the handshake, and is not disturbed by callbacks."""
        with client:
            with client.websocket_connect("/cookie?a=1") as ws:
                assert request.args["a"] == "1"
                assert session["visits"] == 1
                mirror(ws)
                assert request.path == "/cookie"
            assert request.path == "/cookie"
            client.get("/plain")
            assert request.path == "/plain"
        with pytest.raises(RuntimeError, match="outside of request context"):
            request.path  # noqa: B018


class TestMountedApps:
    @pytest.fixture(params=["with WebSockets", "without"])
    def client(self, app, request):
        """Of an app that has the other one at /inner."""
        outer = Flask("outer")
        if request.param == "with WebSockets":
            WebSockets(outer)
        outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/inner": app})
        return WebSocketClient(outer)

    @pytest.mark.parametrize("transport", ["epoll", "blocking"])
    @pytest.mark.parametrize("is_known", [True, False])
    def test_serve_their_own(self, app, client, transport, is_known):
        """As under a server: with the time of the app that accepts."""
        app.config["WSHANDLER_TRANSPORT"] = transport
        WebSockets(app)
        if is_known:
            worker_of(app)
        with client.websocket_connect("/inner/mirror") as ws:
            assert mirror(ws)["root"] == "/inner"
            worker_of(app).clock.advance(20)
            assert ws.ping_count == 1
            assert worker_of(app).clients == [ws]
        assert worker_of(app).clients == []

    def test_say_whether_exceptions_are_raised(self, app, client):
        """The outer app is no test's."""
        with client.websocket_connect("/inner/failing") as ws:
            ws.send("x")
            ws.receive()
            with pytest.raises(LookupError, match="in on_message"):
                ws.receive()
        app.testing = False
        with client.websocket_connect("/inner/failing") as ws:
            ws.send("x")
            assert ws.wait_closed() == 1011

    def test_refuse(self, client):
        """By themselves."""
        assert refusal(client, "/inner/area/ws").status_code == 401


class TestClasses:
    def test_ones_own_class_stays(self, app):
        """What it does to requests it does to handshakes."""

        class ApiClient(FlaskClient):
            def open(self, *args, **options):
                headers = options.pop("headers", None) or Headers()
                headers.extend({"X-Key": "secret"})
                return super().open(*args, headers=headers, **options)

        app.test_client_class = ApiClient
        enable(app)
        enable(app)
        client = app.test_client()
        assert isinstance(client, ApiClient)
        assert type(client).__name__ == "ApiClient"
        with client.websocket_connect("/mirror") as ws:
            assert mirror(ws)["headers"]["X-Key"] == "secret"

    def test_what_is_no_class(self, app):
        """Nothing can be derived from it; the function takes its clients."""
        app.test_client_class = functools.partial(FlaskClient)
        with pytest.raises(TypeError, match=r"a test_client_class that is a class.*partial"):
            enable(app)
        with websocket_connect(app.test_client(), "/echo") as ws:
            ws.send("hi")
            assert ws.receive() == "hi"

    def test_mixin(self, app):
        """For who writes the class with it."""

        class Mine(WebSocketClientMixin, FlaskClient):
            pass

        app.test_client_class = Mine
        enable(app)
        assert app.test_client_class is Mine
        with app.test_client().websocket_connect("/echo") as ws:
            ws.send("hi")
            assert ws.receive() == "hi"

    def test_function(self, app):
        """For a client that has no such method."""
        with websocket_connect(FlaskClient(app), "/echo") as ws:
            ws.send("hi")
            assert ws.receive() == "hi"

    def test_worker_connects(self, wshandler):
        """By a client of its own."""
        with wshandler.websocket_connect("/mirror", headers={"X-Test": "1"}) as ws:
            assert mirror(ws)["headers"]["X-Test"] == "1"

    def test_app_that_is_initialized_again(self, app, client):
        """Settings are read again, and so is the test's engine."""
        with client.websocket_connect("/echo"):
            pass
        app.config["WSHANDLER_MAX_MESSAGE_SIZE"] = 10
        first = worker_of(app)
        WebSockets().init_app(app)
        assert worker_of(app) is not first
        with client.websocket_connect("/echo") as ws:
            ws.send("x" * 11)
            assert ws.wait_closed() == 1009
        first.close()


def test_state_of_the_class_is_no_matter():
    """A handler class made in a test."""
    app = Flask("small")
    app.testing = True

    @WebSockets(app).route("/")
    class Upper(WebSocketHandler):
        def on_text(self, message):
            self.send(message.upper())

    with WebSocketClient(app).websocket_connect("/") as ws:
        ws.send("a")
        assert ws.receive() == "A"


def test_the_frames_of_other_threads_are_left_alone(client, monkeypatch):
    """A server is found by them; here is none, and those of a thread that runs are not safe."""
    monkeypatch.setattr(sys, "_current_frames", lambda: pytest.fail("frames were looked at"))
    with client.websocket_connect("/cookie"):
        pass
