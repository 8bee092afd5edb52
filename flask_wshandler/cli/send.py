"""`flask websockets send`: a message to all members of a collection, from a shell."""

from __future__ import annotations

import json
import sys

import click
from flask import current_app
from flask.cli import with_appcontext

from ..bus.envelope import MAX_ENVELOPE_BYTES
from ..bus.rpc import DEFAULT_TIMEOUT_S
from ..collections import declared
from ..collections.collection import WebSocketCollection
from ..collections.groups import WebSocketGroups
from ..collections.topics import Named, topic_of
from ..upgrade.app_state import state_of
from .tables import warn
from .workers import Workers, hush_the_log


@click.command("send")
@click.argument("collection")
@click.argument("message")
@click.option("--group", metavar="KEY", help="Send to this one of the WebSocketGroups COLLECTION.")
@click.option("--json", "is_json", is_flag=True, help="MESSAGE is JSON: check it first.")
@click.option("--binary", "is_binary", is_flag=True, help="Send a binary message.")
@with_appcontext
def send(collection: str, message: str, group: str | None, is_json: bool, is_binary: bool) -> None:
    """Send MESSAGE to all members of COLLECTION, in all workers.

    With "-" as MESSAGE it is read from standard input.
    """
    if is_json and is_binary:
        raise click.UsageError("--json and --binary exclude each other: JSON is text.")
    content = _content(message, is_json=is_json, is_binary=is_binary)
    target = _collection(collection, group)
    _declare_history(Named(collection, group))
    workers = _workers()
    workers.reach()
    members = target.presence()
    try:
        target.broadcast(content)
    except ValueError as error:
        raise _bad_message(str(error)) from None
    missing = workers.what_is_missing()
    if missing:
        warn(missing)
    if not members:
        warn(f"Nobody is in {target.name!r}.")
        if not missing:
            workers.look_for_others()
            if not workers.are_found:
                warn("No other process was found.", *workers.why_nobody())
        sys.exit(1)
    processes = len({member.process for member in members})
    click.echo(f"Sent to {_many(len(members), 'member')} in {_many(processes, 'process', 'es')}.")
    if missing:
        sys.exit(1)


def _workers() -> Workers:
    hush_the_log()
    state = state_of(current_app)
    return Workers(state.collections.node, DEFAULT_TIMEOUT_S)


def _content(message: str, *, is_json: bool, is_binary: bool) -> str | bytes:
    data = message.encode("utf-8", "surrogateescape")  # arguments are bytes
    if message == "-":
        data = _from_standard_input()
    if is_binary:
        return data
    try:
        text = data.decode()
        if is_json:
            json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        what = "is no JSON" if is_json else "is no text; see --binary"
        raise _bad_message(f"it {what}: {error}") from None
    return text


def _from_standard_input() -> bytes:
    if sys.stdin is None:  # Python's for one that is closed
        raise _bad_message('"-" reads standard input, which is closed')
    data = sys.stdin.buffer.read(MAX_ENVELOPE_BYTES + 1)
    if len(data) > MAX_ENVELOPE_BYTES:
        raise _bad_message(
            f"it has more than {MAX_ENVELOPE_BYTES} bytes, and other processes take no more"
        )
    return data


def _refuse(constant: str) -> None:
    """NaN and the infinities: Python reads them, and JSON (RFC 8259 section 6) has none."""
    raise ValueError(f"{constant} is no value of it")


def _bad_message(what: str) -> click.BadParameter:
    return click.BadParameter(what, param_hint="MESSAGE")


def _collection(name: str, group: str | None) -> WebSocketCollection:
    try:
        return WebSocketCollection(name) if group is None else WebSocketGroups(name)[group]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="COLLECTION") from None


def _declare_history(named: Named) -> None:
    """Have the message numbered if the app remembers what is broadcast there.

    What the app's own object says of it is not known before its first use, which may never be here.
    """
    logged = state_of(current_app).collections.logged
    topic = topic_of(named)
    history = declared.history_of(named)
    if history is not None and logged.history_of(topic) is None:
        logged.declare(topic, history)


def _many(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{'' if number == 1 else plural}"
