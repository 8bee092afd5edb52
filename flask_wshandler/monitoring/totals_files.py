"""What the processes of one server have told of themselves, in files of their run directory.

Each process writes its own file. When it is gone, whoever notices adds what it has counted to one
file for all that are gone, and removes it.

Invariant: what a process has counted stands in exactly one of both, at whatever moment one reads
and whoever is killed meanwhile: a process of whose figures the file of the gone ones has the name
does not count any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterator

from ..runtime.run_directory import RunDirectory
from .samples import Figures, add, counters_of, dump, load

_FIGURES = ".figures"
_GONE = ".gone"
_LOCK = ".lock"
_REMEMBERED = 64
"""Names of processes that are gone, kept for readers who have seen their files before."""


class Books:
    """The files of one server's processes."""

    def __init__(self, directory: RunDirectory, server_name: str) -> None:
        self._directory = directory
        self._server = hashlib.sha256(server_name.encode()).hexdigest()[:8]

    def new_name(self) -> str:
        """A name for this process."""
        return f"{self._server}-{self._directory.new_name()}"

    def names(self) -> list[str]:
        """The processes that have written something and are in none of the others' books."""
        return [name for name in self._all_names() if self._server_of(name) == self._server]

    def foreign_names(self) -> dict[str, list[str]]:
        """Processes of other servers of the same app, by their server."""
        found: dict[str, list[str]] = {}
        for name in self._all_names():
            if self._server_of(name) != self._server:
                found.setdefault(self._server_of(name), []).append(name)
        return found

    @staticmethod
    def is_running(name: str) -> bool:
        """Whether there is a process with this one's number, if not this one."""
        pid = name.split("-")[1]
        return not pid.isdecimal() or os.path.exists(f"/proc/{pid}")

    def write(self, name: str, figures: Figures) -> None:
        """Keep the figures of a process. Raises OSError."""
        self._replace(name + _FIGURES, dump(figures))

    def read(self, name: str) -> Figures:
        """What a process has written last; nothing if its file is gone or no such file.

        Raises OSError if it can't be read at this moment.
        """
        try:
            return load(self._read(name + _FIGURES))
        except (FileNotFoundError, ValueError):
            return {}

    def gone(self) -> tuple[list[str], Figures]:
        """Processes that are gone, and what all that are gone have counted together.

        Raises OSError if that can't be read at this moment.
        """
        try:
            names, rows = json.loads(self._read(self._server + _GONE))
            return [str(name) for name in names], load(json.dumps(rows).encode())
        except (FileNotFoundError, ValueError):
            return [], {}

    def enter(self, dead: Collection[str]) -> None:
        """Add processes that are gone to those that are. Does nothing while another does it.

        Raises OSError; then they are added the next time.
        """
        with self._lock() as is_mine:
            if not is_mine:
                return
            names, figures = self.gone()
            new = [name for name in dead if name not in names]
            for name in new:
                add(figures, counters_of(self.read(name)))
            if new:
                names = [*names[-_REMEMBERED:], *new]
                rows = json.loads(dump(figures))
                self._replace(self._server + _GONE, json.dumps([names, rows]).encode())
            for name in dead:
                self._remove(name)

    def remove_server(self, server: str, names: Collection[str]) -> None:
        """Remove all of a server whose processes are gone."""
        for name in names:
            self._remove(name)
        for suffix in (_GONE, _LOCK):
            self._directory.remove(server + suffix)

    def _all_names(self) -> list[str]:
        found = self._directory.members()
        return [name[: -len(_FIGURES)] for name in found if name.endswith(_FIGURES)]

    @staticmethod
    def _server_of(name: str) -> str:
        return name.partition("-")[0]

    def _remove(self, name: str) -> None:
        self._directory.remove(name + _FIGURES)
        self._directory.remove(name)

    def _read(self, name: str) -> bytes:
        with open(self._directory.path / name, "rb") as file:
            return file.read()

    def _replace(self, name: str, data: bytes) -> None:
        unfinished = self._directory.path / f".{name}-{os.getpid()}"
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, self._directory.path / name)
        except BaseException:
            self._directory.remove(unfinished.name)  # it may have what room there is
            raise

    @contextlib.contextmanager
    def _lock(self) -> Iterator[bool]:
        """Whether nobody else has it; given back by the system if this process is killed."""
        import fcntl  # not on Windows, where nothing comes here

        path = self._directory.path / (self._server + _LOCK)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_mine = True
        except BlockingIOError:
            is_mine = False
        try:
            yield is_mine
        finally:
            os.close(descriptor)
