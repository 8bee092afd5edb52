"""flask-sock's functions on this engine."""

import pytest

from .wire import close, text


def test_a_function_talks_to_its_client(server):
    """The URL's variables behind `ws`; `request` and what `before_request` put into `g`."""
    client = server.connect("/function/ann")
    assert client.recv() == "ann from before_request /function/ann None"
    for message in ("hello", "x" * 100_000):
        client.send(message)
        assert client.recv() == message
    client.send_binary(b"bytes")
    assert client.recv() == b"bytes"
    client.close()


def test_receive_waits_as_long_as_it_is_told(server):
    """None after the time-out; 0 only looks."""
    client = server.connect("/function/ann")
    client.recv()
    client.send("timeout")
    assert client.recv() == "nothing came"
    client.close()


def test_the_end_of_the_function_closes(server):
    """With 1000; an exception is logged and closes with 1011; `close()` says what it is told."""
    for message, code, reason in (
        ("return", 1000, ""),
        ("raise", 1011, ""),
        ("close", 4002, "told so"),
    ):
        with server.raw("/function/ann") as client:
            client.read_text()
            client.send(text(message))
            assert client.read_close() == (code, reason)
    assert "ValueError: in the function" in server.log


def test_receive_raises_when_the_client_closes(server):
    """`ConnectionClosed`, and the code and reason on the object."""
    with server.raw("/function/noted") as client:
        client.read_text()
        client.send(text("note") + close(4005, "enough"))
        assert client.read_close()[0] == 4005
    noted = server.wait_for_event("function")
    assert noted == {
        "event": "function",
        "error": "ConnectionClosed",
        "code": 4005,
        "message": "enough",
        "connected": False,
    }


def test_any_thread_may_send_and_sending_waits_for_a_slow_client(server):
    """A function has a thread of its own, so it is held up rather than its client closed."""
    with server.raw("/function/ann") as client:
        client.read_text()
        client.send(text("thread"))
        assert client.read_text() == "from a thread"
        client.send(text("flood"))
        for _ in range(200):
            assert len(client.read_frame()[1]) == 65536
        assert client.read_text() == "flooded"


def test_a_client_that_floods_is_held_up(server):
    """More messages than wait for `receive`: TCP holds the client up, none is lost."""
    with server.raw("/function/ann") as client:
        client.read_text()
        client.send(b"".join(text(str(number)) for number in range(5000)))
        assert [client.read_text() for _ in range(5000)] == [str(n) for n in range(5000)]


def test_sock_server_options(start):
    """Subprotocols, message size and ping interval, as flask-sock's documentation has them."""
    options = {"subprotocols": ["b", "c"], "max_message_size": 100, "ping_interval": 0.2}
    server = start("gthread", SOCK_SERVER_OPTIONS=options)
    client = server.connect("/function/ann", subprotocols=["a", "c", "b"])
    assert client.subprotocol == "c"
    assert client.recv().endswith(" c")
    opcode, _ = client.recv_data(control_frame=True)
    assert opcode == 9
    client.send("x" * 101)
    opcode, payload = client.recv_data()
    assert (opcode, payload[:2]) == (8, (1009).to_bytes(2, "big"))
    client.sock.close()


@pytest.mark.parametrize("end", ["return", "raise", "close"])
@pytest.mark.parametrize("whose", ["", "/theirs"])
def test_a_function_is_one_request_in_one_thread(server, whose, end):
    """What `before_request` opens is the function's until it returns; flask-sock's do the same."""
    if whose and server.kind == "tls":
        # What is not ours has a thread that may still be at a TLS connection which gunicorn has
        # closed, and whose descriptor the next client has: that one's handshake then failed, in
        # every other run of these alone. Contexts are the same with and without TLS.
        return
    path = f"{whose}/database/{end}"
    client = server.raw(path)
    for count in (1, 2):
        client.send(text("kept"))
        assert client.read_text() == f"{end} {count} {end}"
    assert not [each for each in server.events(path) if each["event"] == "database closed"]
    client.send(close(1000) if end == "close" else text(end))
    closed = server.wait_for_event("database closed", path)
    assert (closed["kept"], closed["error"]) == (
        1, "LookupError('raise')" if end == "raise" else "None"
    )  # fmt: skip
    client.end()
    assert len([e for e in server.events(path) if e["event"] == "database closed"]) == 1
