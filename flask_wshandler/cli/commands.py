"""The commands of `flask websockets`: their options, what they print, their exit status.

0: all is well. 1: not found, not complete, or something is wrong. 2: used wrongly (click's).
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from ..bus.rpc import DEFAULT_TIMEOUT_S
from ..protocol.errors import CloseCode, check_close
from ..upgrade.app_state import state_of
from .contracts.command import asyncapi, types
from .doctor.command import doctor
from .history import history
from .routes import Route, routes_of
from .send import send
from .tables import (
    Column,
    Record,
    count,
    duration,
    json_option,
    print_json,
    print_table,
    printable,
    warn,
)
from .workers import Heard, Workers, hush_the_log

_timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 60),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the workers' answers.",
)


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]


def _workers(timeout_s: float) -> Workers:
    hush_the_log()
    state = state_of(_app())
    return Workers(state.collections.node, timeout_s)


# routes


@click.command("routes")
@json_option
@with_appcontext
def routes(as_json: bool) -> None:
    """List the URLs that speak WebSocket.

    A view that accepts WebSockets by its own code is marked "may": it decides for each request.
    """
    found = routes_of(_app())
    if as_json:
        print_json([dataclasses.asdict(each) for each in found])
    elif found:
        print_table(_ROUTE_COLUMNS, [_shown_route(each) for each in found])
    else:
        warn("No route of this app speaks WebSocket.")


_ROUTE_COLUMNS = (
    Column("url", "URL"),
    Column("endpoint", "Endpoint"),
    Column("handler", "Handler"),
    Column("guards", "Guards"),
)


def _shown_route(route: Route) -> Record:
    handler = route.handler or "?"
    return {
        "url": route.url,
        "endpoint": route.endpoint,
        "handler": handler if route.is_certain else f"may: {handler}",
        "guards": "; ".join(_guards(route)),
    }


def _guards(route: Route) -> list[str]:
    origins = route.allowed_origins
    if isinstance(origins, list):
        origins = ", ".join(origins)
    guards = ["origins: " + (origins or "as the view says")]
    guards += route.decorators
    guards += [f"before: {name}" for name in route.before_request]
    if route.max_message_size is not None:
        guards.append(f"max {route.max_message_size:,} bytes")
    if route.message_rate is not None:
        guards.append(f"{route.message_rate[0]:g} messages/s")
    if route.recheck_session_s is not None:
        guards.append(f"session checked every {route.recheck_session_s:g} s")
    return guards


# list


@click.command("list")
@json_option
@_timeout_option
@with_appcontext
def list_connections(as_json: bool, timeout_s: float) -> None:
    """List the open connections of all workers."""
    workers = _workers(timeout_s)
    heard = workers.connections()
    if as_json:
        print_json(heard.records)
    elif heard.records:
        print_table(_CONNECTION_COLUMNS, heard.records)
    _finish(workers, heard)


_PROCESS = Column("process", "Process", is_whole=True)
_CONNECTION_COLUMNS = (
    Column("id", "ID", is_whole=True),
    Column("handler", "Handler"),
    Column("user", "User"),
    Column("address", "Address"),
    Column("path", "Path"),
    Column("age_s", "Age", duration, True),
    Column("is_away", "State", lambda is_away: "away" if is_away else "open"),
    Column("transport", "Transport"),
    count("received", "Received"),
    count("sent", "Sent"),
    count("queued_bytes", "Queued bytes"),
    _PROCESS,
)


def _finish(workers: Workers, heard: Heard) -> None:
    """Say how far what was printed can be trusted; the exit status says it, too."""
    missing = workers.what_is_missing(heard.silent_count)
    if missing:
        warn(missing)
        sys.exit(1)
    if heard.records:
        return
    if heard.process_count:
        warn(f"No connections. Processes that have answered: {heard.process_count}.")
    else:
        warn("No connections, and no other process was found.", *workers.why_nobody())
        sys.exit(1)


# stats


@click.command("stats")
@json_option
@_timeout_option
@with_appcontext
def stats(as_json: bool, timeout_s: float) -> None:
    """Show the figures of each worker, and of all together."""
    workers = _workers(timeout_s)
    heard = workers.stats()
    if as_json:
        print_json(heard.records)
    elif heard.records:
        print_table(_STATS_COLUMNS, [*heard.records, _total(heard.records, _COUNTS)])
        _print_history(heard.records)
    _finish(workers, heard)


_COUNTS = (
    count("connections", "Connections"),
    count("away", "Away"),
    count("accepted", "Accepted"),
    count("messages_received", "Received"),
    count("messages_sent", "Sent"),
    count("messages_dropped", "Dropped"),
    count("queued_bytes", "Queued bytes"),
    count("threads", "Threads"),
)
_STATS_COLUMNS = (_PROCESS, *_COUNTS)
_OF_HISTORY = (
    count("logged", "Logged"),
    count("unlogged", "Unlogged"),
    count("unnumbered", "Unnumbered"),
    count("slow", "Slow"),
    count("repairs", "Repairs"),
    count("gaps", "Gaps"),
    count("replayed", "Replayed"),
)
_OF_THE_LOG = (count("log_messages", "In the log"), count("log_bytes", "Bytes"))


def _total(records: list[dict[str, Any]], columns: tuple[Column, ...]) -> dict[str, Any]:
    sums = {each.field: sum(record.get(each.field) or 0 for record in records) for each in columns}
    return {"process": "all", **sums}


def _print_history(records: list[dict[str, Any]]) -> None:
    """Another table, where collections have a history."""
    told = [{"process": record["process"], **record["history"]} for record in records]
    if not any(record.get(each.field) for record in told for each in (*_OF_HISTORY, *_OF_THE_LOG)):
        return
    total = _total(told, _OF_HISTORY)
    for each in _OF_THE_LOG:  # of which all have one
        total[each.field] = max(record.get(each.field) or 0 for record in told)
    click.echo()
    print_table((_PROCESS, *_OF_HISTORY, *_OF_THE_LOG), [*told, total])
    for record in records:
        facts = record["facts"]
        if facts is not None and facts["history_trouble"]:
            warn(f"{record['process']} can't use the log: {facts['history_trouble']}")


# close


@click.command("close")
@click.argument("connection_id", metavar="ID")
@click.option(
    "--code",
    type=int,
    default=int(CloseCode.NORMAL_CLOSURE),
    show_default=True,
    help="The close code: 1000 to 1014 without the reserved ones, or 3000 to 4999.",
)
@click.option("--reason", default="", help="At most 123 bytes of UTF-8.")
@_timeout_option
@with_appcontext
def close_connection(connection_id: str, code: int, reason: str, timeout_s: float) -> None:
    """Close the connection ID, in whatever worker it is; `list` shows the ids."""
    try:
        check_close(code, reason)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    workers = _workers(timeout_s)
    process, silent_count = workers.close(connection_id, code, reason)
    if process is not None:
        click.echo(f"Closed in {printable(process)}.")
        return
    missing = workers.what_is_missing(silent_count)
    if missing:
        warn(missing)
    warn(f"Nobody has the connection {connection_id!r}.")
    if not missing and not workers.are_found:
        warn("No other process was found.", *workers.why_nobody())
    sys.exit(1)


COMMANDS: dict[str, click.Command] = {
    each.name or "": each
    for each in (
        routes,
        list_connections,
        stats,
        send,
        history,
        close_connection,
        types,
        asyncapi,
        doctor,
    )
}
