"""Groups of a class of one's own: a room that knows which it is, and who is there."""

import gc
import json
import weakref

import pytest
from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketGroups, WebSocketHandler, WebSockets


class Room(WebSocketCollection):
    """Tells its members in this process who is in it."""

    def __init__(self, name=None, *, bus=None):
        super().__init__(name, bus=bus)
        self.calls = 0

    def on_presence(self, joined, left):
        self.calls += 1
        names = sorted(each.metadata["name"] for each in self.presence())
        for member in self:
            member.send_json({"room": self.key, "here": names})

    def on_metadata_update(self, updated):
        for member in self:
            member.send_json({"room": self.key, "renamed": [each.metadata for each in updated]})


rooms = WebSocketGroups("room", Room)


class Visitor(WebSocketHandler):
    def __init__(self, room, name):
        self.room, self.name = rooms[room], name

    def on_open(self):
        self.room.add(self, name=self.name)

    def on_text(self, name):
        self.room.update_metadata(self, name=name)


def create_app():
    app = Flask("rooms")
    app.testing = True
    WebSockets(app).route("/<room>/<name>")(Visitor)
    return app


@pytest.fixture
def app():
    return create_app()


def test_a_room_tells_who_is_there_in_every_process(app, wshandler):
    """Each process tells its own members, of this room only."""
    with (
        wshandler.other_process(create_app) as second,
        app.test_client().websocket_connect("/lobby/ann") as ann,
        second.websocket_connect("/lobby/bob") as bob,
        second.websocket_connect("/cellar/eve") as eve,
    ):
        both = {"room": "lobby", "here": ["ann", "bob"]}
        assert [json.loads(ws.receive_all()[-1]) for ws in (ann, bob)] == [both, both]
        assert list(map(json.loads, eve.receive_all())) == [{"room": "cellar", "here": ["eve"]}]
        bob.close()
        assert ann.receive_json() == {"room": "lobby", "here": ["ann"]}
        ann.send("anna")
        assert ann.receive_json() == {"room": "lobby", "renamed": [{"name": "anna"}]}


def test_a_room_is_one_object_while_it_is_used(app):
    """So it may keep what belongs to it; a number and its str are one room."""
    with app.test_client().websocket_connect("/7/ann") as ann:
        assert ann.receive_json() == {"room": "7", "here": ["ann"]}
        assert rooms[7] is rooms["7"]
        assert isinstance(rooms[7], Room)
        assert (rooms[7].key, rooms[7].name) == ("7", "room/7")
        assert rooms[7].calls == 1


def test_looking_keeps_nothing(app):
    """A stranger's key costs nothing."""
    with app.app_context():
        looked_at = weakref.ref(rooms["a stranger's"])
    gc.collect()
    assert looked_at() is None


def test_an_end_to_watching(app):
    """None in the place of the class's callback."""
    with app.test_client().websocket_connect("/quiet/ann") as ann:
        assert ann.receive_json() == {"room": "quiet", "here": ["ann"]}
        rooms["quiet"].on_presence = None
        with app.test_client().websocket_connect("/quiet/bob") as bob:
            assert bob.receive_all() == ann.receive_all() == []


@pytest.mark.parametrize("wrong", [Visitor, Room("an object"), "Room"])
def test_what_is_no_class_of_collections_is_refused(wrong):
    """Before it is asked for."""
    with pytest.raises(TypeError, match="a subclass of WebSocketCollection, not"):
        WebSocketGroups("room", wrong)
