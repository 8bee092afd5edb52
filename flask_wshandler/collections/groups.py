"""Collections made on demand: the rooms of a chat, the users of an app."""

from __future__ import annotations

import functools
import uuid
import weakref
from collections.abc import Iterator, Mapping
from typing import TypeVar, cast, overload

from ..bus import Bus
from ..handlers.handler import WebSocketHandler, find_member
from . import current, declared
from .collection import WebSocketCollection, checked_name
from .history import History, checked_history
from .registry import CollectionRegistry
from .topics import Named, prefix_of_groups

Key = str | int | uuid.UUID
"""A group's name. A number or UUID stands for its `str`."""


Group = TypeVar("Group", bound=WebSocketCollection, covariant=True)


class WebSocketGroups(Mapping[Key, Group]):
    """A mapping of named collections, each of which is there whenever it is asked for::

        rooms = WebSocketGroups("room")
        rooms["lobby"].add(self)
        rooms["lobby"].broadcast("hello")

        users = WebSocketGroups("user")
        users[user.id].broadcast("wherever you are connected")

    A group costs nothing while it is empty, and there is none too many. A handler can be in any
    number of them and leaves all when it closes. Iteration and `len` are of the groups that have
    members in this process. Any thread.

    The groups are of a class of one's own if one is given::

        class Room(WebSocketCollection):
            def on_presence(self, joined, left):        # in every process
                for member in self:                     # so each tells its own
                    member.send_json({"room": self.key, "here": self.count()})

        rooms = WebSocketGroups("room", Room)

    A group's `key` is the str that it is asked for by, its `name` has that of the groups before it.

    An `on_presence` or `on_metadata_update`, of the class or assigned to a group, is called from
    the group's first use in a process on; None ends that. Of the groups that nobody is in, in any
    process, the thousand that were used last are still told, and keep what was assigned to them;
    and those whose object the app keeps.
    """

    @overload
    def __init__(
        self: WebSocketGroups[WebSocketCollection],
        name: str,
        *,
        bus: Bus | None = ...,
        history: int | None = ...,
        history_s: float | None = ...,
        replay: int | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        group_class: type[Group],
        *,
        bus: Bus | None = ...,
        history: int | None = ...,
        history_s: float | None = ...,
        replay: int | None = ...,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        group_class: type[WebSocketCollection] = WebSocketCollection,
        *,
        bus: Bus | None = None,
        history: int | None = None,
        history_s: float | None = None,
        replay: int | None = None,
    ) -> None:
        """`group_class` is made as a collection is, with a name and `bus`.

        Each group has a history of its own as `history`, `history_s` and `replay` say: see
        `WebSocketCollection`. Raises TypeError if it is no class of collections.
        """
        if not isinstance(group_class, type) or not issubclass(group_class, WebSocketCollection):
            raise TypeError(f"groups are of a subclass of WebSocketCollection, not {group_class!r}")
        self.name = checked_name(name, "the name of groups")
        self._bus = bus
        self._history = checked_history(history, history_s, replay)
        self._prefix = prefix_of_groups(name)
        self._group_class = _derived(group_class)  # type: ignore[arg-type]  # a class is hashable
        # Groups that have a callback, by topic: those that are kept for it, and all that there are.
        self._kept: dict[str, _Group] = {}
        self._watching: weakref.WeakValueDictionary[str, _Group] = weakref.WeakValueDictionary()
        if bus is None:
            declared.note(self)

    def __getitem__(self, key: Key) -> Group:
        """The group of that name, which need not have members.

        A key is a str, an int or a `uuid.UUID`, and its `str` has 1 to 255 bytes. `rooms[7]` and
        `rooms["7"]` are one group. Raises TypeError for another type, ValueError for another
        length.
        """
        topic = self._prefix + _checked_key(key)
        group = self._watching.get(topic)
        if group is None:
            group = self._make(str(key), topic)
        return cast("Group", group)

    def _make(self, key: str, topic: str) -> _Group:
        group = self._group_class.__new__(self._group_class)
        group.key = key
        group._topic = topic
        group._groups = self
        group._history = self._history
        self._group_class.__init__(group, f"{self.name}/{key}", bus=self._bus)
        # One object for all that ask: two would both be told.
        return self._watching.setdefault(topic, group) if group._watches else group

    def _remembers(self, topic: Named) -> History | None:
        # A class of groups may say what each of them has.
        is_own = topic.name == self.name and topic.key is not None
        return self[topic.key]._history if is_own and topic.key else None

    def _shown_history(self) -> tuple[Named, History] | None:
        return None if self._history is None else (Named(self.name, ""), self._history)

    # Not a mapping's, by which two would be equal or not by who is in them at the moment.

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __contains__(self, key: object) -> bool:
        """Whether the group has members in this process."""
        if not isinstance(key, Key):
            return False
        return self._registry().members_here(self._prefix + str(key)) is not None

    def __iter__(self) -> Iterator[Key]:
        """The keys of the groups that have members in this process, as str."""
        size = len(self._prefix)
        return iter(
            [topic[size:] for topic in self._registry().topics() if topic.startswith(self._prefix)]
        )

    def __len__(self) -> int:
        """How many groups have members in this process."""
        return sum(1 for _ in self)

    def discard(self, handler: WebSocketHandler) -> None:
        """Take `handler` out of all of these groups."""
        member = find_member(handler)
        for topic in () if member is None else member.topics:
            if topic.startswith(self._prefix):
                self._registry().remove(topic, handler)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _registry(self) -> CollectionRegistry:
        return current.of_current_app() if self._bus is None else current.of_bus(self._bus)


class _Group(WebSocketCollection):
    """One of them."""

    key: str
    _groups: WebSocketGroups[WebSocketCollection]

    def __init__(
        self,
        name: str | None = None,
        *,
        bus: Bus | None = None,
        history: int | None = None,
        history_s: float | None = None,
        replay: int | None = None,
    ) -> None:
        self.name = name
        self._bus = bus
        # A class of groups may say what each of them has.
        self._history = checked_history(history, history_s, replay) or self._history

    def _declare(self, registry: CollectionRegistry, history: History) -> None:
        """Nothing: whoever uses it has it from its groups, which are any number."""

    def _registry(self) -> CollectionRegistry:
        if self._watches:
            self._groups._kept.setdefault(self._topic, self)
        return super()._registry()

    def _note_watching(self) -> None:
        super()._note_watching()
        if self._watches:
            self._groups._watching[self._topic] = self
            self._groups._kept[self._topic] = self  # nobody else would keep it
        else:
            self._release()

    def _release(self) -> None:
        """Be kept by the app alone."""
        kept = self._groups._kept
        if kept.get(self._topic) is self:
            del kept[self._topic]


@functools.cache
def _derived(group_class: type[WebSocketCollection]) -> type[_Group]:
    """The class of groups that behave as `group_class` says."""
    if group_class is WebSocketCollection:
        return _Group
    # A group's own methods are between the class and what it is derived from.
    made = type(group_class.__name__, (group_class, _Group), {"__module__": group_class.__module__})
    return cast("type[_Group]", made)


def _checked_key(key: object) -> str:
    if isinstance(key, bool) or not isinstance(key, Key):
        raise TypeError(f"a group's key is a str, an int or a UUID, not {key!r}")
    return checked_name(str(key), "a group's key")
