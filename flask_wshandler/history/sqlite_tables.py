"""What stands in the file of a log, and how it is written and read.

The entries of a topic are those from `first` to `last`, without holes; `first_at_s` is the time of
the first, NULL if there is none. What was forgotten of topics is in `floor`: the highest of their
numbers, where topics begin that are not there.

The key of an entry has the topic's id in its upper bits: one tree, in which each topic lies
together. In a tree with keys of two columns, SQLite takes a page more for each message of more than
1 kB.

Invariant: these are called within a transaction, with the write lock of the file where they write,
and do no more at a time than takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from .log import ENTRY_COST_BYTES, MOST_READ_BYTES, Bounds, Draft, Entry

if TYPE_CHECKING:
    import sqlite3

Execute = Callable[..., "sqlite3.Cursor"]

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE log (id BLOB NOT NULL, floor INTEGER NOT NULL, floor_generation INTEGER NOT NULL);
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL,
    last INTEGER NOT NULL,
    first INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    count INTEGER NOT NULL,
    age_s REAL NOT NULL,
    first_at_s REAL
);
CREATE INDEX oldest ON topics (first_at_s) WHERE first_at_s IS NOT NULL;
CREATE TABLE entries (
    key INTEGER PRIMARY KEY,
    is_text INTEGER NOT NULL,
    at_s REAL NOT NULL,
    excluded BLOB NOT NULL,
    payload BLOB NOT NULL
);
"""

_NUMBER_BITS = 36
_MOST_NUMBERS = 2**_NUMBER_BITS - 1
_MOST_TOPICS = 2 ** (63 - _NUMBER_BITS) - 1

_MOST_DROPPED = 2000
"""Messages of a topic."""
_PIECE = 256
_PIECES = 64
"""Of the oldest messages of all topics."""
_TOPICS = 64
"""That are tidied."""

_TOPIC = "SELECT id, generation, last, first, count, age_s, first_at_s FROM topics WHERE name = ?"
_FLOOR = "SELECT floor_generation, floor FROM log"
_NEW_TOPIC = "INSERT INTO topics VALUES (NULL, ?, ?, ?, ?, 0, ?, ?, NULL)"
_NEW_ENTRY = "INSERT INTO entries VALUES (?, ?, ?, ?, ?)"
_APPENDED = (
    "UPDATE topics SET generation = ?, last = ?, bytes = bytes + ?, count = ?, age_s = ? "
    "WHERE id = ?"
)
_FIRST_APPENDED = "UPDATE topics SET first_at_s = ? WHERE id = ?"
_ENTRIES = (
    "SELECT key, is_text, payload, excluded, at_s FROM entries "
    "WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?"
)
_NEWEST_ENTRIES = _ENTRIES.replace("ORDER BY key", "ORDER BY key DESC")
_FIRST_SINCE = (
    "SELECT key FROM entries WHERE key BETWEEN ? AND ? AND at_s >= ? ORDER BY key LIMIT 1"
)
_SIZE_BETWEEN = (
    f"SELECT COUNT(*) * {ENTRY_COST_BYTES} + TOTAL(LENGTH(payload)) FROM entries "
    "WHERE key BETWEEN ? AND ?"
)
_DROP_BETWEEN = "DELETE FROM entries WHERE key BETWEEN ? AND ?"
_TIME_OF = "SELECT at_s FROM entries WHERE key = ?"
_DROPPED = "UPDATE topics SET first = ?, first_at_s = ?, bytes = bytes - ? WHERE id = ?"
_TOTAL = "SELECT TOTAL(last - first + 1), TOTAL(bytes) FROM topics WHERE first_at_s IS NOT NULL"
_NAMES = "SELECT name FROM topics WHERE first_at_s IS NOT NULL"
_OLDEST = (
    "SELECT id, first, last, first_at_s FROM topics WHERE first_at_s IS NOT NULL "
    "ORDER BY first_at_s LIMIT 2"
)
_COSTS = (
    f"SELECT at_s, LENGTH(payload) + {ENTRY_COST_BYTES} FROM entries "
    f"WHERE key BETWEEN ? AND ? ORDER BY key LIMIT {_PIECE}"
)
_UNTIDY = (
    "SELECT id, last, first, count, age_s FROM topics WHERE first_at_s IS NOT NULL "
    f"AND (first_at_s < ? - age_s OR last - first >= count) LIMIT {_TOPICS}"
)
_EMPTY = "FROM topics WHERE first_at_s IS NULL"
_RAISE_FLOOR = (
    f"UPDATE log SET floor = MAX(floor, (SELECT MAX(last) {_EMPTY})), "
    f"floor_generation = MAX(floor_generation, (SELECT MAX(generation) {_EMPTY}))"
)


class Exhausted(Exception):
    """The log can't give more numbers, and has to be begun anew."""


def create(execute: Execute, log_id: bytes) -> None:
    """Have an empty log."""
    for statement in SCHEMA.split(";"):
        execute(statement)
    execute("INSERT INTO log VALUES (?, 0, 0)", (log_id,))
    execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def append(
    execute: Execute, topic: str, draft: Draft, bounds: Bounds, after_gap: bool, at_s: float
) -> tuple[int, int]:
    """Append a message; its generation and number. Raises `Exhausted`."""
    count, age_s = bounds.count, bounds.age_s
    row = execute(_TOPIC, (topic,)).fetchone()
    if row is not None and (row[4], row[5]) != (count, age_s) and row[6] is not None:
        # What was out of the old bounds, but is there yet, shall not come back by wider ones.
        topic_id, _, last, first, old_count, old_age_s, _ = row
        _drop_outside(execute, topic_id, first, last, old_count, at_s - old_age_s)
        row = execute(_TOPIC, (topic,)).fetchone()
    if row is None:
        generation, last = execute(_FLOOR).fetchone()
        first, first_at_s = last + 1, None
        new = (topic, generation, last, first, count, age_s)
        topic_id = execute(_NEW_TOPIC, new).lastrowid or 0
    else:
        topic_id, generation, last, first, _, _, first_at_s = row
    generation += after_gap
    last += 1
    if last > _MOST_NUMBERS or topic_id > _MOST_TOPICS:
        raise Exhausted(f"numbers have run out (topic {topic_id}, message {last})")
    is_text, payload, excluded = draft
    execute(_NEW_ENTRY, (topic_id << _NUMBER_BITS | last, is_text, at_s, excluded, payload))
    cost = len(payload) + ENTRY_COST_BYTES
    execute(_APPENDED, (generation, last, cost, count, age_s, topic_id))
    if first_at_s is None:
        execute(_FIRST_APPENDED, (at_s, topic_id))
    # An eighth more than is asked for is kept, so that not every message has to drop one.
    if last - first >= count + min(count // 8, _PIECE):
        _drop(execute, topic_id, first, min(last - count + 1, first + _MOST_DROPPED))
    return generation, last


def last_of(execute: Execute, topic: str) -> tuple[int, int]:
    """The generation and the number of the last message."""
    row = execute(_TOPIC, (topic,)).fetchone()
    found: tuple[int, int] = execute(_FLOOR).fetchone() if row is None else row[1:3]
    return found


def look_up(execute: Execute, topic: str, now_s: float) -> tuple[int | None, tuple[int, int], int]:
    """A topic's id if there is one, what `last_of` says, and the first number in its bounds."""
    row = execute(_TOPIC, (topic,)).fetchone()
    if row is None:
        floor: tuple[int, int] = execute(_FLOOR).fetchone()
        return None, floor, floor[1] + 1
    topic_id, generation, last, first, count, age_s, first_at_s = row
    first = max(first, last - count + 1)
    oldest_s = now_s - age_s
    if first_at_s is not None and first_at_s < oldest_s:
        first = _first_since(execute, topic_id, first, last, oldest_s)
    return topic_id, (generation, last), first


def entries(execute: Execute, topic_id: int, first: int, last: int, most: int) -> list[Entry]:
    """Those from the first on, as many as a page may have."""
    return _entries_of(execute(_ENTRIES, (*_keys(topic_id, first, last), most)))


def newest_entries(
    execute: Execute, topic_id: int, first: int, last: int, most: int
) -> list[Entry]:
    """Those up to the last, as many as a page may have."""
    found = _entries_of(execute(_NEWEST_ENTRIES, (*_keys(topic_id, first, last), most)))
    found.reverse()
    return found


def _entries_of(rows: sqlite3.Cursor) -> list[Entry]:
    found: list[Entry] = []
    size = 0
    for key, is_text, payload, excluded, at_s in rows:
        size += len(payload)
        if size > MOST_READ_BYTES and found:
            break
        found.append(Entry(key & _MOST_NUMBERS, bool(is_text), payload, excluded, at_s))
    return found


def names(execute: Execute) -> list[str]:
    """Topics with messages."""
    return [name for (name,) in execute(_NAMES)]


def total(execute: Execute) -> tuple[int, int]:
    """How many messages there are, and how many bytes."""
    messages, size = execute(_TOTAL).fetchone()
    return int(messages), int(size)


# Dropping.


def drop_oldest(execute: Execute, size_bytes: int) -> bool:
    """Drop the oldest of all messages until no more is left. False if there is more to do."""
    too_much = total(execute)[1] - size_bytes
    for _ in range(_PIECES):
        if too_much <= 0:
            return True
        too_much -= _drop_piece(execute, too_much)
    return too_much <= 0


def _drop_piece(execute: Execute, too_much: int) -> int:
    """Drop the oldest messages of the topic that has the oldest; how many bytes those had."""
    oldest = execute(_OLDEST).fetchall()
    if not oldest:
        return too_much
    topic_id, first, last, _ = oldest[0]
    next_at_s = oldest[1][3] if len(oldest) > 1 else math.inf
    below = first
    dropped = 0
    for at_s, cost in execute(_COSTS, _keys(topic_id, first, last)).fetchall():
        if dropped and (at_s > next_at_s or dropped >= too_much):
            break
        dropped += cost
        below += 1
    _drop(execute, topic_id, first, below)
    return dropped


def has_untidy(execute: Execute, now_s: float) -> bool:
    """Whether there is something for `drop_untidy`."""
    return bool(execute(_UNTIDY, (now_s,)).fetchall())


def drop_untidy(execute: Execute, now_s: float) -> None:
    """Drop some of what is out of its topic's bounds."""
    for topic_id, last, first, count, age_s in execute(_UNTIDY, (now_s,)).fetchall():
        _drop_outside(execute, topic_id, first, last, count, now_s - age_s)


def empty_topics(execute: Execute) -> int:
    """How many topics there are without messages."""
    (count,) = execute(f"SELECT COUNT(*) {_EMPTY}").fetchone()
    return int(count)


def forget_empty_topics(execute: Execute) -> None:
    """Have all of them begin anew, behind the highest of their numbers."""
    execute(_RAISE_FLOOR)
    execute(f"DELETE {_EMPTY}")


def _drop_outside(
    execute: Execute, topic_id: int, first: int, last: int, count: int, oldest_s: float
) -> None:
    fresh = max(last - count + 1, _first_since(execute, topic_id, first, last, oldest_s))
    _drop(execute, topic_id, first, min(fresh, first + _MOST_DROPPED))


def _drop(execute: Execute, topic_id: int, first: int, below: int) -> None:
    """Drop the messages of a topic from the first to the one before `below`."""
    keys = _keys(topic_id, first, below - 1)
    (size,) = execute(_SIZE_BETWEEN, keys).fetchone()
    execute(_DROP_BETWEEN, keys)
    row = execute(_TIME_OF, (topic_id << _NUMBER_BITS | below,)).fetchone()
    execute(_DROPPED, (below, None if row is None else row[0], int(size), topic_id))


def _first_since(execute: Execute, topic_id: int, first: int, last: int, oldest_s: float) -> int:
    """The first number that is not older; one behind the last if there is none."""
    row = execute(_FIRST_SINCE, (*_keys(topic_id, first, last), oldest_s)).fetchone()
    return last + 1 if row is None else int(row[0]) & _MOST_NUMBERS


def _keys(topic_id: int, first: int, last: int) -> tuple[int, int]:
    # More than fits would be another topic's.
    first = min(first, _MOST_NUMBERS)
    return topic_id << _NUMBER_BITS | first, topic_id << _NUMBER_BITS | last
