"""What the doctor looks at: the server, then the bus and who is on it, then this machine."""

from __future__ import annotations

import re
import sys
import time

from flask import Flask

from ... import operator_key
from ...answers import ProcessFacts
from ...bus import NoBus
from ...diagnosis import setup_of
from ...hub import Hub
from ...state import EXTENSION_KEY, AppState
from ...transports.engine import most_descriptors
from ..routes import routes_of
from ..workers import Workers
from .facts import Facts, memory_bytes
from .server_config import configured_workers
from .visit import Address, Visitor

_LOOK_AGAIN_S = 0.1
_VARIABLE = re.compile(r"<[^>]*>")


def examine(
    app: Flask, address: Address | None, timeout_s: float, *, checks_certificate: bool = True
) -> Facts:
    """See all there is to see; `timeout_s` bounds each step."""
    state: AppState = app.extensions[EXTENSION_KEY]
    visit = None
    if address is not None:
        with operator_key.proof(app) as proof:
            visitor = Visitor(address, proof, timeout_s, checks_certificate=checks_certificate)
            visit = visitor.visit()
    visited = None
    if visit is not None and visit.upgrade is not None and visit.has_exchanged:
        report = visit.upgrade
        # Else there is no bus that it could be on, which is another finding.
        if report["setup"]["bus"] != "none" and not report["bus_trouble"]:
            visited = report["process"]
    processes, is_on_bus = _ask_all(state.hub, visited, timeout_s)
    if visit is not None and visit.page is not None:
        processes = [*processes, visit.page["process"]]
    limit = most_descriptors()
    return Facts(
        app=app,
        shell_setup=setup_of(app),
        bus_trouble=_bus_trouble(state.hub, timeout_s),
        processes=processes,
        is_visited_on_bus=is_on_bus,
        visit=visit,
        configured_workers=configured_workers(),
        memory_bytes=memory_bytes(),
        shell_descriptor_limit=None if limit == sys.maxsize else limit,
    )


def path_to_ask(app: Flask) -> str:
    """Of the app's first WebSocket: a proxy may let upgrades through for some paths only."""
    routes = sorted(routes_of(app), key=lambda route: not route.is_certain)
    return _VARIABLE.sub("1", routes[0].url) if routes else "/"


def _ask_all(
    hub: Hub, visited: ProcessFacts | None, timeout_s: float
) -> tuple[list[ProcessFacts], bool | None]:
    """What the processes on the bus say of themselves, and whether the visited one is among them.

    A worker is on the bus from its first WebSocket on, but not at the same moment: who is not
    found is looked for again; once more at the least, for the first question may have come too
    early and have been waited for all the time.
    """
    workers = Workers(hub, timeout_s)
    until_s = time.monotonic() + timeout_s
    has_asked = False
    while True:
        processes = workers.process_facts()
        if visited is None or isinstance(hub.bus, NoBus) or not hub.bus.is_up:
            return processes, None
        if any(_is_same(each, visited) for each in processes):
            return processes, True
        if has_asked and time.monotonic() > until_s:
            return processes, False
        has_asked = True
        time.sleep(_LOOK_AGAIN_S)


def _is_same(one: ProcessFacts, other: ProcessFacts) -> bool:
    return (one["host"], one["pid"]) == (other["host"], other["pid"])


def _bus_trouble(hub: Hub, timeout_s: float) -> str:
    if hub.bus.trouble or hub.bus.wait_until_subscribed(timeout_s):
        return hub.bus.trouble
    return hub.bus.trouble or f"no answer in {timeout_s:g} seconds"
