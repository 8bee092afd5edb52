"""A second process of an app: another app object, on the same bus and clock."""

import json

import pytest
from flask import Flask

from flask_wshandler import WebSocketCollection

from .app import clients, create_app, rooms, seen


def second_app():
    return create_app("two")


@pytest.fixture(autouse=True)
def news():
    """What `on_presence` of a collection at a module's top is told."""
    seen.news.clear()
    return seen.news


def test_broadcasts_reach_the_other_process(client, wshandler):
    """Once each, from either side; a collection at a module's top is one in both."""
    with (
        wshandler.other_process(second_app) as second,
        client.websocket_connect("/chat?name=ann") as ann,
        second.websocket_connect("/chat?name=bob") as bob,
    ):
        ann.send("hi")
        bob.send("ho")
        for each in (ann, bob):
            assert sorted(each.receive_all()) == ["ann: hi", "bob: ho"]
        with second.app.app_context():
            clients.broadcast("from a view", exclude=None)
        assert ann.receive() == bob.receive() == "from a view"
        assert bob.receive_all() == ann.receive_all() == []


def test_commands_see_both_processes(app, client, wshandler):
    """`flask websockets`, by Flask's own runner."""
    run = app.test_cli_runner().invoke
    with (
        wshandler.other_process(second_app) as second,
        client.websocket_connect("/chat?name=ann") as ann,
        second.websocket_connect("/chat?name=bob") as bob,
    ):
        assert ann.receive_all() == bob.receive_all() == []
        rows = json.loads(run(args=["websockets", "list", "--json"]).output)
        assert len({row["process"] for row in rows}) == len(rows) == 2
        result = run(args=["websockets", "send", "chat", "hello"])
        assert result.output == "Sent to 2 members in 2 processes.\n"
        assert ann.receive() == bob.receive() == "hello"
        for row in rows:
            assert run(args=["websockets", "close", row["id"], "--code", "4000"]).exit_code == 0
        assert ann.receive_all() == bob.receive_all() == []
        assert ann.close_code == bob.close_code == 4000


def test_members_are_those_of_their_process(app, client, wshandler):
    """`len` is of here, `count` of all."""
    with (
        wshandler.other_process(second_app) as second,
        client.websocket_connect("/chat?name=ann"),
        second.websocket_connect("/chat?name=bob"),
        second.websocket_connect("/chat?name=eve"),
    ):
        for here, local in ((app, 1), (second.app, 2)):
            with here.app_context():
                assert len(clients) == local
                assert clients.count() == 3
                names = {each.metadata["name"] for each in clients.presence()}
                assert names == {"ann", "bob", "eve"}
                assert len({each.process for each in clients.presence()}) == 2


def test_groups(client, wshandler):
    """And their presence, asked for by a handler."""
    with (
        wshandler.other_process(second_app) as second,
        client.websocket_connect("/members/ann") as ann,
        second.websocket_connect("/members/bob") as bob,
    ):
        bob.send("who?")
        assert bob.receive_json() == ["ann", "bob"]
        with second.app.app_context():
            rooms["lobby"].broadcast("hi")
        assert ann.receive() == bob.receive() == "hi"


def test_on_presence_in_both(app, client, wshandler, news):
    """Each process is told of all, in its own app's context."""
    with wshandler.other_process(second_app) as second:
        for each in (app, second.app):
            with each.app_context():
                len(seen)  # whoever uses it is told
        with second.websocket_connect("/members/bob"):
            wshandler.settle()
            assert sorted(news) == [("one", [("bob", 1)]), ("two", [("bob", 1)])]
            news.clear()
        wshandler.settle()
        assert sorted(news) == [("one", [("bob", -1)]), ("two", [("bob", -1)])]


def test_end_of_a_process_is_noticed(app, client, wshandler, news):
    """Its clients are closed, and its members are gone."""
    with client.websocket_connect("/members/ann"):
        with wshandler.other_process(second_app) as second:
            bob = second.websocket_connect("/members/bob")
            with app.app_context():
                assert seen.count() == 2
        assert bob.close_code == 1001
        with app.app_context():
            assert seen.count() == 1
        assert ("one", [("bob", -1)]) in news


def test_leases_hold_while_the_clock_moves(app, client, wshandler):
    """Processes that live say so, however long."""
    with (
        wshandler.other_process(second_app) as second,
        client.websocket_connect("/chat?name=ann"),
        second.websocket_connect("/chat?name=bob") as bob,
    ):
        with app.app_context():
            assert clients.count() == 2
            wshandler.clock.advance(120)
            assert clients.count() == 2
        assert bob.ping_count == 6
        assert second.clock is wshandler.clock


def test_three_processes(client, wshandler):
    """As many as one likes."""
    with (
        wshandler.other_process(second_app) as second,
        wshandler.other_process(lambda: create_app("three")) as third,
        client.websocket_connect("/chat?name=ann") as ann,
        second.websocket_connect("/chat?name=bob") as bob,
        third.websocket_connect("/chat?name=eve") as eve,
    ):
        eve.send("hi")
        assert [each.receive_all() for each in (ann, bob, eve)] == [["eve: hi"]] * 3


def test_other_apps_hear_nothing(client, wshandler):
    """Two tests, or two apps in one test, have a network each."""
    stranger = create_app("stranger").test_client
    from flask_wshandler.testing import websocket_connect

    with (
        client.websocket_connect("/chat?name=ann") as ann,
        websocket_connect(stranger(), "/chat?name=stranger") as other,
    ):
        ann.send("hi")
        assert ann.receive_all() == ["ann: hi"]
        assert other.receive_all() == []


def test_what_the_setting_says_does_not_matter(wshandler):
    """No Redis is needed to test an app that uses one, and no directory for the local bus."""
    pytest.importorskip("redis")
    from flask_wshandler.testing import worker_of

    def create():
        return create_app(WSHANDLER_BUS="redis://127.0.0.1:1/0")

    app = create()
    with (
        worker_of(app).other_process(create) as second,
        worker_of(app).websocket_connect("/chat?name=ann") as ann,
    ):
        with second.app.app_context():
            WebSocketCollection("chat").broadcast("hi")
        assert ann.receive() == "hi"


def test_failures_of_the_other_process(wshandler):
    """At the end of the block at the latest."""
    with (
        pytest.raises(LookupError, match="in on_message"),
        wshandler.other_process(second_app) as second,
    ):
        second.websocket_connect("/failing").send("x")
        second.settle()


def test_wants_an_app_of_its_own(app, wshandler):
    """A module's app is one; what makes a second is `runpy`."""
    with pytest.raises(ValueError, match="app of its own"), wshandler.other_process(lambda: app):
        pass
    with (
        pytest.raises(RuntimeError, match="has no WebSockets"),
        wshandler.other_process(lambda: Flask("bare")),
    ):
        pass
