"""Hubs on real servers: streams that go on while the client says something, cuts, many at once."""

import json

import pytest

from tests.live.over_http import Streaming
from tests.live.serving import KINDS, starting


@pytest.fixture(scope="module", params=KINDS)
def server(request, tmp_path_factory):
    with starting(tmp_path_factory.mktemp(request.param)) as start:
        yield start(request.param, app="tests.calls.app:app")


def request_of(method, *params, id=1):
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": list(params)})


def note(method, id=1):
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": {"id": id}})


class Client:
    """A WebSocket, or what stands for one."""

    def __init__(self, receive, send):
        self._receive = receive
        self.send = send

    def receive(self):
        return json.loads(self._receive())

    def receive_until(self, id):
        """The response of a call; how many items came before it."""
        count = 0
        while (message := self.receive()).get("id") != id or "method" in message:
            count += message.get("method") == "$/item"
        return message, count


@pytest.fixture(params=["websocket", "stream"])
def client(request, server):
    if request.param == "stream":
        over_http = Streaming(server, "/board")
        yield Client(over_http.recv, over_http.send)
        over_http.close()
        return
    ws = server.connect("/board")
    yield Client(ws.recv, ws.send)
    ws.close()


def test_a_stream_without_end(client):
    """Calls come in between, and it can be cancelled; a client that reads gets its items."""
    client.send(request_of("replay", 10**9))
    for _ in range(200):
        assert client.receive()["method"] == "$/item"
    client.send(request_of("double", 4, id=2))
    answer, _ = client.receive_until(2)
    assert answer["result"] == 8
    client.send(note("$/cancel"))
    end, _ = client.receive_until(1)
    assert end["error"]["code"] == -32800
    client.send(request_of("double", 5, id=3))
    assert client.receive()["result"] == 10


def test_a_long_stream(client):
    """All of it, in order; no more than may be under way to a client that acknowledges nothing."""
    client.send(request_of("replay", 1_000))
    for number in range(1_000):
        assert client.receive()["params"]["value"] == {"x": number % 100}
    assert client.receive()["result"] == {"count": 1_000}


def test_a_thread_of_its_own_waits_for_the_client(client):
    """While the client's calls go on."""
    client.send(request_of("ask", "Sure?"))
    question = client.receive()
    assert question["method"] == "confirm"
    client.send(request_of("double", 4, id=2))
    assert client.receive() == {"jsonrpc": "2.0", "id": 2, "result": 8}
    client.send(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": True}))
    assert client.receive() == {"jsonrpc": "2.0", "id": 1, "result": True}


def test_an_id_is_free_when_it_is_answered(client):
    """Also that of a call with a thread of its own, which may not have ended yet."""
    for _ in range(200):
        client.send(request_of("slow_replay", 0))
        assert client.receive() == {"jsonrpc": "2.0", "id": 1, "result": None}


def test_a_client_that_never_reads(server):
    """Its stream waits; others are served, and the process needs no more threads."""
    slow = server.connect("/board")
    for number in range(20):
        slow.send(request_of("replay", 10**9, id=number))
    other = server.connect("/board")
    for number in range(50):
        other.send(request_of("double", number))
        assert json.loads(other.recv())["result"] == 2 * number
    slow.shutdown()
    other.close()
