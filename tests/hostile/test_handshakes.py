"""Requests that are no proper handshake, or come with more than one."""

import contextlib
import socket

import pytest

from tests.live.wire import KEY, RawClient

REFUSED = "refused"
EITHER = "either"
"""The server's to decide."""


def request(*changed, first=b"GET /echo HTTP/1.1", end=b"\r\n", leave_out=(), body=b""):
    """A handshake with the header lines `changed` behind the usual ones."""
    lines = {
        b"Host": b"localhost",
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Key": KEY.encode(),
        b"Sec-WebSocket-Version": b"13",
    }
    usual = [name + b": " + value for name, value in lines.items() if name not in leave_out]
    return end.join([first, *usual, *changed, b"", b""]) + body


CHUNKED = b"Transfer-Encoding: chunked"
SECOND = b"GET /recorder/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

REQUESTS = {
    # Keys.
    "a key of null bytes": (
        request(b"Sec-WebSocket-Key: " + bytes(24), leave_out=[b"Sec-WebSocket-Key"]),
        REFUSED,
    ),
    "a key beyond ASCII": (
        request(b"Sec-WebSocket-Key: " + b"\xe9" * 24, leave_out=[b"Sec-WebSocket-Key"]),
        REFUSED,
    ),
    "a key of 15 bytes": (
        request(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA", leave_out=[b"Sec-WebSocket-Key"]),
        REFUSED,
    ),
    "the same key twice": (request(b"Sec-WebSocket-Key: " + KEY.encode()), REFUSED),
    "a huge key": (
        request(b"Sec-WebSocket-Key: " + b"A" * 6000, leave_out=[b"Sec-WebSocket-Key"]),
        REFUSED,
    ),
    # Versions.
    "two versions": (request(b"Sec-WebSocket-Version: 8"), REFUSED),
    "a version in other digits": (
        request(
            "Sec-WebSocket-Version: ١٣".encode(),
            leave_out=[b"Sec-WebSocket-Version"],
        ),
        REFUSED,
    ),
    "a version with a sign": (
        request(b"Sec-WebSocket-Version: +13", leave_out=[b"Sec-WebSocket-Version"]),
        REFUSED,
    ),
    # Headers.
    "a space before the colon": (request(b"Upgrade : websocket", leave_out=[b"Upgrade"]), REFUSED),
    "a header with underscores": (
        request(b"Sec_WebSocket_Key: " + KEY.encode(), leave_out=[b"Sec-WebSocket-Key"]),
        REFUSED,
    ),
    "a folded header": (request(b"X-Folded: a\r\n b"), EITHER),
    "a header without a colon": (request(b"no colon"), EITHER),
    "a header without a name": (request(b": value"), EITHER),
    "a null byte in a name": (request(b"X-\0: 1"), EITHER),
    "a null byte in a value": (request(b"X-Null: a\0b"), EITHER),
    "a carriage return in a value": (request(b"X-Return: a\rb"), EITHER),
    "a huge header": (request(b"X-Huge: " + b"x" * 200_000), REFUSED),
    "too many headers": (request(*(b"X-%d: 1" % number for number in range(1000))), REFUSED),
    "an endless cookie": (request(b"Cookie: " + b"a=b; " * 1000), EITHER),
    "lines that end in LF only": (request(end=b"\n"), EITHER),
    "lines that end in CR only": (request(end=b"\r"), REFUSED),
    "bytes beyond ASCII in a value": (request(b"X-Bytes: \xff\xfe"), EITHER),
    "two Connection headers that disagree": (request(b"Connection: close"), EITHER),
    "an Upgrade to two protocols": (request(b"Upgrade: h2c"), REFUSED),
    "extensions that are none": (request(b"Sec-WebSocket-Extensions: ;;;=,,"), REFUSED),
    "a thousand extensions": (
        request(b"Sec-WebSocket-Extensions: " + b", ".join([b"permessage-deflate"] * 300)),
        EITHER,
    ),
    "deflate with a window of 99 bits": (
        request(b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99"),
        EITHER,
    ),
    "subprotocols that are none": (request(b"Sec-WebSocket-Protocol: ,,\x7f,,"), EITHER),
    # Hosts and origins.
    "no Host": (request(leave_out=[b"Host"]), REFUSED),
    "an empty Host": (request(b"Host:", leave_out=[b"Host"]), REFUSED),
    "two Hosts": (request(b"Host: evil.example"), EITHER),
    "a foreign origin beside two Hosts": (
        request(b"Host: evil.example", b"Origin: http://evil.example"),
        REFUSED,
    ),
    "an origin that is none": (request(b"Origin: http://["), REFUSED),
    "no origin that equals no host": (
        request(b"Host: localhost:99999", b"Origin: null", leave_out=[b"Host"]),
        REFUSED,
    ),
    "an evil origin with a host that has no port": (
        request(b"Host: a:b", b"Origin: http://evil.example:x", leave_out=[b"Host"]),
        REFUSED,
    ),
    # Request lines.
    "an absolute URI": (request(first=b"GET http://localhost/echo HTTP/1.1"), EITHER),
    "an authority": (request(first=b"CONNECT localhost:80 HTTP/1.1"), REFUSED),
    "an asterisk": (request(first=b"OPTIONS * HTTP/1.1"), REFUSED),
    "HTTP/1.0": (request(first=b"GET /echo HTTP/1.0"), REFUSED),
    "HTTP/0.9": (b"GET /echo\r\n", REFUSED),
    "HTTP/2.0": (request(first=b"GET /echo HTTP/2.0"), REFUSED),
    "HTTP/1.2": (request(first=b"GET /echo HTTP/1.2"), REFUSED),
    "HTTP/1.1 and more": (request(first=b"GET /echo HTTP/1.1x"), REFUSED),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    "a method that is none": (request(first=b"G\0T /echo HTTP/1.1"), REFUSED),
    "a method in lower case": (request(first=b"get /echo HTTP/1.1"), REFUSED),
    "a null byte in the path": (request(first=b"GET /echo\0 HTTP/1.1"), REFUSED),
    "an endless path": (request(first=b"GET /" + b"x" * 100_000 + b" HTTP/1.1"), REFUSED),
    "no handshake but a frame": (b"\x81\x85\0\0\0\0hello", REFUSED),
    "the beginning of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), REFUSED),
    "nothing": (b"", REFUSED),
    "empty lines": (b"\r\n" * 1000, REFUSED),
    # Bodies.
    "a body": (request(b"Content-Length: 5", body=b"hello"), REFUSED),
    "a body that does not come": (request(b"Content-Length: 5"), REFUSED),
    "a body of no bytes": (request(b"Content-Length: 0"), EITHER),
    "a length that is negative": (request(b"Content-Length: -1"), REFUSED),
    "a length that is none": (request(b"Content-Length: many"), REFUSED),
    "a length with a sign": (request(b"Content-Length: +0"), REFUSED),
    "two lengths": (
        request(b"Content-Length: 0", b"Content-Length: 5", body=b"hello"),
        REFUSED,
    ),
    "a body in chunks": (request(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "no chunks": (request(CHUNKED, body=b"0\r\n\r\n"), REFUSED),
    "chunks that are none": (request(CHUNKED, body=b"zz\r\n"), REFUSED),
    "chunks and a length": (
        request(CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n" + SECOND),
        REFUSED,
    ),
    "chunks by another name": (
        request(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SECOND),
        REFUSED,
    ),
    "a body that is a request": (
        request(b"Content-Length: %d" % len(SECOND), body=SECOND),
        REFUSED,
    ),
}


def exchange(server, data):
    """Send `data` and the end of the stream; all that the server answers."""
    received = b""
    with RawClient(server.host) as client, contextlib.suppress(ConnectionError):
        client.send(data)
        with contextlib.suppress(OSError):  # the server may have hung up already
            client.socket.shutdown(socket.SHUT_WR)
        while more := client.socket.recv(65536):
            received += more
    return received


@pytest.mark.matrix(
    "a key of null bytes",
    "the same key twice",
    "two versions",
    "a null byte in a value",
    "lines that end in LF only",
    "two Hosts",
    "HTTP/1.0",
    "no handshake but a frame",
    "a body that is a request",
    "chunks and a length",
    whole=["gthread", "werkzeug"],  # gunicorn has one parser for all its workers
)
@pytest.mark.parametrize("what", REQUESTS)
def test_what_is_no_handshake_is_refused(server, what):
    """And what is an odd one ends like any other; no handler opens for what comes behind it."""
    data, outcome = REQUESTS[what]
    answer = exchange(server, data)
    is_accepted = b" 101 " in answer.partition(b"\r\n")[0]
    if outcome is REFUSED:
        assert not is_accepted, answer
    assert b"Internal Server Error" not in answer
    assert not server.events("smuggled")


def test_a_second_request_behind_the_handshake_is_no_request(server):
    """It is read as a frame, and fails as one."""
    with server.raw("/echo", early=SECOND) as client:
        assert client.status == 101
        assert client.read_close()[0] == 1002
        assert client.read_to_end()
    assert not server.events("smuggled")


def test_a_second_handshake_on_the_same_connection_is_no_handshake(server):
    """Neither is this."""
    with server.raw("/echo") as client:
        client.send(request(first=b"GET /recorder/smuggled HTTP/1.1"))
        assert client.read_close()[0] == 1002
    assert not server.events("smuggled")


def test_a_handshake_byte_by_byte(server):
    """With a frame behind it that comes the same way."""
    with RawClient(server.host) as client:
        for byte in client.request("/echo") + b"\x81\x85\0\0\0\0hello":
            client.send(bytes((byte,)))
        assert client.read_response() == 101
        assert client.read_text() == "hello"


def test_a_handshake_that_is_never_finished_holds_up_nobody(server):
    """Where requests have threads: for fewer of them than there are. Then they leave."""
    if server.kind == "sync":
        return  # serves one request at a time, as gunicorn's documentation says
    for end in (1, 30, 100):
        client = server.raw()
        client.send(client.request("/echo")[:end])
    with server.raw("/echo") as client:
        assert client.status == 101


@pytest.mark.parametrize("end", [0, 1, 20, 100, -2, -1])
def test_a_reset_in_the_handshake(server, end):
    """At any byte."""
    for _ in range(20):
        client = server.raw()
        client.send(client.request("/echo")[:end])
        client.reset()


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_reset_right_after_the_request(server, is_answered):
    """Before or after the answer; the handler opens and closes, or the reset came first."""
    ids = [f"{server.kind}-reset-{is_answered}-{number}" for number in range(50)]
    for id in ids:
        client = server.raw()
        client.send(client.request(f"/recorder/{id}"))
        if is_answered:
            assert client.read_response() == 101
        client.reset()
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")
    for id in ids:
        server.wait_for(
            lambda id=id: (
                [event["event"] for event in server.events(id)] in ([], ["open", "close"])
            ),
            f"end of {id}",
        )
