"""Promises 1, 2, 4 and 5: the order of callbacks, what works in them, and when they raise."""

import json
import socket
import time

import pytest

from .wire import close, text


def names(server, id):
    return [event["event"] for event in server.events(id)]


ENDINGS = {
    "client closes": (lambda client: client.send(close(1000)), 1000),
    "client vanishes": (lambda client: client.reset(), 1006),
    "client ends the stream": (lambda client: client.end(), 1006),
    "handler closes": (lambda client: client.send(text("close 4000")), 4000),
    "callback raises": (lambda client: client.send(text("raise oops")), 1011),
    "protocol error": (lambda client: client.send(b"\xff\xff"), 1002),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_on_open_first_messages_in_order_on_close_last_and_once(server, how):
    """Promise 1, however a connection ends; `send` in `on_close` returns False."""
    act, code = ENDINGS[how]
    id = "order-" + how.replace(" ", "-")
    client = server.raw(f"/record/recorder/{id}")
    client.send(b"".join(text(f"message {number}") for number in range(20)))
    server.wait_for(lambda: names(server, id).count("message") == 20, "messages")
    act(client)
    if code not in (1000, 1006):
        assert client.read_close()[0] == code
        client.send(close(code))
    closed = server.wait_for_event("close", id)
    client.end()
    assert (closed["code"], closed["sent"]) == (code, False)
    events = server.events(id)
    messages = [event["message"] for event in events if event["event"] == "message"]
    assert messages[:20] == [f"message {number}" for number in range(20)]
    assert events[0]["event"] == "open"
    assert events[-1]["event"] == "close"
    assert names(server, id).count("close") == names(server, id).count("open") == 1


def test_an_exception_closes_this_client_and_no_other(server):
    """Promise 5: logged with its traceback, signalled, given to `on_error`, closed with 1011."""
    other = server.connect("/echo")
    with server.raw("/record/recorder/raises") as client:
        client.send(text("raise the roof") + text("never seen"))
        assert client.read_close()[0] == 1011
    server.wait_for_event("close", "raises")
    assert names(server, "raises") == ["open", "message", "error", "close"]
    assert server.wait_for_event("error", "raises")["error"] == "ValueError('the roof')"
    assert "ValueError('the roof')" in [e.get("exception") for e in server.events()]
    assert "Exception in Recorder.on_message on /record/recorder/raises" in server.log
    assert "in do_raise" in server.log
    other.send("still here")
    assert other.recv() == "still here"
    other.close()


def test_callbacks_that_all_raise(server):
    """`on_error` at most once, `on_close` all the same."""
    with server.raw("/record/raiser/raiser") as client:
        assert client.read_close()[0] == 1011
    server.wait_for_event("close", "raiser")
    assert names(server, "raiser") == ["open", "error", "close"]


def test_contexts_in_callbacks_are_those_of_the_handshake(server):
    """Promise 4: `request`, `session`, `url_for`, `current_user`; a fresh `g`; teardown."""
    client = server.connect("/contexts/7?x=1")
    assert "session=" in client.headers["set-cookie"]
    for number in (1, 2):
        client.send(f"teardown {number}")
        found = json.loads(client.recv())
        assert found["session"].pop("_id")
        assert found == {
            "app": "tests.live.app",
            "fresh_g": True,
            "path": "/contexts/7",
            "arg": "1",
            "view_args": {"number": 7},
            "attribute": "by before_request",
            "endpoint": "contexts",
            "session": {
                "from_view": "saved", "_user_id": "ann", "_fresh": True, "count": number,
            },
            "url": "/",
            "external": f"{server.origin}/",
            "user": "ann",
        }  # fmt: skip
        assert server.wait_for_event("teardown", f"teardown {number}")["error"] == "None"
    client.send("raise")
    assert server.wait_for_event("teardown", "raise")["error"] == "ValueError('after the answer')"
    client.close()


def test_context_variables_are_those_of_the_connection(server):
    """A copy of the view's, kept from callback to callback; no other client has them."""
    clients = {name: server.connect(f"/variables/{name}") for name in ("ann", "bob", "eve")}
    other = server.connect("/variables/joe")
    for name, client in clients.items():
        client.send(f"of {name}s")
        assert json.loads(client.recv()) == [name, "nothing", "begun", 28]
    for name, client in clients.items():
        client.send("raise")
        seen = {"speaker": name, "topic": "raise"}
        for event in ("teardown", "error"):
            server.wait_for(
                lambda event=event, seen=seen: {"event": event, **seen} in server.events(), event
            )
        client.close()
        closed = {"event": "close", **seen, "draft": "none"}
        server.wait_for(lambda closed=closed: closed in server.events(), "on_close")
    other.send("hello")
    assert json.loads(other.recv()) == ["joe", "nothing", "begun", 28]
    other.send("again")
    assert json.loads(other.recv()) == ["joe", "hello", "begun", 5]
    other.close()


def test_the_session_of_the_view_is_saved(server):
    """The 101 carries the cookie, and the next request knows it."""
    client = server.connect("/contexts/1?x=1")
    cookie = client.headers["set-cookie"].partition(";")[0]
    client.close()
    assert server.raw("/private", [("Cookie", cookie)]).status == 101


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent", "werkzeug"])
def test_twenty_that_sleep_hold_up_nobody(start, kind):
    """Promise 2: a callback that blocks delays its own client only."""
    server = start(kind)
    sleepers = [server.connect(f"/record/recorder/sleeper-{number}") for number in range(20)]
    other = server.connect("/echo")
    for sleeper in sleepers:
        sleeper.send("sleep 1.5")
    started_s = time.monotonic()
    echoes = 0
    while time.monotonic() < started_s + 1:
        other.send("x")
        assert other.recv() == "x"
        echoes += 1
    # One sleeper in the way would have made it one or none.
    assert echoes > 20
    for sleeper in sleepers:
        assert sleeper.recv() == "awake"
        sleeper.sock.close()
    # One after the other they would have taken 30 s.
    assert time.monotonic() < started_s + 10
    other.close()


def test_a_callback_may_start_processes_and_fork(server):
    """The child has nothing of ours; the parent's clients go on."""
    if server.kind == "gevent":
        return  # gevent's own fork restarts its hub in the child
    others = [server.connect("/echo") for _ in range(5)]
    client = server.connect("/record/recorder/spawn")
    client.send("spawn")
    assert client.recv() == "spawned"
    for other in others:
        other.send("x")
        assert other.recv() == "x"
        other.close()
    client.close()


def test_a_half_closed_client_is_gone(server):
    """The end of the stream without a close frame is a loss."""
    if server.scheme == "https":
        return  # TLS has no half-closed streams
    with server.raw("/record/recorder/half") as client:
        client.socket.shutdown(socket.SHUT_WR)
        assert server.wait_for_event("close", "half")["code"] == 1006
