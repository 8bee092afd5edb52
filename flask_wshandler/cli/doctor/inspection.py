"""What the doctor looks at: the server, then the bus and who is on it, then this machine."""

from __future__ import annotations

import functools
import re
import sys
import time

from flask import Flask

from ...bus import Bus, NoBus
from ...bus.node import BusNode
from ...monitoring import operator_proof
from ...monitoring.process_report import ProcessFacts
from ...monitoring.request_report import setup_of
from ...transports.capacity import most_descriptors
from ...upgrade.app_state import state_of
from ..routes import routes_of
from ..workers import Workers
from .evidence import Facts, memory_bytes
from .history_look import look_at_history
from .server_config import configured_workers
from .site_probe import Visit, Visitor
from .site_url import Address
from .stream_visit import Outcome

_MOST_VISITS = 10
_LOOK_AGAIN_S = 0.1
_VARIABLE = re.compile(r"<[^>]*>")


def examine(
    app: Flask,
    address: Address | None,
    timeout_s: float,
    *,
    idle_s: float = 0,
    checks_certificate: bool = True,
) -> Facts:
    """See all there is to see; `timeout_s` bounds each step.

    One WebSocket and one stream over HTTP are idle for `idle_s` each.
    """
    state = state_of(app)
    addresses, left_out = ([], 0) if address is None else _addresses(app, address)
    visits = _visit_all(app, addresses, timeout_s, idle_s, checks_certificate)
    visit = visits[0] if visits else None
    processes, silent_count, is_on_bus = _ask_all(
        state.collections.node, _expected_on_bus(visit), timeout_s
    )
    hosts_on_bus = frozenset(each["host"] for each in processes)
    reports = [report for each in visits for report in (each.page, each.upgrade)]
    processes += [report["process"] for report in reports if report is not None]
    limit = most_descriptors()
    bus_trouble = _bus_trouble(state.collections.bus, timeout_s)
    return Facts(
        app=app,
        shell_setup=setup_of(app),
        any_origin_urls=[
            route.url
            for route in routes_of(app)
            if not route.is_certain and route.allowed_origins == "*"
        ],
        bus_trouble=bus_trouble,
        processes=processes,
        silent_count=silent_count,
        hosts_on_bus=hosts_on_bus,
        is_visited_on_bus=is_on_bus,
        visit=visit,
        other_visits=visits[1:],
        unvisited_count=left_out,
        history=look_at_history(
            state.collections.bus,
            state.collections.logged,
            "" if bus_trouble else state.settings.bus,
            state.settings.history_size,
            is_known=any(each["has_history"] for each in processes),
        ),
        configured_workers=configured_workers(),
        memory_bytes=memory_bytes(),
        shell_descriptor_limit=None if limit == sys.maxsize else limit,
    )


def _visit_all(
    app: Flask,
    addresses: list[Address],
    timeout_s: float,
    idle_s: float,
    checks_certificate: bool,
) -> list[Visit]:
    """Go to one after the other; not further if nobody is there. The first connections are idle."""
    visits: list[Visit] = []
    for address in addresses:
        visitor = functools.partial(
            Visitor,
            address,
            timeout_s=timeout_s,
            idle_s=0 if visits else idle_s,
            checks_certificate=checks_certificate,
        )
        with operator_proof.proof(app) as proof:
            visit = visitor(proof=proof).visit()
        # Another one: a proof holds for a minute, and a connection may have been idle for longer.
        with operator_proof.proof(app) as proof:
            visits.append(visitor(proof=proof).visit_stream(visit))
        if visits[-1].is_nobody_there:
            break
    return visits


def _expected_on_bus(visit: Visit | None) -> ProcessFacts | None:
    """The visited worker, if it is one that can be asked by others."""
    if visit is None or visit.upgrade is None or not visit.has_exchanged:
        return None
    if visit.stream is not None and visit.stream.outcome is Outcome.REFUSED:
        return None  # workers end just now, perhaps that one
    report = visit.upgrade
    # Else there is no bus that it could be on, which is another finding.
    is_on_a_bus = report["setup"]["bus"] != "none" and not report["bus_trouble"]
    return report["process"] if is_on_a_bus else None


def _addresses(app: Flask, address: Address) -> tuple[list[Address], int]:
    """Where to go, and how many more addresses there are: a proxy may treat paths differently.

    That of one path is the only one. A site's, as browsers have it, is that of all its WebSockets.
    """
    routes = sorted(routes_of(app), key=lambda route: not route.is_certain)
    paths = list(dict.fromkeys(_VARIABLE.sub("1", route.url) for route in routes))
    if address.path != "/" or not paths:
        return [address], 0
    return [address.at(path) for path in paths[:_MOST_VISITS]], len(paths[_MOST_VISITS:])


def _ask_all(
    node: BusNode, visited: ProcessFacts | None, timeout_s: float
) -> tuple[list[ProcessFacts], int, bool | None]:
    """What processes on the bus say, how many say nothing, and whether the visited one is there.

    A worker is on the bus from its first WebSocket on, but not at the same moment: who is not
    found is looked for again; once more at the least, for the first question may have come too
    early and have been waited for all the time.
    """
    workers = Workers(node, timeout_s)
    until_s = time.monotonic() + timeout_s
    has_asked = False
    while True:
        processes, silent_count = workers.process_facts()
        if visited is None or isinstance(node.bus, NoBus) or not node.bus.is_up:
            return processes, silent_count, None
        if any(_is_same(each, visited) for each in processes):
            return processes, silent_count, True
        if has_asked and time.monotonic() > until_s:
            return processes, silent_count, False
        has_asked = True
        time.sleep(_LOOK_AGAIN_S)


def _is_same(one: ProcessFacts, other: ProcessFacts) -> bool:
    return (one["host"], one["pid"]) == (other["host"], other["pid"])


def _bus_trouble(bus: Bus, timeout_s: float) -> str:
    if bus.peer_count() is not None:  # it has looked, and made nothing
        return bus.trouble
    if bus.trouble or bus.wait_until_subscribed(timeout_s):
        return bus.trouble
    return bus.trouble or f"no answer in {timeout_s:g} seconds"
