"""What collections with history tell of themselves, and of processes that do not know of it."""

import json

import pytest
from flask import Flask

from flask_wshandler import (
    HistoryStats,
    LogUnavailable,
    WebSocketCollection,
    WebSocketHandler,
    WebSockets,
)
from tests.bus.networks import wait_for

UNKNOWING = "broadcasts to the collection 'kept' without a number"


def create_app():
    app = Flask("shop")
    app.config["WSHANDLER_HISTORY_SIZE"] = 1000
    app.sockets = WebSockets(app)

    @app.sockets.route("/kept")
    class Kept(WebSocketHandler):
        def on_open(self):
            kept().add(self)

    return app


def kept():
    return WebSocketCollection("kept", history=3, history_s=60, replay=2)


@pytest.fixture
def app():
    return create_app()


def stats(app):
    with app.app_context():
        return app.sockets.history_stats()


def broadcast(app, collection, *messages):
    with app.app_context():
        for message in messages:
            collection.broadcast(message)


def test_nothing_was_done(app):
    """All is zero before the first use, and nothing is wrong."""
    assert stats(app) == HistoryStats(0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, "")


def test_what_was_numbered_and_replayed(app, client, wshandler):
    """Broadcasts, what they waited, what a new member got; and the log's size after a beat."""
    broadcast(app, kept(), "one", "two", "three", "four")
    with client.websocket_connect("/kept") as ws:
        assert ws.receive_all() == ["three", "four"]
        now = stats(app)
        assert (now.logged, now.unlogged, now.replayed) == (4, 0, 2)
        assert 0 < now.waited_s < 60
        wshandler.clock.advance(2)
        now = stats(app)
        assert (now.log_messages, now.log_bytes) == (3, 3 * 64 + 3 + 5 + 4)


def test_what_the_log_does_not_take(app, client, caplog):
    """It goes out without a number, is counted, and makes trouble until something is taken."""
    with client.websocket_connect("/kept") as ws:
        broadcast(app, kept(), 1001 * "x")
        now = stats(app)
        assert (now.logged, now.unlogged, now.unnumbered) == (0, 1, 0)
        assert "the log holds 1000" in now.trouble
        wait_for(lambda: "the history of collections is not kept" in caplog.text, "a line")
        broadcast(app, kept(), "short")
        assert ws.receive_all() == [1001 * "x", "short"]
        assert stats(app).trouble == ""


def test_a_process_that_does_not_know(app, client, wshandler, caplog):
    """Whoever gets its messages counts them, and says what to do: once in a minute."""
    with (
        wshandler.other_process(create_app) as other,
        client.websocket_connect("/kept") as ws,
        other.websocket_connect("/kept") as elsewhere,
    ):
        script = wshandler.other_process(create_app)
        with script as unknowing:
            broadcast(unknowing.app, WebSocketCollection("kept"), "one", b"two")
            assert ws.receive_all() == elsewhere.receive_all() == ["one", b"two"]
        assert stats(app).unnumbered == 2
        wait_for(lambda: caplog.text.count(UNKNOWING) == 2, "a line of each")
        assert "with history=3, history_s=60, replay=2" in caplog.text


def test_members_in_a_process_that_does_not_know(app, client, wshandler, caplog):
    """They get what is broadcast, but for who is excluded, and the process says what is missing."""

    def create_unknowing():
        other = Flask("shop")
        other.sockets = WebSockets(other)

        @other.sockets.route("/kept")
        class Unknowing(WebSocketHandler):
            def on_open(self):
                WebSocketCollection("kept").add(self)

            def on_message(self, message):
                WebSocketCollection("kept", history=3, history_s=60, replay=2).broadcast(
                    message, exclude=self
                )

        return other

    with (
        wshandler.other_process(create_unknowing) as other,
        client.websocket_connect("/kept") as ws,
        other.websocket_connect("/kept") as unknowing,
        other.websocket_connect("/kept") as another,
    ):
        broadcast(app, kept(), "one", b"two")
        assert ws.receive_all() == ["one", b"two"]
        assert unknowing.receive_all() == another.receive_all() == ["one", b"two"]
        wait_for(lambda: "has a history in another process" in caplog.text, "a line")
        unknowing.send("three")
        assert ws.receive_all() == another.receive_all() == ["three"]
        assert unknowing.receive_all() == []


def test_a_message_that_its_log_did_not_take_is_not_of_such_a_process(
    app, client, wshandler, caplog
):
    """Its process has said so itself."""
    with wshandler.other_process(create_app) as other, client.websocket_connect("/kept") as ws:
        broadcast(other.app, kept(), 1001 * "x", 1001 * b"y")
        assert ws.receive_all() == [1001 * "x", 1001 * b"y"]
        assert (stats(app).unnumbered, stats(other.app).unlogged) == (0, 2)
    assert UNKNOWING not in caplog.text


def test_the_command_shows_the_figures(app, client, wshandler):
    """In a table of its own where there are some; the log is counted once for all processes."""
    run = app.test_cli_runner().invoke
    with (
        wshandler.other_process(create_app) as other,
        client.websocket_connect("/kept") as ws,
        other.websocket_connect("/kept"),
    ):
        assert "LOGGED" not in run(args=["websockets", "stats"]).output
        broadcast(app, kept(), "one")
        broadcast(other.app, kept(), "two")
        assert ws.receive_all() == ["one", "two"]
        wshandler.clock.advance(2)
        output = run(args=["websockets", "stats"]).output
        *_, head, one, two, total = output.splitlines()
        assert head.split()[:4] == ["PROCESS", "LOGGED", "UNLOGGED", "UNNUMBERED"]
        assert sorted(line.split()[1] for line in (one, two, total)) == ["1", "1", "2"]
        assert total.split()[-2:] == ["2", str(2 * 64 + 6)]
        found = json.loads(run(args=["websockets", "stats", "--json"]).output)
        assert [each["history"]["logged"] for each in found] == [1, 1]


def test_errors_are_public(app, client):
    """To be caught by whoever reads a history in a page."""
    with client.websocket_connect("/kept"), app.app_context():
        kept().broadcast("hello")
        [found] = kept().history(1)
    assert (found.number, found.message) == (1, "hello")
    assert issubclass(LogUnavailable, Exception)
