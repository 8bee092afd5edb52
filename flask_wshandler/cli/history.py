"""`flask websockets history`: what is kept of the broadcasts of collections, from a shell."""

from __future__ import annotations

import base64
import sys
import time
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from ..bus import NoBus
from ..collections import declared
from ..collections.collection import checked_name
from ..collections.topics import Named, named_by, topic_of
from ..history.log import Entry, Log, LogUnavailable
from ..upgrade.app_state import state_of
from .tables import Column, Record, count, json_option, print_json, print_table, warn
from .workers import hush_the_log

_LAST = 20
_MOST_SHOWN_CHARS = 200
_MOST_SHOWN_BYTES = 24
"""Of a binary message."""


@click.command("history")
@click.argument("collection", required=False)
@click.option("--group", metavar="KEY", help="Of this one of the WebSocketGroups COLLECTION.")
@click.option(
    "--last",
    "last_count",
    type=click.IntRange(1, 1_000_000),
    default=_LAST,
    show_default=True,
    metavar="NUMBER",
    help="How many messages, from the end.",
)
@json_option
@with_appcontext
def history(collection: str | None, group: str | None, last_count: int, as_json: bool) -> None:
    """Show what was broadcast to COLLECTION last; without one, what has a history.

    It is read from the log, where no worker runs, too. On a terminal long messages are cut; with
    --json they are whole, and binary ones in base64.
    """
    if collection is None and group is not None:
        raise click.UsageError("--group needs COLLECTION, the name of the groups.")
    hush_the_log()
    named = None if collection is None else _named(collection, group)
    try:
        log = _log()
        if named is None:
            _show_topics(log, as_json)
        else:
            _show_messages(log, named, last_count, as_json)
    except LogUnavailable as error:
        warn(f"The history can't be read: {error}")
        sys.exit(1)


def _named(collection: str, group: str | None) -> Named:
    try:
        checked_name(collection, "a collection's name")
        if group is not None:
            checked_name(group, "a group's key")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="COLLECTION") from None
    return Named(collection, group)


def _log() -> Log:
    collections = state_of(current_app).collections
    if isinstance(collections.bus, NoBus):
        reason = collections.bus.reason
        raise LogUnavailable(f"{reason}, so each process has its own, in its memory")
    return collections.logged.log


# All that have one.


def _show_topics(log: Log, as_json: bool) -> None:
    found = _topics(log)
    if as_json:
        print_json(found)
    elif found:
        print_table(_TOPIC_COLUMNS, found)
    else:
        warn("No collection of this app has a history.", *_whereabouts(log))


_TOPIC_COLUMNS = (
    Column("collection", "Collection"),
    Column("group", "Group"),
    count("messages", "Messages"),
    count("oldest", "Oldest"),
    count("newest", "Newest"),
    Column("oldest_at", "Since", lambda at_s: "-" if at_s is None else _shown_time(at_s)),
)


def _topics(log: Log) -> list[Record]:
    """Those that there is something of, and collections that the app says have a history."""
    kept = [named_by(topic) for topic in log.topics()] if log.exists() else []
    said = [named for named, _ in declared.histories() if named.key is None]
    every = sorted({*kept, *said}, key=lambda named: (named.name, named.key or ""))
    return [_topic(log, named, is_kept=named in kept) for named in every]


def _topic(log: Log, named: Named, *, is_kept: bool) -> Record:
    page = log.read(topic_of(named), 0, 1) if is_kept else None
    oldest = page.entries[0] if page is not None and page.entries else None
    newest = None if page is None or oldest is None else page.last.number
    return {
        "collection": named.name,
        "group": named.key,
        "messages": 0 if oldest is None or newest is None else newest - oldest.number + 1,
        "oldest": None if oldest is None else oldest.number,
        "newest": newest,
        "oldest_at": None if oldest is None else oldest.at_s,
    }


# The messages of one.


def _show_messages(log: Log, named: Named, last_count: int, as_json: bool) -> None:
    entries = _last(log, topic_of(named), last_count) if log.exists() else []
    if not entries and declared.history_of(named) is None:
        warn(f"No history of {named} is known.", *_what_is_meant(log, named), *_whereabouts(log))
        sys.exit(1)
    if as_json:
        print_json([_as_record(entry) for entry in entries])
    elif entries:
        print_table(_MESSAGE_COLUMNS, [_as_shown(entry) for entry in entries])
    else:
        warn(f"Nothing is kept of {named}.")


def _last(log: Log, topic: str, last_count: int) -> list[Entry]:
    page = log.newest(topic, last_count)
    entries = page.entries
    if len(entries) == last_count or not entries or entries[0].number <= page.first_number:
        return entries
    # A page has some MB at most: those before are read from their beginning.
    after = max(page.first_number, page.last.number - last_count + 1) - 1
    end = entries[0].number
    before: list[Entry] = []
    while after < end - 1:
        found = [each for each in log.read(topic, after).entries if each.number < end]
        if not found:
            break
        before += found
        after = found[-1].number
    return [*before, *entries][-last_count:]


def _what_is_meant(log: Log, named: Named) -> list[str]:
    """What the app remembers instead."""
    known = [each for each, _ in declared.histories()]
    if log.exists():
        known += [named_by(topic) for topic in log.topics()]
    if named.key is None and any(
        each.name == named.name and each.key is not None for each in known
    ):
        return [f"{named.name!r} are groups: say which by --group."]
    names = sorted({each.name for each in known})
    return [f"There is one of: {', '.join(names)}."] if names else []


def _whereabouts(log: Log) -> list[str]:
    """Where it was looked, if there is nothing at all."""
    return [] if log.exists() else state_of(current_app).collections.bus.whereabouts()


_MESSAGE_COLUMNS = (
    count("number", "Number"),
    Column("time", "Time", is_whole=True),
    Column("message", "Message"),
)


def _as_record(entry: Entry) -> dict[str, Any]:
    text = entry.payload.decode() if entry.is_text else base64.b64encode(entry.payload).decode()
    return {
        "number": entry.number,
        "sent_at": entry.at_s,
        "type": "text" if entry.is_text else "binary",
        "message": text,
    }


def _as_shown(entry: Entry) -> Record:
    shown = _shown_text(entry.payload.decode()) if entry.is_text else _shown_bytes(entry.payload)
    return {"number": entry.number, "time": _shown_time(entry.at_s), "message": shown}


def _shown_text(text: str) -> str:
    if len(text) <= _MOST_SHOWN_CHARS:
        return text
    return f"{text[:_MOST_SHOWN_CHARS]}… ({len(text):,} characters)"


def _shown_bytes(payload: bytes) -> str:
    begin = payload[:_MOST_SHOWN_BYTES].hex(" ")
    rest = "…" if len(payload) > _MOST_SHOWN_BYTES else ""
    return f"binary, {len(payload):,} bytes: {begin}{rest}"


def _shown_time(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
