"""The file of a log: found or made, checked, opened, and begun anew when it is no good.

It lies beside the run directory, with SQLite's `-wal` and `-shm`, and shall survive processes that
are killed, not a loss of power.

Invariants:
- Whoever opens, makes or removes the file has the directory locked, so all processes end up in the
  same one. Who has it open looks before each use whether it is still the one that others find.
- This process never opens the file but by SQLite: closing it would let go of SQLite's locks, which
  are the process's.
- No connection is inherited by a fork: see `sqlite_log`. SQLite would take locks of the parent for
  the child's.
"""

from __future__ import annotations

import contextlib
import enum
import os
import urllib.parse
from collections.abc import Iterator

try:
    import sqlite3
except ImportError:  # pragma: no cover  # a Python that was built without it
    sqlite3 = None  # type: ignore[assignment]

from ..runtime import logs
from ..runtime.private_paths import UnsafeDirectory
from ..runtime.run_directory import RunDirectory
from . import sqlite_tables as tables
from .log import LOG_ID_BYTES, LogBusy, LogUnavailable

SQLiteError: type[Exception] = Exception if sqlite3 is None else sqlite3.Error

logger = logs.logger(__package__)

_PAGE_BYTES = 4096
_WAL_PAGES = 1000
"""So many are written before they are brought into the file."""

_OPENING_TIMEOUT_S = 0.2
"""For a process that brings in what another has left that was killed."""

_ATTEMPTS = 3

_OLDEST_SQLITE = (3, 8, 0)
"""It has indexes on a part of a table."""


class OpenFile:
    """A connection to a log's file."""

    def __init__(
        self, connection: sqlite3.Connection, path: str, identity: tuple[int, int]
    ) -> None:
        self.connection = connection
        #: Of one cursor: what was read before is forgotten.
        self.execute = connection.cursor().execute
        self.path = path
        self.identity = identity
        self.log_id = b""

    def is_current(self) -> bool:
        """Whether others who open the file find this one, too."""
        try:
            found = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (found.st_dev, found.st_ino) == self.identity

    def free_pages(self) -> tuple[int, int]:
        """How many pages of the file are not used, and how many there are."""
        (free,) = self.execute("PRAGMA freelist_count").fetchone()
        (pages,) = self.execute("PRAGMA page_count").fetchone()
        return free, pages

    def wal_bytes(self) -> int:
        """How much was written that is not in the file, or was not overwritten since."""
        try:
            return os.stat(self.path + "-wal").st_size
        except FileNotFoundError:
            return 0

    def bring_in(self) -> None:
        """Bring what was written into the file, and begin at its start again. Waits for nobody."""
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def roll_back(self) -> None:
        """End a transaction, if there is one, as if it had not been."""
        if self.connection.in_transaction:
            with _errors_of_sqlite_ignored():
                self.connection.rollback()

    def close(self) -> None:
        """Let go of the file."""
        with _errors_of_sqlite_ignored():
            self.connection.close()


@contextlib.contextmanager
def _errors_of_sqlite_ignored() -> Iterator[None]:
    with contextlib.suppress(SQLiteError):
        yield


class LogFile:
    """Where the log of an app is, for the user of this process."""

    def __init__(self, app_name: str, size_bytes: int) -> None:
        """Touches nothing."""
        self._directory = RunDirectory(app_name)
        self._name = f"{self._directory.name}.history"
        # Pages that are half empty, and those for many small topics.
        self._most_pages = 3 * size_bytes // _PAGE_BYTES + 1000
        #: What was found damaged.
        self._damaged: tuple[int, int] | None = None
        self._damage = ""

    def __str__(self) -> str:
        try:
            return str(self._directory.path_beside(self._name))
        except (OSError, UnsafeDirectory):
            return "the log"

    def exists(self) -> bool:
        """Whether there is one. Raises `LogUnavailable` where there can't be."""
        _check_sqlite()
        try:
            return self._directory.check_beside(self._name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except UnsafeDirectory as error:
            raise LogUnavailable(str(error)) from error
        except OSError as error:
            raise LogUnavailable(f"{self} can't be looked at: {error}") from error

    def identity(self) -> tuple[int, int] | None:
        """Which file is there now; None if none is, or that can't be seen."""
        try:
            found = os.stat(self._directory.path_beside(self._name))
        except (OSError, UnsafeDirectory):
            return None
        return found.st_dev, found.st_ino

    def note_damage(self, file: OpenFile, reason: str) -> None:
        """Have the file begun anew when it is opened next, unless another process has done so."""
        self._damaged, self._damage = file.identity, reason

    def open(self, until_s: float) -> OpenFile:
        """Open it, and make it if need be. Raises `LogUnavailable`."""
        _check_sqlite()
        try:
            with self._directory.locked_beside(until_s):
                return self._open_locked()
        except UnsafeDirectory as error:
            raise LogUnavailable(str(error)) from error
        except SQLiteError as error:
            raise unavailable(error, str(self), 0) from error
        except TimeoutError as error:
            raise LogBusy(f"{self} can't be opened: {error}") from error
        except OSError as error:
            raise LogUnavailable(f"{self} can't be opened: {error}") from error

    def _open_locked(self) -> OpenFile:
        for _ in range(_ATTEMPTS):
            if self._directory.check_beside(self._name) and (damage := self._known_damage()):
                self._remove(damage)
            if not self._directory.check_beside(self._name):
                self._make()
            file = self._connect()
            try:
                reason = self._set_up(file)
            except BaseException as error:
                file.close()
                if isinstance(error, SQLiteError) and fault_of(error) is Fault.DAMAGED:
                    self._remove(str(error))
                    continue
                raise
            if not reason:
                self._damaged = None
                return file
            file.close()
            self._remove(reason)
        raise LogUnavailable(f"{self} is damaged each time it was begun anew")

    def _known_damage(self) -> str:
        found = os.stat(self._directory.path_beside(self._name))
        if self._damaged == (found.st_dev, found.st_ino):
            return self._damage
        # Of a process that was killed when it had made it; or others have it open, and would go on
        # in the `-wal` that SQLite removes for an empty file.
        return "" if found.st_size else "it is empty"

    def _make(self) -> None:
        # If somebody has removed the file without these, SQLite would take them for the new one's.
        for suffix in ("-wal", "-shm"):
            self._directory.remove_beside(self._name + suffix)
        self._directory.make_beside(self._name)

    def _remove(self, reason: str) -> None:
        logger.warning("%s is begun anew, and what was in it is lost: %s", self, reason)
        # The file first: without it the others are nobody's.
        for suffix in ("", "-wal", "-shm"):
            path = self._directory.path_beside(self._name + suffix)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _connect(self) -> OpenFile:
        path = os.fspath(self._directory.path_beside(self._name))
        connection = sqlite3.connect(
            f"file:{urllib.parse.quote(path)}?mode=rw",  # makes none
            uri=True,
            timeout=_OPENING_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        found = os.stat(path)
        return OpenFile(connection, path, (found.st_dev, found.st_ino))

    def _set_up(self, file: OpenFile) -> str:
        """Why the file has to be begun anew; nothing if it is good. Raises `LogUnavailable`."""
        execute = file.execute
        if ("THREADSAFE=0",) in execute("PRAGMA compile_options").fetchall():
            raise LogUnavailable("this Python's SQLite was built without threads (THREADSAFE=0)")
        (size,) = execute("PRAGMA page_count").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        if version > tables.SCHEMA_VERSION:
            raise LogUnavailable(
                f"{self} is of a newer flask-wshandler (version {version} of the log, here it is "
                f"{tables.SCHEMA_VERSION}): restart this process with that one, or remove the file"
            )
        if size == 0:
            execute("PRAGMA auto_vacuum=INCREMENTAL")
        (mode,) = execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise LogUnavailable(
                f"SQLite can't share {self} between processes (journal mode {mode!r}): set "
                "XDG_RUNTIME_DIR to a directory of this machine, not of a network"
            )
        execute("PRAGMA synchronous=OFF")
        execute("PRAGMA temp_store=MEMORY")
        execute("PRAGMA trusted_schema=OFF")
        execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}").fetchall()
        execute(f"PRAGMA journal_size_limit={_WAL_PAGES * _PAGE_BYTES}").fetchall()
        execute(f"PRAGMA max_page_count={self._most_pages}").fetchall()
        if size == 0:
            execute("BEGIN IMMEDIATE")
            tables.create(execute, os.urandom(LOG_ID_BYTES))
            execute("COMMIT")
        elif version < tables.SCHEMA_VERSION:
            return f"it has version {version} of the log, and this is {tables.SCHEMA_VERSION}"
        row = execute("SELECT id FROM log").fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != LOG_ID_BYTES:
            return "it has no id"
        file.log_id = row[0]
        # From now on whoever waits looks more often than SQLite does.
        execute("PRAGMA busy_timeout=0").fetchall()
        return ""


def _check_sqlite() -> None:
    if sqlite3 is None:
        raise LogUnavailable(
            "this Python was built without sqlite3, which the log of one machine needs"
        )
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        raise LogUnavailable(
            f"SQLite {sqlite3.sqlite_version} is too old for the log of one machine, which needs "
            f"{oldest} or newer"
        )


class Fault(enum.Enum):
    """What keeps SQLite from doing something."""

    BUSY = "another process is at it, for a moment if it is well"
    FULL = "there is no room"
    DAMAGED = "the file is no good, and will not be"
    OTHER = "something else"


# Python 3.10 has no codes of SQLite's errors. Their words have been the same for ever.
_WORDS = {
    Fault.BUSY: ("locked", "locking protocol"),
    Fault.FULL: ("full",),
    Fault.DAMAGED: ("malformed", "not a database", "no such table", "no such column"),
}


def fault_of(error: Exception) -> Fault:
    """What an error means."""
    if not isinstance(error, SQLiteError):
        return Fault.DAMAGED
    text = str(error)
    for fault, phrases in _WORDS.items():
        if any(phrase in text for phrase in phrases):
            return fault
    return Fault.OTHER


def unavailable(error: Exception, path: str, waited_s: float) -> LogUnavailable:
    """What to raise for it."""
    text = str(error)
    fault = fault_of(error)
    directory = os.path.dirname(path)
    if fault is Fault.BUSY:
        return LogBusy(
            f"{path}: other processes have been writing for {waited_s * 1000:.0f} ms; if one was "
            "stopped meanwhile, have it go on, or end it"
        )
    if fault is Fault.FULL:
        return LogUnavailable(f"{path}: {text}; make room in {directory}")
    if "disk I/O" in text:  # SQLite does not say which: no room, or no writing at all any more
        return LogUnavailable(
            f"{path}: {text}; make room in {directory}, or have it mounted for writing"
        )
    if "readonly" in text or "unable to open" in text:
        return LogUnavailable(f"{path}: {text}; this user must be able to write to {directory}")
    return LogUnavailable(f"{path}: {text}")
