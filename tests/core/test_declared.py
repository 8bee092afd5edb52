"""What a command knows of the histories of an app that it has only imported."""

import gc

from flask_wshandler import WebSocketCollection, WebSocketGroups
from flask_wshandler.collections import declared
from flask_wshandler.collections.topics import Named, named_by, topic_of


def test_a_collection_is_found_by_its_name():
    """While somebody keeps it; one without a history, or a name, is none."""
    chat = WebSocketCollection("found", history=7, history_s=60, replay=3)
    others = [WebSocketCollection("plain"), WebSocketCollection(history=5)]
    assert declared.history_of(Named("found")) is chat._history
    assert declared.history_of(Named("plain")) is None
    assert declared.history_of(Named("None")) is None
    assert declared.history_of(Named("found", "a key")) is None
    assert (Named("found"), chat._history) in declared.histories()
    del chat, others
    gc.collect()
    assert declared.history_of(Named("found")) is None


def test_a_group_is_found_by_its_groups():
    """Also where its class says what is kept, each as it wants."""

    class Room(WebSocketCollection):
        def __init__(self, name=None, *, bus=None):
            super().__init__(name, bus=bus, history=len(self.key))

        __hash__ = None  # as who writes an __eq__

        def __eq__(self, other):
            return True

    groups = WebSocketGroups("lobbies", history=9)
    kept = WebSocketGroups("rooms", Room)
    assert declared.history_of(Named("lobbies", "a")).bounds.count == 9
    assert declared.history_of(Named("rooms", "abc")).bounds.count == 3
    assert declared.history_of(Named("lobbies")) is None
    assert (Named("lobbies", ""), groups._history) in declared.histories()
    del kept


def test_what_has_a_bus_of_its_own_is_not_the_apps():
    """A program beside the app may have both."""
    from flask_wshandler.bus import connect

    own = WebSocketCollection("own", bus=connect("none"), history=5)
    assert declared.history_of(Named(own.name)) is None


def test_topics_are_told_apart():
    """Whatever names and keys have in them."""
    for named in (Named("a"), Named("a:b:c"), Named("a:", ":b"), Named("ä", "1"), Named("x" * 255)):
        assert named_by(topic_of(named)) == named
    assert topic_of(Named("a:b", "c")) != topic_of(Named("a", "b:c"))
    assert named_by("#1") == Named("#1")
    assert named_by("g:9:short") == Named("g:9:short")
    assert (str(Named("a")), str(Named("a", "b"))) == ("the collection 'a'", "the group 'b' of 'a'")
