"""The test client over HTTP: `transport="stream"`."""

import pytest
from flask import Flask, request, session

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from flask_wshandler.testing import HandshakeRefused, websocket_connect

MESSAGES = ["hello", "", "one\nline\n", "cr\r\n", "é\U0001f600", b"\x00\xff", b"", "x" * 500_000]


class Echo(WebSocketHandler):
    def on_open(self):
        self.name = session.get("name")

    def on_message(self, message):
        if message == "name?":
            self.send(str(self.name))
        elif message == "fail":
            raise LookupError("of the handler")
        elif message == "end":
            self.close(4001, "so")
        else:
            self.send(message)

    def on_away(self):
        self.send("meanwhile")

    def on_close(self):
        seen.append((self.close_code, self.close_reason))


seen = []


@pytest.fixture
def app():
    seen.clear()
    app = Flask(__name__)
    app.config.update(TESTING=True, SECRET_KEY="s")
    WebSockets(app).route("/ws")(Echo)
    return app


@pytest.fixture
def client(app):
    return app.test_client()


def stream(client, **options):
    return websocket_connect(client, "/ws", transport="stream", **options)


def test_messages_go_and_come_as_they_are(client):
    """Each is there when `send` has returned."""
    with stream(client) as ws:
        assert ws.transport == "stream"
        assert ws.response.status_code == 200
        assert ws.response.mimetype == "text/event-stream"
        for message in MESSAGES:
            ws.send(message)
            assert ws.receive() == message


def test_a_websocket_says_that_it_is_one(client):
    """By default."""
    with websocket_connect(client, "/ws") as ws:
        assert ws.transport == "websocket"


def test_no_other_transport_is_known(client):
    """ValueError at once."""
    with pytest.raises(ValueError, match="transport"):
        websocket_connect(client, "/ws", transport="pigeon")


def test_the_app_sees_a_get_and_posts(app, client):
    """By its own `wsgi_app`, middlewares and all."""
    requests = []
    inner = app.wsgi_app

    def middleware(environ, start_response):
        requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        return inner(environ, start_response)

    app.wsgi_app = middleware
    with stream(client) as ws:
        ws.send("x")
        assert requests == [("GET", "/ws"), ("POST", "/wshandler/send")]


def test_requests_have_the_client_s_cookies_and_headers(app, client):
    """So the handler knows the user, and so does who looks at POSTs."""
    tokens = []
    app.before_request(lambda: tokens.append(request.headers.get("X-Token")))
    with client.session_transaction() as stored:
        stored["name"] = "Ada"
    with stream(client, headers={"X-Token": "t"}) as ws:
        ws.send("name?")
        assert ws.receive() == "Ada"
    assert tokens == ["t"]


def test_ends_have_their_codes(client):
    """Of the handler, and of the client."""
    with stream(client) as ws:
        ws.send("end")
        assert ws.wait_closed() == 4001
        assert ws.close_reason == "so"
    with stream(client) as ws:
        ws.close(4005, "bye")
        assert ws.close_code == 4005
    assert seen == [(4001, "so"), (4005, "bye")]


def test_it_can_be_cut_and_come_back(client):
    """The same handler goes on; what both have sent meanwhile comes."""
    with stream(client) as ws:
        ws.send("before")
        ws.cut()
        ws.send("later")
        assert ws.come_back() is True
        assert ws.was_resumed
        assert ws.receive_all() == ["before", "meanwhile", "later"]


def test_what_the_handler_raises_is_raised(client):
    """As for a WebSocket."""
    with stream(client) as ws:
        ws.send("fail")
        with pytest.raises(LookupError, match="of the handler"):
            ws.receive()


def test_a_message_that_is_too_large_ends_it():
    """413, which is 1009."""
    app = Flask("small")
    app.config.update(TESTING=True, WSHANDLER_MAX_MESSAGE_SIZE=1000)
    WebSockets(app).route("/ws")(Echo)
    with stream(app.test_client()) as ws:
        ws.send("x" * 1000)
        assert ws.receive() == "x" * 1000
        ws.send("x" * 1001)
        assert ws.wait_closed() == 1009


def test_a_refused_stream_raises(app, client):
    """With the response."""
    app.before_request(lambda: ("not you", 403))
    with pytest.raises(HandshakeRefused, match="403") as caught:
        stream(client)
    assert caught.value.response.status_code == 403


def test_a_refused_post_raises(app, client):
    """A middleware that lets no POST through, say."""
    inner = app.wsgi_app

    def middleware(environ, start_response):
        if environ["REQUEST_METHOD"] == "GET":
            return inner(environ, start_response)
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    app.wsgi_app = middleware
    with stream(client) as ws:
        with pytest.raises(HandshakeRefused, match="403"):
            ws.send("x")
        ws.cut()
        app.wsgi_app = inner
        assert ws.come_back() is True


def test_broadcasts_come_to_both_kinds(client):
    """In order."""
    room = WebSocketCollection()

    class Member(WebSocketHandler):
        def on_open(self):
            room.add(self)

    app = Flask("members")
    app.config.update(TESTING=True)
    WebSockets(app).route("/ws")(Member)
    client = app.test_client()
    with stream(client) as one, websocket_connect(client, "/ws") as other:
        room.broadcast("a")
        room.broadcast("b")
        assert one.receive_all() == other.receive_all() == ["a", "b"]
