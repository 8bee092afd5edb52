"""The API of a handler, on every server."""

import json
import ssl

import pytest
from simple_websocket import Client, ConnectionClosed
from websockets.frames import Opcode

from .serving import DEADLINE_S
from .wire import frame, text


def connect_simply(server, path):
    """By simple-websocket's client; it takes our certificate unseen."""
    context = ssl._create_unverified_context() if server.scheme == "https" else None
    return Client.connect(server.url(path), ssl_context=context)


def test_one_view_answers_plain_http_and_websocket(server):
    """`is_websocket_request()` tells the two apart in an ordinary view."""
    assert server.get("/echo").status == 426
    client = server.connect("/echo")
    client.send("hello")
    assert client.recv() == "hello"
    client.close()


def test_text_and_binary_come_back_as_they_were(server):
    """str for a text message, bytes for a binary one; of any size up to the limit."""
    client = server.connect("/echo")
    for size in (0, 1, 125, 126, 127, 65535, 65536, 1_000_000):
        client.send("ä" * (size // 2))
        assert client.recv() == "ä" * (size // 2)
        client.send_binary(bytes(size))
        assert client.recv_data() == (Opcode.BINARY, bytes(size))
    client.close()


def test_simple_websocket_client_is_served(server):
    """The client of the quick start."""
    client = connect_simply(server, "/echo")
    client.send("hello")
    assert client.receive(timeout=DEADLINE_S) == "hello"
    client.close()
    # Its thread may still read from the descriptor, whose number is soon another client's.
    client.thread.join(DEADLINE_S)


def test_each_client_has_its_own_handler(server):
    """What the view knows goes into the constructor."""
    ann, bob = server.connect("/named/ann"), server.connect("/named/bob")
    ann.send("x")
    bob.send("y")
    assert (ann.recv(), bob.recv()) == ("ann: x", "bob: y")
    ann.close()
    bob.close()


def test_a_collection_broadcasts_and_is_left_at_close(server):
    """A closed handler has left before its `on_close`, and still can broadcast."""
    ann = server.connect("/chat?name=ann")
    assert ann.recv() == "ann has connected."
    bob = server.connect("/chat?name=bob")
    assert [ann.recv(), bob.recv()] == ["bob has connected."] * 2
    bob.send("hi")
    assert [ann.recv(), bob.recv()] == ["bob said: hi"] * 2
    bob.close()
    assert ann.recv() == "bob has gone away, 1 left."
    ann.close()


def test_kinds_of_messages_go_to_their_own_callbacks(server):
    """`on_text` and `on_binary` may be overridden instead of `on_message`."""
    client = server.connect("/both")
    client.send("a")
    assert client.recv() == "text a"
    client.send_binary(b"b")
    assert client.recv() == b"binary b"
    client.close()


def test_a_kind_that_nobody_takes_closes_with_1003(server):
    """RFC 6455 section 7.4.1: data that can't be accepted."""
    with server.raw("/text") as client:
        client.send(frame(2, b"x"))
        assert client.read_close()[0] == 1003


def test_http_handler_processes_both_kinds_of_requests(server):
    """ASP.NET's model: `process_request(context)`, with the negotiated subprotocol."""
    plain = server.get("/ws.ashx", {"Sec-WebSocket-Protocol": "a, b"})
    assert '"offered":["a","b"]' in plain.body.replace(" ", "")
    client = server.connect("/ws.ashx", subprotocols=["a", "b"])
    assert client.subprotocol == "b"
    assert client.headers["x-subprotocol"] == "b"
    client.send("x")
    assert client.recv() == "x"
    client.close()


def test_is_reusable_decides_who_processes_a_request(server):
    """One instance for all requests, or one for each."""
    assert server.get("/reusable.ashx").json()["instances"] == 1
    assert server.get("/reusable.ashx").json()["instances"] == 1
    before = server.get("/ws.ashx").json()["instances"]
    assert server.get("/ws.ashx").json()["instances"] == before + 1


def test_send_json_uses_the_apps_provider_and_context_shows_the_handshake(server):
    """Every property of `WebSocketContext`."""
    client = server.connect(
        "/context?x=1&subprotocol=b",
        subprotocols=["a", "b"],
        cookie="taste=sweet",
        origin=server.origin,
        suppress_origin=False,
        header=["X-Test: yes", "User-Agent: tests", "Accept-Language: de, en;q=0.5", "Referer: r"],
    )
    client.send("?")
    client.recv()
    client.send("again")
    found = json.loads(client.recv())
    assert found.pop("age") < 60
    assert found.pop("connection_count") >= 1
    assert len(found.pop("key")) == 24
    assert found == {
        "path": "/context",
        "request_uri": f"{server.origin}/context?x=1&subprotocol=b",
        "query_string": {"x": "1", "subprotocol": "b"},
        "cookies": {"taste": "sweet"},
        "header": "yes",
        "origin": server.origin,
        "user_agent": "tests",
        "user_host_address": "127.0.0.1",
        "user_languages": ["de", "en"],
        "url_referrer": "r",
        "user": None,
        "is_authenticated": False,
        "is_secure_connection": server.scheme == "https",
        "is_local": True,
        "is_client_connected": True,
        "version": "13",
        "protocols": ["a", "b"],
        "subprotocol": "b",
        "transport": "websocket",
        "server_variable": "GET",
        "items": {"asked": 2},
        "is_frozen": True,
    }
    client.close()


def test_flask_socks_own_routes_keep_working_beside(server):
    """`flask_sock.Sock` in the same app."""
    client = server.connect("/theirs")
    client.send("x")
    assert client.recv() == "x"
    client.close()


def test_stats_count(server):
    """`WebSockets.stats()`."""
    before = server.get("/stats").json()["connections"]
    client = server.connect("/echo")
    client.send("x")
    client.recv()
    assert server.get("/stats").json()["connections"] == before + 1
    client.close()
    server.wait_for(lambda: server.get("/stats").json()["connections"] <= before, "departure")


def test_closed_client_sees_the_code_and_reason(server):
    """`close(code, reason)` reaches the peer; a second call does nothing."""
    with server.raw("/record/recorder/api-close") as client:
        client.send(text("close 4001 bye"))
        assert client.read_close() == (4001, "bye")
    assert server.wait_for_event("close", "api-close")["code"] == 4001


def test_simple_websocket_raises_when_the_server_closes(server):
    """A client library's view of a close."""
    client = connect_simply(server, "/record/recorder/api-closed")
    client.send("close 4001 bye")
    with pytest.raises(ConnectionClosed) as closed:
        client.receive(timeout=DEADLINE_S)
    assert closed.value.reason == 4001
