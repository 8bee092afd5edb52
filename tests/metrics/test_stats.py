"""The snapshot of a process: what it counts, and that it never counts backwards."""

import dataclasses

import pytest

from flask_wshandler.settings import Settings
from flask_wshandler.testing import HandshakeRefused

from .small_app import create_app

# Frames of a client have a mask of 4 bytes.
TEXT_HEAD, CLOSE_FRAME = 2, 4


def stats(app):
    with app.app_context():
        return app.sockets.stats()


def refused(client, **options):
    with pytest.raises(HandshakeRefused) as raised:
        client.websocket_connect("/echo", **options)
    return raised.value.response.status_code


def test_bytes_are_those_on_the_way(app, client):
    """With the heads of frames, masks, and the closing handshake."""
    with client.websocket_connect("/echo") as ws:
        ws.send("hello")
        assert ws.receive_all() == ["hello"]  # and the thread that has sent it is done
        now = stats(app)
        assert (now.bytes_received, now.bytes_sent) == (TEXT_HEAD + 4 + 5, TEXT_HEAD + 5)
    now = stats(app)
    assert now.bytes_received == TEXT_HEAD + 4 + 5 + CLOSE_FRAME + 4
    assert now.bytes_sent == TEXT_HEAD + 5 + CLOSE_FRAME


def test_closes_are_counted_by_code(app, client):
    """By the first close frame's, whoever sent it; 1006 if there was none."""
    with client.websocket_connect("/echo") as ws:
        ws.send("bye")
        assert ws.wait_closed() == 4000
    for code in (1000, 1000, 3001):
        client.websocket_connect("/echo").close(code)
    client.websocket_connect("/echo").drop()
    now = stats(app)
    assert now.closes == {4000: 1, 1000: 2, 3001: 1, 1006: 1}
    assert (now.accepted, now.connections) == (5, 0)


def test_refusals_are_counted_by_reason():
    """Each of them, and none of the handshakes that are answered with 101."""
    app = create_app(WSHANDLER_MAX_CONNECTIONS=2, WSHANDLER_MAX_CONNECTIONS_PER_IP=1)
    client = app.test_client()
    assert refused(client, environ_overrides={"HTTP_SEC_WEBSOCKET_VERSION": "8"}) == 426
    assert refused(client, environ_overrides={"HTTP_SEC_WEBSOCKET_KEY": "short"}) == 400
    assert refused(client, origin="https://elsewhere.example") == 403
    with client.websocket_connect("/echo"):
        assert refused(client) == 429
        other = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.1"}}
        with client.websocket_connect("/echo", **other):
            assert refused(client, environ_overrides={"REMOTE_ADDR": "192.0.2.2"}) == 503
    assert stats(app).refusals == {
        "version": 1,
        "invalid": 1,
        "origin": 1,
        "address": 1,
        "full": 1,
    }


def test_failures_are_counted_by_callback(app, client):
    """Of handlers and of functions."""
    with client.websocket_connect("/echo", propagate_exceptions=False) as ws:
        ws.send("fail")
        assert ws.wait_closed() == 1011
    assert stats(app).failures == {"on_message": 1}


def test_limits_stand_beside_what_they_limit(app):
    """For shares, and for alarms."""
    now, settings = stats(app), Settings()
    assert now.max_threads == settings.threads
    assert now.max_queued_bytes == settings.max_total_queue_size
    assert 0 < now.max_connections <= settings.max_connections


def test_is_a_snapshot(app, client):
    """What happens later changes none that was taken, and it can be taken apart."""
    before = stats(app)
    client.websocket_connect("/echo").close()
    assert before.closes == {}
    assert dataclasses.asdict(stats(app))["closes"] == {1000: 1}
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.accepted = 1


def test_counters_never_go_back(app, client):
    """Not in any step of a connection's end."""
    counters = ("accepted", "messages_received", "messages_sent", "bytes_received", "bytes_sent")
    last = stats(app)
    for _ in range(20):
        with client.websocket_connect("/echo") as ws:
            for _ in range(3):
                ws.send("x" * 1000)
                now = stats(app)
                assert all(getattr(last, name) <= getattr(now, name) for name in counters)
                last = now
    assert stats(app).messages_received == 60
