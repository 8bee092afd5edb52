"""What a server is told when its socket is taken, by the server's own objects."""

import io
import socket

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import Response

from flask_wshandler.transports.handoff import GunicornExchange

HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def gunicorn_response():
    """Of a handshake, and the socket that it is written to."""
    ours, peer = socket.socketpair()
    with ours, peer:
        request = next(RequestParser(Config(), io.BytesIO(HANDSHAKE), ("127.0.0.1", 1)))
        yield Response(request, ours, Config()), peer


def test_gunicorn_waits_for_no_request_behind_a_handshake(gunicorn_response):
    """And it writes no head of its own."""
    response, peer = gunicorn_response
    exchange = GunicornExchange(response)
    assert exchange.head() is None
    headers = [("Upgrade", "websocket"), ("X-Own", "yes")]
    response.start_response("101 SWITCHING PROTOCOLS", [("Connection", "Upgrade"), *headers])
    head = exchange.head()
    assert (head.status, head.headers) == ("101 SWITCHING PROTOCOLS", headers)
    assert not head.has_left
    exchange.end()
    response.write(b"")
    response.close()
    assert response.should_close()
    response.sock.close()
    assert peer.recv(1000) == b""


def test_gunicorn_would_wait_if_it_was_not_told(gunicorn_response):
    """Else `end` has done its duty; and a head that has left is known."""
    response, _ = gunicorn_response
    response.start_response("101 SWITCHING PROTOCOLS", [("Connection", "Upgrade")])
    response.write(b"")
    assert GunicornExchange(response).head().has_left
    assert not response.should_close()
