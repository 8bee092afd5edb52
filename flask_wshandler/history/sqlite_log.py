"""A log for all processes of an app on one machine, in a file beside the run directory.

Invariants:
- `_lock` guards the connection and what is said below. It is held while SQLite works and waits for
  other processes: so long as the contract says, and whoever waits for the lock waits no longer.
- A transaction that appends has the write lock of the file from its beginning, so numbers and
  times are given in the order of what is committed.
- What an append does beside its own message is bounded: what is too much is dropped in pieces.
- No connection is inherited by a fork: it is closed before, and opened again when it is needed.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..runtime import lifecycle, locks
from . import sqlite_tables as tables
from .log import (
    APPEND_TIMEOUT_S,
    DEFAULT_SIZE_BYTES,
    ENTRY_COST_BYTES,
    MOST_READ,
    READ_TIMEOUT_S,
    Bounds,
    Draft,
    Entry,
    Log,
    LogBusy,
    LogSize,
    LogUnavailable,
    Page,
    Position,
    check_fits,
)
from .sqlite_file import Fault, LogFile, OpenFile, SQLiteError, fault_of, unavailable

Done = TypeVar("Done")

_ASK_AGAIN_S = (0.0001, 0.001)
"""For the write lock, at random: it goes to whoever happens to ask when it is free."""

_ATTEMPTS = 3
"""With files that are begun anew because they are damaged."""

_UNCOUNTED = 64
"""A process appends so small a part of what the log may hold before it looks what that holds."""

_LOOK_EVERY_BYTES = 2 * 2**20
"""Written, after which the size of what is not in the file yet is looked at."""
_WRITTEN_BYTES = 2 * 4096
"""At least, by an append: a page of its topic, and one of its message."""
_WAL_BYTES = 8 * 2**20
_MOST_WAL_BYTES = 128 * 2**20
"""More than four of the largest messages."""

_MOST_EMPTY_TOPICS = 10_000
"""Topics without messages whose numbers are remembered, each of them."""

_MOST_FREE_PAGES = 256
"""Unused ones in the file, which are given back when they are more than half of it, too."""
_PAGES_AT_A_TIME = 2000


class SqliteLog(Log):
    """Keeps messages over the end of processes, not over a loss of power.

    All processes of the same user, with the same `app_name` and `size_bytes`, have one. It keeps
    `size_bytes` of payloads, and up to a 64th more for each further process that writes, until it
    is tidied; the file takes up to three times as much where messages are of unlucky sizes.
    `wall_clock` gives the seconds since 1970.
    """

    def __init__(
        self,
        app_name: str,
        size_bytes: int = DEFAULT_SIZE_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Touches nothing."""
        self._app_name = app_name
        self._size_bytes = size_bytes
        self._wall_clock = wall_clock
        self._begin()
        # Before the first use: a fork amid that would have the directory locked for ever.
        lifecycle.guard_forks(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._file = LogFile(self._app_name, self._size_bytes)
        self._open: OpenFile | None = None
        self._is_in_use = False
        self._forking_thread: int | None = None
        #: What this process has appended since it has seen how much there is in all.
        self._uncounted_bytes = self._size_bytes
        #: What it has written since it has seen how much is not in the file yet.
        self._written_bytes = _LOOK_EVERY_BYTES
        #: The file that the parent of this process had open when it forked.
        self._spoilt: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"the log in {self._file}"

    # The contract.

    def exists(self) -> bool:
        """Whether there is a file."""
        return self._file.exists()

    def append(
        self, topic: str, draft: Draft, bounds: Bounds, *, after_gap: bool = False
    ) -> Position:
        """Append a message. `LogUnavailable` if it is larger than the log."""
        check_fits(draft, self._size_bytes)
        return self._do(APPEND_TIMEOUT_S, self._append, topic, draft, bounds, after_gap)

    def read(self, topic: str, after: int, most: int = MOST_READ) -> Page:
        """The messages with numbers above `after`."""
        return self._do(READ_TIMEOUT_S, self._read, topic, after, most)

    def newest(self, topic: str, count: int) -> Page:
        """The last `count` messages."""
        return self._do(READ_TIMEOUT_S, self._newest, topic, count)

    def last_of(self, topics: list[str]) -> dict[str, Position]:
        """The position of the last message of each."""
        return self._do(READ_TIMEOUT_S, self._last_of, topics)

    def topics(self) -> list[str]:
        """All topics of which messages are kept."""
        return self._do(READ_TIMEOUT_S, lambda file: tables.names(file.execute))

    def size(self) -> LogSize:
        """How much it holds."""
        return self._do(READ_TIMEOUT_S, lambda file: LogSize(*tables.total(file.execute)))

    def tidy(self) -> None:
        """Forget what is too old or too much. Others get their turn meanwhile."""
        for step in (self._drop_untidy, self._drop_oldest, self._forget_topics, self._shrink):
            while not self._do(READ_TIMEOUT_S, step):
                pass

    def close(self) -> None:
        """Let go of the file."""
        if self._lock.acquire(timeout=READ_TIMEOUT_S):
            try:
                if not self._is_in_use:
                    self._close()
            finally:
                self._lock.release()

    # Use of the file.

    def _do(self, timeout_s: float, work: Callable[..., Done], *arguments: Any) -> Done:
        """Call `work` with the open file, until it succeeds or the time is over."""
        if self._pid != os.getpid():
            self.reset_after_fork()
        until_s = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):
            raise LogBusy(f"{self}: in use by other threads for {timeout_s} s")
        try:
            if self._is_in_use:
                # A signal handler, or a `__del__`, in the midst of another call.
                raise LogBusy(f"{self} is in use by a call that this one has interrupted")
            self._is_in_use = True
            try:
                failures = 0
                while True:
                    file = self._opened(until_s)
                    try:
                        return work(file, *arguments)
                    except (SQLiteError, tables.Exhausted) as error:
                        file.roll_back()
                        failures += 1
                        if not self._can_try_again(file, error, until_s, failures):
                            raise unavailable(error, file.path, timeout_s) from error
                    except BaseException:
                        file.roll_back()
                        raise
            finally:
                self._is_in_use = False
        finally:
            self._lock.release()

    def _can_try_again(
        self, file: OpenFile, error: Exception, until_s: float, failures: int
    ) -> bool:
        fault = fault_of(error)
        if fault is Fault.BUSY and time.monotonic() < until_s:
            time.sleep(random.uniform(*_ASK_AGAIN_S))
            return True
        if fault is Fault.FULL:
            self._uncounted_bytes = self._size_bytes
        elif fault is Fault.DAMAGED:
            self._file.note_damage(file, str(error))
            self._close()
            return failures < _ATTEMPTS
        elif fault is Fault.OTHER:
            self._close()  # it may have been opened to be read only
        return False

    def _opened(self, until_s: float) -> OpenFile:
        file = self._open
        if file is not None:
            try:
                if file.is_current():
                    return file
            except OSError as error:
                raise LogUnavailable(f"{self}: {error}") from error
            self._close()
        if self._spoilt is not None:
            if self._spoilt == self._file.identity():
                raise LogUnavailable(
                    f"{self} was in use when this process was forked, in a way that Python does "
                    "not know of: do not use it before the fork"
                )
            self._spoilt = None
        self._open = file = self._file.open(until_s)
        self._uncounted_bytes = self._size_bytes
        return file

    def _close(self) -> None:
        file, self._open = self._open, None
        if file is not None:
            file.close()

    # Forks.

    def before_fork(self) -> None:
        """Close the file, and keep others from opening it."""
        if self._lock.acquire(timeout=READ_TIMEOUT_S):
            if self._is_in_use:  # by this very thread
                self._lock.release()
            else:
                self._close()
                self._forking_thread = threading.get_ident()

    def after_fork_in_parent(self) -> None:
        """Let others use it again."""
        if self._forking_thread == threading.get_ident():
            self._forking_thread = None
            self._lock.release()

    def reset_after_fork(self) -> None:
        """In a forked child: leave the parent's connection alone for ever, if there is one."""
        if self._pid != os.getpid():
            inherited = self._open
            self._begin()
            if inherited is not None:
                _keep_for_ever(inherited)
                self._spoilt = inherited.identity

    # Transactions. Called with _lock held.

    def _append(
        self, file: OpenFile, topic: str, draft: Draft, bounds: Bounds, after_gap: bool
    ) -> Position:
        if self._written_bytes >= _LOOK_EVERY_BYTES:
            self._bound_wal(file)
            self._written_bytes = 0
        execute = file.execute
        execute("BEGIN IMMEDIATE")
        cost = len(draft.payload) + ENTRY_COST_BYTES
        uncounted = self._uncounted_bytes + cost
        allowance = self._size_bytes // _UNCOUNTED
        if uncounted > allowance:
            fits = tables.drop_oldest(execute, max(0, self._size_bytes - allowance - cost))
            uncounted = cost if fits else self._size_bytes
        place = tables.append(execute, topic, draft, bounds, after_gap, self._wall_clock())
        execute("COMMIT")
        self._uncounted_bytes = uncounted
        self._written_bytes += cost + _WRITTEN_BYTES
        return Position(file.log_id, *place)

    @staticmethod
    def _bound_wal(file: OpenFile) -> None:
        if file.wal_bytes() > _WAL_BYTES:
            file.bring_in()
            wal_bytes = file.wal_bytes()
            if wal_bytes > _MOST_WAL_BYTES:
                raise LogUnavailable(
                    f"{file.path}-wal has {wal_bytes} bytes, {_MOST_WAL_BYTES} are the limit: a "
                    "process does not end what it reads; if one was stopped, have it go on"
                )

    def _read(self, file: OpenFile, topic: str, after: int, most: int) -> Page:
        execute = file.execute
        execute("BEGIN")
        topic_id, last, first = tables.look_up(execute, topic, self._wall_clock())
        entries: list[Entry] = []
        if topic_id is not None:
            entries = tables.entries(execute, topic_id, max(after + 1, first), last[1], most)
        execute("COMMIT")
        return Page(Position(file.log_id, *last), first, entries)

    def _newest(self, file: OpenFile, topic: str, count: int) -> Page:
        execute = file.execute
        execute("BEGIN")
        topic_id, last, first = tables.look_up(execute, topic, self._wall_clock())
        entries: list[Entry] = []
        if topic_id is not None:
            entries = tables.newest_entries(execute, topic_id, first, last[1], count)
        execute("COMMIT")
        return Page(Position(file.log_id, *last), first, entries)

    @staticmethod
    def _last_of(file: OpenFile, topics: list[str]) -> dict[str, Position]:
        execute = file.execute
        execute("BEGIN")
        found = {topic: Position(file.log_id, *tables.last_of(execute, topic)) for topic in topics}
        execute("COMMIT")
        return found

    # Tidying: each is called until it returns True. None has the write lock if there is nothing.

    def _drop_untidy(self, file: OpenFile) -> bool:
        execute = file.execute
        now_s = self._wall_clock()
        if not tables.has_untidy(execute, now_s):
            return True
        execute("BEGIN IMMEDIATE")
        tables.drop_untidy(execute, now_s)
        execute("COMMIT")
        return False

    def _drop_oldest(self, file: OpenFile) -> bool:
        execute = file.execute
        if tables.total(execute)[1] <= self._size_bytes:
            return True
        execute("BEGIN IMMEDIATE")
        fits = tables.drop_oldest(execute, self._size_bytes)
        execute("COMMIT")
        return fits

    @staticmethod
    def _forget_topics(file: OpenFile) -> bool:
        execute = file.execute
        if tables.empty_topics(execute) > _MOST_EMPTY_TOPICS:
            execute("BEGIN IMMEDIATE")
            tables.forget_empty_topics(execute)
            execute("COMMIT")
        return True

    @staticmethod
    def _shrink(file: OpenFile) -> bool:
        free, pages = file.free_pages()
        if free > max(_MOST_FREE_PAGES, pages // 2):
            file.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_A_TIME})").fetchall()
            if file.free_pages()[0] < free:
                return False
        file.bring_in()
        return True


_kept: list[object] = []


def _keep_for_ever(inherited: object) -> None:
    """Have it not closed when the interpreter ends, either: other processes may use the file."""
    _kept.append(inherited)
    with contextlib.suppress(ImportError):
        import ctypes  # not every Python has it

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
