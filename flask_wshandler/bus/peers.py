"""The other processes of one machine: found in the run directory, and a link to each.

Whoever publishes looks first whether the directory has changed, and connects to what is new there.

Invariant: there is one link at most to another process, named after its socket.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shlex
import socket
import time
from collections.abc import Iterator

from ..runtime.private_paths import UnsafeDirectory
from ..runtime.run_directory import RunDirectory
from .peer_link import Link, is_own_user

_RETRY_S = 0.2
"""For a process whose queue of newcomers is full, or that could not be reached."""


class Peers:
    """The processes that listen. The bus's lock is held around all calls but `whereabouts`."""

    def __init__(self, directory: RunDirectory, own_name: str, max_queue_bytes: int) -> None:
        """Looks at nothing yet. `own_name` is that of this process's socket."""
        self._directory = directory
        self._own_name = own_name
        self._max_queue_bytes = max_queue_bytes
        self._links: dict[str, Link] = {}
        self._version: tuple[int, int] | None = None
        self._is_settled = False
        #: Those that could not be connected to; envelopes for them are dropped.
        self._unreached: set[str] = set()
        #: Whether not even their names could be read.
        self._is_blind = False
        self._retry_at_s = 0.0

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        """The links at this moment."""
        return iter(list(self._links.values()))

    def __contains__(self, link: object) -> bool:
        return isinstance(link, Link) and link.name in self._links

    def link_to(self, name: str) -> Link | None:
        """The link to the process whose socket has that name."""
        return self._links.get(name)

    @property
    def unreached_count(self) -> int:
        """How many processes an envelope misses; 1 if it is not known how many there are."""
        return len(self._unreached) or self._is_blind

    def find(self) -> str | None:
        """Connect to the processes that have come, if it is time to look.

        Returns what is in the way; "" if nothing is any more, None if there was nothing to do.
        """
        is_in_trouble = bool(self._is_blind or self._unreached)
        if is_in_trouble and time.monotonic() < self._retry_at_s:
            return None
        try:
            version = self._directory.version()
            if version == self._version and self._is_settled and not is_in_trouble:
                return None
            is_settled = self._directory.is_settled(version)
            names = self._names()
        except (OSError, UnsafeDirectory) as error:
            self._is_blind = True
            self._retry_later()
            return str(error)
        self._is_blind = False
        trouble = self._connect_all(names)
        self._version, self._is_settled = version, is_settled
        if trouble:
            self._retry_later()
        return trouble

    def _names(self) -> list[str]:
        try:
            self._directory.check()
            return self._directory.members()
        except FileNotFoundError:
            return []  # no process listens

    def _retry_later(self) -> None:
        self._retry_at_s = time.monotonic() + _RETRY_S

    def _connect_all(self, names: list[str]) -> str:
        """Connect to those that are new; what is in the way, or "" if nothing is."""
        self._unreached.clear()
        trouble = ""
        for name in names:
            if name != self._own_name and name not in self._links:
                trouble = self._connect(name) or trouble
        return trouble

    def _connect(self, name: str) -> str:
        with contextlib.ExitStack() as opened:
            try:
                sock = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                sock.setblocking(False)
                sock.connect(self._directory.address(name))
                if not is_own_user(sock):
                    return ""
            except ConnectionRefusedError:
                self._directory.remove(name)  # its process was killed
            except FileNotFoundError:
                pass  # it has just gone
            except BlockingIOError:
                self._unreached.add(name)
                self._retry_later()
            except OSError as error:
                self._unreached.add(name)
                return f"{name} can't be reached ({error})"
            else:
                opened.pop_all()
                self._links[name] = Link(name, sock, self._max_queue_bytes)
        return ""

    def remove(self, link: Link) -> int:
        """Forget a process that has gone; returns how many envelopes are lost with it.

        The link's socket is the caller's to close.
        """
        self._links.pop(link.name, None)
        self._is_settled = False  # its socket's file may have to be cleared away
        lost, link.frames = len(link.frames), collections.deque()
        return lost

    def whereabouts(self, searched: object, app_name: str) -> list[str]:
        """Sentences on where `app_name` was looked for, and where it may be instead."""
        said = [f"Looked on {searched} for {app_name!r}, as the user {_user(os.geteuid())}."]
        strangers = set()
        for place in self._directory.other_places():
            if place.user_id == os.geteuid():
                if place.has_app:
                    said.append(f"The app was in {place.top}, by another XDG_RUNTIME_DIR.")
            elif place.has_app:
                user = _user(place.user_id)
                said.append(
                    f"The app was in {place.top}, as the user {user}: see `sudo -u "
                    f"{shlex.quote(user)}`."
                )
            elif place.has_app is None:
                strangers.add(_user(place.user_id))
        if strangers:
            said.append(
                f"Other users have apps here that can't be seen: {', '.join(sorted(strangers))}."
            )
        return said


def _user(user_id: int) -> str:
    try:
        import pwd  # which not every system has

        return pwd.getpwuid(user_id).pw_name
    except (ImportError, KeyError):  # containers have users without names
        return f"#{user_id}"
