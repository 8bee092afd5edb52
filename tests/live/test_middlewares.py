"""WSGI middlewares and `after_request` functions between the view and the server."""

import pytest

from . import middleware_app
from .over_http import EventStream, Polling, Streaming
from .serving import KINDS, Server
from .wire import ACCEPT, text

APP = "tests.live.middleware_app:app"


@pytest.fixture(scope="module", params=KINDS)
def module_server(request, tmp_path_factory):
    running = Server(request.param, tmp_path_factory.mktemp(request.param), app=APP)
    yield running
    running.stop()


@pytest.fixture
def server(module_server):
    yield module_server
    module_server.end_clients()


def echoes(client):
    client.send(text("late"))
    return client.read_text() == "late"


@pytest.mark.parametrize("name", middleware_app.MIDDLEWARES)
def test_a_middleware_is_no_obstacle(server, name):
    """The client gets one head, which is a handshake's, and what it has sent early is answered."""
    client = server.raw("/echo", [("X-Middleware", name)], early=text("early"))
    assert client.status == 101
    assert client.header("Sec-WebSocket-Accept") == ACCEPT
    assert client.header("Content-Length") is client.header("Content-Encoding") is None
    assert client.read_text() == "early"
    assert echoes(client)


def test_a_body_that_nobody_iterates_over(server):
    """The WebSocket opens when the body is closed, or ends at once and is in the log.

    Werkzeug has thrown away what the client has sent by then.
    """
    headers = [("X-Middleware", "closed at the end")]
    client = server.raw("/joined/closed", headers, early=text("early"))
    if server.kind == "werkzeug":
        assert client.read_frame() is None
        assert "has not iterated" in server.log
    else:
        server.wait_for_event("message", "closed")
        client.end()
        server.wait_for_event("close", "closed")
    server.wait_for(lambda: not any(server.get("/counts").json().values()), "empty seats")


@pytest.mark.parametrize("name", ["headers", "length and etag"])
def test_headers_of_middlewares_come_with_the_handshake(server, name):
    """But those that would break it."""
    client = server.raw("/echo", [("X-Middleware", name)])
    assert client.header("Connection").lower() == "upgrade"
    assert client.header("X-After") == "101"
    if name == "headers":
        assert client.header("X-Own") == "yes"


@pytest.mark.parametrize("name", middleware_app.CHANGES)
def test_what_after_request_does_breaks_no_handshake(server, name):
    """What leaves the app with status 101 gets what the protocol needs."""
    client = server.raw("/echo", [("X-Change", name)], early=text("early"))
    assert (client.status, client.header("Sec-WebSocket-Accept")) == (101, ACCEPT)
    assert client.header("Content-Type") is client.header("Transfer-Encoding") is None
    assert client.read_text() == "early"
    assert echoes(client)


@pytest.mark.parametrize("name", [*middleware_app.DENIALS, *middleware_app.WITH_REPLACED])
def test_another_status_is_an_ordinary_response(server, name):
    """The handler never opens, and leaves its seat and its collections at once."""
    is_change = name in middleware_app.DENIALS
    header = "X-Change" if is_change else "X-Middleware"
    client = server.raw(f"/joined/{name.replace(' ', '-')}", [(header, name)])
    assert client.status in (200, 403, 500)
    assert client.header("Upgrade") is client.header("Sec-WebSocket-Accept") is None
    assert server.get("/counts").json() == {"members": 0, "seats": 0}
    assert not server.events(name)


# Over HTTP, where the answer is a 200.


# Python has one profiler at a time in a thread: of greenlets, one that polls and one that posts.
POLLED = [name for name in middleware_app.MIDDLEWARES if name != "profiler"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, Streaming) for name in middleware_app.MIDDLEWARES),
        *((name, Polling) for name in POLLED),
    ],
)
def test_a_middleware_is_no_obstacle_over_http(server, name, kind):
    """The client gets one head, a stream's, and its events, which nothing has compressed."""
    client = kind(server, "/echo", headers=[("X-Middleware", name)])
    header = client.stream.header
    assert header("Content-Type") == "text/event-stream"
    assert header("Content-Length") is header("Content-Encoding") is None
    assert client.ask("hello\n") == "hello\n"
    client.close()


WITHOUT_MARK = ("clear", "copy")


@pytest.mark.parametrize("name", sorted(middleware_app.CHANGES.keys() - set(WITHOUT_MARK)))
def test_what_after_request_does_breaks_no_stream(server, name):
    """What leaves the app with its status and its mark gets what a stream needs."""
    client = Streaming(server, "/echo", headers=[("X-Change", name)])
    assert client.stream.header("Content-Type") == "text/event-stream"
    assert client.stream.header("Content-Length") is None
    assert client.ask("hello") == "hello"
    client.close()


@pytest.mark.parametrize("name", [*middleware_app.DENIALS, *WITHOUT_MARK])
def test_another_response_is_no_stream(server, name):
    """Where the status is another, or what marks a stream is gone."""
    headers = [("X-Change", name)]
    stream = EventStream(server, f"/joined/{name}", "stream", ["wshandler.1"], headers=headers)
    assert stream.header("X-WSHandler") is stream.header("X-WSHandler-Send") is None
    assert server.get("/counts").json() == {"members": 0, "seats": 0}
    assert not server.events(name)
