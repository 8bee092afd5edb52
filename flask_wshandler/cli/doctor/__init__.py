"""`flask websockets doctor`: looks at the app and at the running server, and says what is wrong.

First everything is looked at, then each check judges what was seen, one function for one finding.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from ... import operator_key
from ...accept import EXTENSION_KEY, AppState
from ...bus import NoBus
from ...hub import Hub
from ...transports.engine import most_descriptors
from ..routes import routes_of
from ..tables import json_option, print_json, printable
from ..workers import Workers
from . import app_checks, server_checks
from .facts import Facts, memory_bytes
from .findings import Finding, Severity
from .server_config import configured_workers
from .visit import Address, Visit, Visitor

CHECKS = (*server_checks.CHECKS, *app_checks.CHECKS)

_LOOK_AGAIN_S = 0.1
_VARIABLE = re.compile(r"<[^>]*>")


@click.command("doctor")
@click.option("--url", metavar="URL", help="The address of the running site, as in a browser.")
@click.option("--insecure", is_flag=True, help="Accept any certificate.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 60),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="For each answer of the server and of the workers.",
)
@json_option
@with_appcontext
def doctor(url: str | None, insecure: bool, timeout_s: float, as_json: bool) -> None:
    """Say what is wrong with this app's WebSockets, and what to do.

    With --url the running server is looked at, too, through whatever proxies stand before it: by
    two requests that are answered before the app's own code. The exit status is 1 if there are
    errors or warnings.
    """
    # What the bus logs of its troubles is a finding.
    logging.getLogger("flask_wshandler").addHandler(logging.NullHandler())
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    facts = look_at(app, url, timeout_s, checks_certificate=not insecure)
    findings = [found for check in CHECKS if (found := check(facts)) is not None]
    if as_json:
        print_json({"looked_at": _looked_at(facts), "findings": [*map(_as_json, findings)]})
    else:
        _print(findings, facts)
    if any(found.severity is not Severity.NOTE for found in findings):
        sys.exit(1)


def look_at(
    app: Flask, url: str | None, timeout_s: float, *, checks_certificate: bool = True
) -> Facts:
    """See all there is to see; `timeout_s` bounds each step."""
    state: AppState = app.extensions[EXTENSION_KEY]
    visit = None
    if url is not None:
        visit = _visit(app, url, timeout_s, checks_certificate)
    visited = None
    if visit is not None and visit.upgrade is not None and visit.has_exchanged:
        visited = visit.upgrade["process"]
    processes, is_on_bus = _ask_all(state.hub, visited, timeout_s)
    if visit is not None and visit.page is not None:
        processes = [*processes, visit.page["process"]]
    limit = most_descriptors()
    return Facts(
        app=app,
        settings=state.settings,
        bus_trouble=_bus_trouble(state.hub, timeout_s),
        processes=processes,
        is_visited_on_bus=is_on_bus,
        visit=visit,
        configured_workers=configured_workers(),
        memory_bytes=memory_bytes(),
        shell_descriptor_limit=None if limit == sys.maxsize else limit,
    )


def _visit(app: Flask, url: str, timeout_s: float, checks_certificate: bool) -> Visit:
    try:
        address = Address.of(url, _path_to_ask(app))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    with operator_key.proof(app) as proof:
        visitor = Visitor(address, proof, timeout_s, checks_certificate=checks_certificate)
        return visitor.visit()


def _path_to_ask(app: Flask) -> str:
    """Of the app's first WebSocket: a proxy may let upgrades through for some paths only."""
    routes = sorted(routes_of(app), key=lambda route: not route.is_certain)
    return _VARIABLE.sub("1", routes[0].url) if routes else "/"


def _ask_all(
    hub: Hub, visited: dict[str, Any] | None, timeout_s: float
) -> tuple[list[dict[str, Any]], bool | None]:
    """What the processes on the bus say of themselves, and whether the visited one is among them.

    A worker is on the bus from its first WebSocket on, but not at the same moment: who is not
    found is looked for again.
    """
    workers = Workers(hub, timeout_s)
    until_s = time.monotonic() + timeout_s
    while True:
        processes = workers.process_facts()
        if visited is None or isinstance(hub.bus, NoBus) or not hub.bus.is_up:
            return processes, None
        if any(_is_same(each, visited) for each in processes):
            return processes, True
        if time.monotonic() > until_s:
            return processes, False
        time.sleep(_LOOK_AGAIN_S)


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one.get("host"), one.get("pid")) == (other.get("host"), other.get("pid"))


def _bus_trouble(hub: Hub, timeout_s: float) -> str:
    if hub.bus.trouble or hub.bus.wait_until_subscribed(timeout_s):
        return hub.bus.trouble
    return hub.bus.trouble or f"no answer in {timeout_s:g} seconds"


def _looked_at(facts: Facts) -> list[str]:
    looked_at = [f"the app {facts.app.name!r}"]
    visit = facts.visit
    if visit is not None:
        page = visit.page
        server = "" if page is None else f" ({page['server']}{_workers_of(page['process'])})"
        looked_at.append(f"{visit.address}{server}")
    return looked_at


def _workers_of(process: dict[str, object]) -> str:
    if not process.get("worker_class"):
        return ""
    return f", {process['worker_class']}, workers: {process.get('worker_count')}"


def _as_json(found: Finding) -> dict[str, str]:
    return {
        "id": found.id,
        "severity": found.severity.value,
        "what": found.what,
        "remedy": found.remedy,
        "link": found.link,
    }


def _print(findings: list[Finding], facts: Facts) -> None:
    for found in findings:
        click.secho(f"{found.severity.value}: {found.id}", bold=True)
        click.echo(f"  {printable(found.what)}")
        click.echo(f"  Do: {printable(found.remedy)}")
        click.echo(f"  See {found.link}\n")
    looked_at = printable(" and ".join(_looked_at(facts)))
    if facts.visit is None:
        looked_at += "; --url looks at the running server, too"
    number = sum(1 for found in findings if found.severity is not Severity.NOTE)
    result = f"{number} found." if number else "Nothing is wrong."
    click.echo(f"{result} Looked at {looked_at}.")
