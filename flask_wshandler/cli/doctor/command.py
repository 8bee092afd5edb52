"""`flask websockets doctor`: looks at the app and at the running server, and says what is wrong.

First everything is looked at, then each check judges what was seen, one function for one finding.
"""

from __future__ import annotations

import dataclasses
import sys

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from ...monitoring.process_report import ProcessFacts
from ..tables import json_option, print_json, print_paragraph
from ..workers import hush_the_log
from . import app_checks, history_checks, proxy_checks, server_checks, stream_checks
from .evidence import Facts
from .findings import Finding, Severity
from .inspection import examine
from .site_url import Address

OF_VISITS = (*server_checks.CHECKS, *stream_checks.CHECKS, *proxy_checks.CHECKS)
CHECKS = (*OF_VISITS, *app_checks.CHECKS, *history_checks.CHECKS)


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
@click.option(
    "--idle",
    "idle_s",
    type=click.FloatRange(0, 3600),
    default=0.0,
    metavar="SECONDS",
    help="With --url: keep a WebSocket and a stream silent so long; does something cut them off?",
)
@json_option
@with_appcontext
def doctor(url: str | None, insecure: bool, timeout_s: float, idle_s: float, as_json: bool) -> None:
    """Say what is wrong with this app's WebSockets, and what to do.

    With --url the running server is looked at, too, through whatever proxies stand before it: by
    requests that are answered before the app's own code. The exit status is 1 if there are
    errors or warnings.
    """
    hush_the_log()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if idle_s and url is None:
        raise click.UsageError("--idle needs --url")
    facts = examine(app, _address(url), timeout_s, idle_s=idle_s, checks_certificate=not insecure)
    findings = _findings(facts)
    if as_json:
        print_json({"looked_at": _looked_at(facts), "findings": [*map(_as_json, findings)]})
    else:
        _print(findings, facts)
    if any(found.severity is not Severity.NOTE for found in findings):
        sys.exit(1)


def _address(url: str | None) -> Address | None:
    try:
        return None if url is None else Address.of(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None


def _findings(facts: Facts) -> list[Finding]:
    """Everything once; what is wrong at some paths only, with the first of them."""
    findings = [found for check in CHECKS if (found := check(facts)) is not None]
    known = {found.id for found in findings}
    for visit in facts.other_visits:
        here = dataclasses.replace(facts, visit=visit)
        for check in OF_VISITS:
            found = check(here)
            if found is not None and found.id not in known:
                known.add(found.id)
                what = f"Of {visit.address.path}: {found.what}"
                findings.append(dataclasses.replace(found, what=what))
    return findings


def _looked_at(facts: Facts) -> list[str]:
    looked_at = [f"the app {facts.app.name!r}"]
    visit = facts.visit
    if visit is not None:
        page = visit.page
        told = "" if page is None else page["server"] + _workers_of(page["process"])
        server = f" ({told})" if told else ""
        paths = "".join(f", {other.address.path}" for other in facts.other_visits)
        if facts.unvisited_count:
            paths += f" and not {facts.unvisited_count} more paths"
        looked_at.append(f"{visit.address}{paths}{server}")
    return looked_at


def _workers_of(process: ProcessFacts) -> str:
    if not process["worker_class"]:
        return ""
    return f", {process['worker_class']}, workers: {process['worker_count']}"


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
        print_paragraph(found.what)
        print_paragraph(f"Do: {found.remedy}")
        print_paragraph(f'More: "{found.id}" in the documentation, page "Command line".')
        click.echo()
    looked_at = " and ".join(_looked_at(facts))
    if facts.visit is None:
        looked_at += "; --url looks at the running server, too"
    number = sum(1 for found in findings if found.severity is not Severity.NOTE)
    result = f"{number} found." if number else "Nothing is wrong."
    print_paragraph(f"{result} Looked at {looked_at}.", indent="")
