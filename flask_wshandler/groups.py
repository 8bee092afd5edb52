"""Collections made on demand: the rooms of a chat, the users of an app."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

from . import hub
from .bus import Bus
from .collection import WebSocketCollection, checked_name
from .handler import WebSocketHandler, memberships

Key = str | int | uuid.UUID
"""A group's name. A number or UUID stands for its `str`."""


class WebSocketGroups(Mapping[Key, WebSocketCollection]):
    """A mapping of named collections, each of which is there whenever it is asked for::

        rooms = WebSocketGroups("room")
        rooms["lobby"].add(self)
        rooms["lobby"].broadcast("hello")

        users = WebSocketGroups("user")
        users[user.id].broadcast("wherever you are connected")

    A group costs nothing while it is empty, and there is none too many. A handler can be in any
    number of them and leaves all when it closes. Iteration and `len` are of the groups that have
    members in this process. Any thread.

    An `on_presence` or `on_metadata_update` that is assigned to a group stays with it until None is
    assigned. Of the groups that nobody is in, in any process, the thousand that were used last keep
    it; and those whose object the app keeps.
    """

    def __init__(self, name: str, *, bus: Bus | None = None) -> None:
        self.name = checked_name(name, "the name of groups")
        self._bus = bus
        # With its length: no name and key run together like another's.
        self._prefix = f"g:{len(name)}:{name}:"
        # Groups that were given a callback, by topic.
        self._watching: dict[str, _Group] = {}

    def __getitem__(self, key: Key) -> WebSocketCollection:
        """The group of that name, which need not have members.

        A key is a str, an int or a `uuid.UUID`, and its `str` has 1 to 255 bytes. `rooms[7]` and
        `rooms["7"]` are one group. Raises TypeError for another type, ValueError for another
        length.
        """
        topic = self._prefix + _checked_key(key)
        watching = self._watching.get(topic)
        if watching is not None:
            return watching
        return _Group(f"{self.name}/{key}", topic, self._bus, self._watching)

    # Not a mapping's, by which two would be equal or not by who is in them at the moment.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __contains__(self, key: object) -> bool:
        """Whether the group has members in this process."""
        return isinstance(key, Key) and self._hub().part(self._prefix + str(key)) is not None

    def __iter__(self) -> Iterator[Key]:
        """The keys of the groups that have members in this process, as str."""
        size = len(self._prefix)
        return iter(
            [topic[size:] for topic in self._hub().topics() if topic.startswith(self._prefix)]
        )

    def __len__(self) -> int:
        """How many groups have members in this process."""
        return sum(1 for _ in self)

    def discard(self, handler: WebSocketHandler) -> None:
        """Take `handler` out of all of these groups."""
        for topic in memberships(handler):
            if topic.startswith(self._prefix):
                self._hub().remove(topic, handler)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _hub(self) -> hub.Hub:
        return hub.current() if self._bus is None else hub.of_bus(self._bus)


class _Group(WebSocketCollection):
    """One of them."""

    def __init__(self, name: str, topic: str, bus: Bus | None, watching: dict[str, _Group]) -> None:
        self.name = name
        self._topic = topic
        self._bus = bus
        self._watching = watching

    def _note_watching(self) -> None:
        super()._note_watching()
        if self._watches:
            self._watching[self._topic] = self  # nobody else would keep it
        else:
            self._release()

    def _release(self) -> None:
        """Be kept by the app alone."""
        if self._watching.get(self._topic) is self:
            del self._watching[self._topic]


def _checked_key(key: object) -> str:
    if isinstance(key, bool) or not isinstance(key, Key):
        raise TypeError(f"a group's key is a str, an int or a UUID, not {key!r}")
    return checked_name(str(key), "a group's key")
