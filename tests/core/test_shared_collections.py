"""Which collection a name is, and whose: the parts that need no second process."""

import gc
import traceback
import uuid
import weakref

import pytest
from flask import Flask

from flask_wshandler import (
    SettingError,
    WebSocketCollection,
    WebSocketGroups,
    WebSockets,
    bus,
)
from flask_wshandler.collections import current, presence_watchers
from flask_wshandler.handlers.handler import connection_of, end_handler
from flask_wshandler.settings import Settings
from tests.deadlines import wait_for

from .test_collection import connected


@pytest.fixture(autouse=True)
def no_other_apps(monkeypatch):
    """As in a process without any: other tests may have made some in this one."""
    monkeypatch.setattr(current, "known_apps", weakref.WeakSet())


def make_app(name="app", **settings):
    app = Flask(name)
    app.config.update({"WSHANDLER_BUS": "none", **settings})
    WebSockets(app)
    return app


def frames(handler):
    return [frame[2:].decode() for frame in connection_of(handler).frames]


def test_a_name_is_one_collection():
    """Whichever object is used."""
    with make_app().app_context():
        one, two = WebSocketCollection("name"), WebSocketCollection("name")
        ann = connected()
        one.add(ann)
        assert ann in two
        two.broadcast("hello")
        assert frames(ann) == ["hello"]
        assert len(WebSocketCollection("other")) == 0
        assert two.remove(ann)
        assert len(one) == 0


def test_without_a_name_it_is_the_objects_own():
    """And needs no app."""
    one, two = WebSocketCollection(), WebSocketCollection()
    ann = connected()
    one.add(ann)
    assert ann not in two
    assert one.count() == 1
    assert two.count() == 0


def test_each_app_has_its_own():
    """One object at a module's top, two apps in the process."""
    clients = WebSocketCollection("name")
    apps = [make_app("one"), make_app("two")]
    handlers = [connected(), connected()]
    for app, handler in zip(apps, handlers, strict=True):
        with app.app_context():
            clients.add(handler)
    with apps[0].app_context():
        assert list(clients) == [handlers[0]]
        clients.broadcast("to one")
    assert [frames(handler) for handler in handlers] == [["to one"], []]
    with pytest.raises(RuntimeError, match="2 apps"):
        clients.broadcast("to whom?")
    # A handler that ends finds its collection by itself.
    end_handler(handlers[1])
    with apps[1].app_context():
        assert len(clients) == 0


def test_the_only_app_is_found_without_a_context():
    """In a thread of one's own, say; an app that is gone does not count."""
    del_me = make_app("gone")
    del del_me
    gc.collect()
    app = make_app("here")
    clients = WebSocketCollection("name")
    ann = connected()
    clients.add(ann)
    with app.app_context():
        assert ann in clients


def test_metadata_and_ids():
    """What `add` is given, and who did not leave."""
    with make_app().app_context():
        clients = WebSocketCollection("name")
        ann, bob = connected(), connected()
        clients.add(ann, name="Ann", tags=("a", "b"))
        clients.add(bob)
        found = sorted(clients.presence(), key=lambda each: len(each.metadata))
        assert [each.metadata for each in found] == [{}, {"name": "Ann", "tags": ["a", "b"]}]
        assert len({each.connection_id for each in found}) == 2
        assert len({each.process for each in found}) == 1
        assert clients.count() == 2
        end_handler(ann)
        assert clients.count() == 1
        assert not clients.add(ann, name="Ann")
        assert clients.count() == 1
        with pytest.raises(TypeError):
            clients.add(bob, name=object())


@pytest.mark.parametrize("kind", ["subclass", "attribute", "group"])
def test_on_presence(kind):
    """Overridden or assigned; what it raises is logged, and it is called again."""
    calls = []

    def on_presence(joined, left):
        calls.append(([j.metadata for j in joined], [each.metadata for each in left]))
        raise ZeroDivisionError

    app = make_app()
    with app.app_context():
        if kind == "subclass":
            cls = type("Watched", (WebSocketCollection,), {})
            cls.on_presence = lambda self, joined, left: on_presence(joined, left)
            clients = cls("name")
        elif kind == "group":
            rooms = WebSocketGroups("room")
            rooms["lobby"].on_presence = on_presence
            gc.collect()
            clients = rooms["lobby"]
        else:
            clients = WebSocketCollection("name")
            clients.on_presence = on_presence
        ann = connected()
        clients.add(ann, name="Ann")
        end_handler(ann)
    expected = [([{"name": "Ann"}], []), ([], [{"name": "Ann"}])]
    wait_for(lambda: len(calls) == 2, "calls")
    assert calls == expected


def test_metadata_is_updated_in_one_call():
    """Those who watch are told of it and of nothing else; a bad one changes nothing."""
    updates, presences = [], []

    class Room(WebSocketCollection):
        def on_presence(self, joined, left):
            presences.append((len(joined), len(left)))

        def on_metadata_update(self, updated):
            updates.extend(each.metadata for each in updated)

    with make_app().app_context():
        room = Room("name")
        ann, bob = connected(), connected()
        room.add(ann, name="Ann", typing=False)
        assert room.update_metadata(ann, typing=True)
        assert room.update_metadata(ann)
        assert not room.update_metadata(bob, typing=True)
        with pytest.raises(TypeError):
            room.update_metadata(ann, typing=object())
        with pytest.raises(ValueError, match="at most 4096"):
            room.update_metadata(ann, text="x" * 5000)
        (seen,) = room.presence()
        assert seen.metadata == {"name": "Ann", "typing": True}
        end_handler(ann)
        assert not room.update_metadata(ann, typing=False)
        wait_for(lambda: presences == [(1, 0), (0, 1)], "presence")
        assert updates == [{"name": "Ann", "typing": True}]


@pytest.mark.parametrize("how", ["none", "delete"])
@pytest.mark.parametrize("kind", ["collection", "group", "subclass"])
def test_an_end_to_watching(kind, how):
    """None, or what was assigned is deleted: no call comes any more; and it can begin again."""
    calls = []

    def on_presence(*arguments):
        calls.append(len(calls))

    with make_app().app_context():
        rooms = WebSocketGroups("room")
        if kind == "subclass":
            cls = type("Watched", (WebSocketCollection,), {"on_presence": on_presence})
            room = cls("name")
            if how == "delete":
                room.on_presence = on_presence
                del cls.on_presence
        else:
            room = WebSocketCollection("name") if kind == "collection" else rooms["lobby"]
            room.on_presence = on_presence
        ann = connected()
        room.add(ann)
        wait_for(lambda: calls, "call")
        if how == "none":
            room.on_presence = None
        else:
            del room.on_presence
        room.remove(ann)
        room.add(ann)
        again = []
        room.on_presence = lambda *news: again.append(news)
        room.remove(ann)
        wait_for(lambda: again, "call")
        assert calls == [0]


def test_groups_that_nobody_is_in_are_forgotten_at_last(monkeypatch):
    """With what was assigned to them; not those with members, nor the last ones, nor those kept."""
    monkeypatch.setattr(presence_watchers, "_MOST_EMPTY", 3)
    rooms = WebSocketGroups("room")
    callbacks = weakref.WeakValueDictionary()
    told = []
    kept = None
    calls = 0

    class Callback:
        def __init__(self, name):
            callbacks[name] = self

        def __call__(self, joined, left):
            told.append(len(joined))

    with make_app(WSHANDLER_PRESENCE_LEASE=0.3).app_context():
        member = connected()
        for name in ["kept", "full", *"abcdef"]:
            rooms[name].on_presence = Callback(name)
            passer_by = connected()
            rooms[name].add(member if name == "full" else passer_by)
            end_handler(passer_by)
            kept = rooms[name] if name == "kept" else kept
            # Told before it may be forgotten.
            calls += 1 if name == "full" else 2
            wait_for(lambda calls=calls: len(told) == calls, "calls")
        expected = {"kept", "full", *"def"}
        wait_for(lambda: gc.collect() is not None and set(callbacks) == expected, "forgetting")
        assert len(told) == 15
        assert kept.add(connected())
        assert rooms["full"].remove(member)
        assert rooms["f"].add(connected())
        assert rooms["a"].add(connected())
        wait_for(lambda: len(told) == 18, "calls")


def test_presence_is_a_copy():
    """What somebody does to it, others don't see."""
    with make_app().app_context():
        clients = WebSocketCollection("name")
        clients.add(connected(), name="Ann", tags=["a"])
        (seen,) = clients.presence()
        seen.metadata["name"] = "Eve"
        seen.metadata["tags"].append("b")
        assert [each.metadata for each in clients.presence()] == [{"name": "Ann", "tags": ["a"]}]


def test_excluding_and_closing():
    """One gets nothing, and all are closed."""
    with make_app().app_context():
        clients = WebSocketCollection("name")
        ann, bob = connected(), connected()
        clients.add(ann)
        clients.add(bob)
        clients.broadcast("to bob", exclude=ann)
        clients.broadcast_json([1], exclude=bob)
        assert (frames(ann), frames(bob)) == (["[1]"], ["to bob"])
        with pytest.raises(ValueError, match="1005"):
            clients.close_all(1005)
        clients.close_all(4000, "bye")
        assert not ann.is_open
        assert not bob.is_open


def test_groups():
    """Made on demand, dropped when empty, left at the close."""
    with make_app().app_context():
        rooms = WebSocketGroups("room")
        ann, bob = connected(), connected()
        rooms["lobby"].add(ann)
        rooms["lobby"].add(bob)
        rooms["hall"].add(ann)
        assert sorted(rooms) == ["hall", "lobby"]
        assert len(rooms) == 2
        assert "hall" in rooms
        assert "cellar" not in rooms
        assert len(rooms["cellar"]) == 0
        rooms["lobby"].broadcast("hello")
        assert (frames(ann), frames(bob)) == (["hello"], ["hello"])
        rooms.discard(ann)
        assert list(rooms) == ["lobby"]
        end_handler(bob)
        assert list(rooms) == []
        assert "lobby" in repr(rooms["lobby"])
        assert rooms == rooms
        assert rooms != WebSocketGroups("room")
        assert {rooms: 1}[rooms] == 1


def test_group_keys():
    """A number stands for its digits; names of groups and keys don't run together."""
    with make_app().app_context():
        users = WebSocketGroups("user")
        ann = connected()
        users[7].add(ann)
        assert ann in users["7"]
        assert 7 in users
        key = uuid.uuid4()
        users[key].add(ann)
        assert ann in users[str(key)]
        assert len(WebSocketGroups("user:1")["2"]) == len(WebSocketGroups("user")["1:2"]) == 0
        WebSocketGroups("a")["b:c"].add(ann)
        assert ann not in WebSocketGroups("a:b")["c"]
        assert ann not in WebSocketCollection("user/7")
        for bad in (None, 1.5, True, b"x"):
            with pytest.raises(TypeError, match="key"):
                users[bad]
        for bad in ("", "x" * 256):
            with pytest.raises(ValueError, match="key"):
                users[bad]


def test_names_are_checked():
    """At the construction, with the limit."""
    for bad in ("", 7, "ä" * 128):
        with pytest.raises(ValueError, match="name"):
            WebSocketCollection(bad)
        with pytest.raises(ValueError, match="name"):
            WebSocketGroups(bad)


def test_a_bus_that_can_not_be_is_an_error_at_the_start():
    """With the key and the value."""
    with pytest.raises(SettingError, match=r"WSHANDLER_BUS is 'redis://localhost:no'"):
        make_app(WSHANDLER_BUS="redis://localhost:no")


@pytest.mark.parametrize(
    "bad",
    [
        "redis://:{}@host:no",
        "rabbit://user:{}@host",
        "redis://:{}/x@host",
        "rediss://h:x?password={}",
    ],
)
def test_a_password_is_not_shown(bad):
    """Errors and settings end up in logs."""
    with pytest.raises(SettingError, match=r"\*\*\*") as caught:
        make_app(WSHANDLER_BUS=bad.format("secret"))
    shown = "".join(traceback.format_exception(caught.value))
    assert "secret" not in shown.replace('bad.format("secret")', "")
    assert "secret" not in repr(Settings(bus="redis://:secret@host"))


@pytest.mark.parametrize("url", ["", "rabbit://x", None, "local"])
def test_connect_refuses_what_it_does_not_know(url):
    """And a local bus without a name."""
    with pytest.raises(ValueError):
        bus.connect(url)


def test_a_collection_with_a_bus_of_its_own():
    """Outside of any app."""
    own = bus.connect("none")
    clients = WebSocketCollection("name", bus=own)
    ann = connected()
    clients.add(ann)
    assert ann in WebSocketCollection("name", bus=own)
    assert len(WebSocketCollection("name", bus=bus.connect("none"))) == 0
    assert WebSocketGroups("x", bus=own)["y"].count() == 0
