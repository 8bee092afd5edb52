"""What a server is told when its socket is taken, by the server's own objects."""

import io
import socket

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import Response

from flask_wshandler.transports.handoff import expect_no_other_request

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
    """And its head is that of a handshake all the same."""
    response, peer = gunicorn_response
    write = response.start_response
    expect_no_other_request(write)
    write("101 SWITCHING PROTOCOLS", [("Connection", "Upgrade"), ("Upgrade", "websocket")])
    response.close()
    assert response.should_close()
    assert b"\r\nConnection: upgrade\r\n" in peer.recv(1000)


def test_gunicorn_would_wait_if_it_was_not_told(gunicorn_response):
    """Else `expect_no_other_request` has done its duty."""
    response, _ = gunicorn_response
    response.start_response("101 SWITCHING PROTOCOLS", [("Connection", "Upgrade")])
    assert not response.should_close()


@pytest.mark.parametrize("start_response", [lambda status, headers: None, [].append])
def test_other_servers_and_middleware_are_told_nothing(start_response):
    """They are as they are."""
    expect_no_other_request(start_response)
