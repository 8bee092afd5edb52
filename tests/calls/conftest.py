"""A test client, and what speaks JSON-RPC through it."""

import json

import pytest

from flask_wshandler.testing import websocket_connect

from .app import create_app


class Peer:
    """One client, by its messages."""

    def __init__(self, ws):
        self.ws = ws

    def send(self, **message):
        self.ws.send(json.dumps({"jsonrpc": "2.0", **message}))

    def receive(self):
        return json.loads(self.ws.receive())

    def call(self, method, *params, id=1):
        """Call, and return the next message."""
        self.send(id=id, method=method, params=list(params))
        return self.receive()

    def result(self, method, *params):
        answer = self.call(method, *params)
        assert set(answer) == {"jsonrpc", "id", "result"}, answer
        assert answer["id"] == 1
        return answer["result"]

    def error(self, method, *params):
        answer = self.call(method, *params)
        assert set(answer) == {"jsonrpc", "id", "error"}, answer
        return answer["error"]

    def items(self, id=1):
        """Those of a stream, and its response."""
        items = []
        while (message := self.receive()).get("method") == "$/item":
            assert message["params"]["id"] == id
            items.append(message["params"]["value"])
        assert message["id"] == id
        return items, message

    def assert_well(self):
        assert self.call("double", 21, id="well") == {"jsonrpc": "2.0", "id": "well", "result": 42}


@pytest.fixture
def app():
    return create_app()


@pytest.fixture
def client(app):
    return app.test_client()


WAYS = {"plain": {}, "resumable": {"resumable": True}, "stream": {"transport": "stream"}}


@pytest.fixture(params=WAYS)
def peer(request, client):
    """Over a WebSocket, a resumable connection, and HTTP."""
    with websocket_connect(client, "/board", **WAYS[request.param]) as ws:
        yield Peer(ws)


@pytest.fixture(params=["plain", "resumable"])
def endless_peer(request, client):
    """For streams without an end: a test client's post waits for the app to come to rest."""
    with websocket_connect(client, "/board", **WAYS[request.param]) as ws:
        yield Peer(ws)
