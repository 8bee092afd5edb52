"""All that the doctor has seen, on which the checks are made. No check looks at anything else."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from flask import Flask

from ...monitoring.process_report import ProcessFacts
from ...monitoring.request_report import Setup
from .history_look import HistoryFacts
from .site_probe import Visit

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """The app, its bus, its processes, and the server that was visited."""

    app: Flask
    #: How the app is set up here, with this shell's environment.
    shell_setup: Setup
    #: URLs of views that admit pages of any site, whatever the setting.
    any_origin_urls: list[str]
    #: Why the bus does not work from here; empty if it does, or there is none.
    bus_trouble: str
    #: Of the workers that answer on the bus, and those that were visited; one may be there twice.
    processes: list[ProcessFacts]
    #: Processes on the bus that have not answered in time; Redis does not tell.
    silent_count: int
    #: Where the workers are that answer on the bus.
    hosts_on_bus: frozenset[str]
    #: Whether the visited worker is among those on the bus; None if that could not be seen.
    is_visited_on_bus: bool | None
    #: None if no address was given.
    visit: Visit | None
    #: To other paths of the same site, and how many there are that nobody has gone to.
    other_visits: list[Visit]
    unvisited_count: int
    #: The log of broadcasts; None if no collection has a history.
    history: HistoryFacts | None
    #: Workers that gunicorn would be started with from here; None where nothing says so.
    configured_workers: int | None
    #: Bytes that this machine, or this container, may use.
    memory_bytes: int
    #: Files that a server started from this shell may have open; None: any number.
    shell_descriptor_limit: int | None

    @property
    def setup(self) -> Setup:
        """What is judged: the server's, where it was seen."""
        page = None if self.visit is None else self.visit.page
        return self.shell_setup if page is None else page["setup"]

    @property
    def server_bus_trouble(self) -> str:
        """Why the server's bus does not work; empty if it does, or was not seen."""
        page = None if self.visit is None else self.visit.page
        return "" if page is None else page["bus_trouble"]

    @property
    def unconnected_hosts(self) -> list[str]:
        """Hosts behind one address, if their workers are on no bus with each other.

        Of those that had served a WebSocket before they were visited: the others are on no bus yet.
        """
        visits = [self.visit, *self.other_visits] if self.visit is not None else []
        reports = [report for visit in visits for report in (visit.page, visit.upgrade)]
        told = [report["process"] for report in reports if report is not None]
        hosts = {process["host"] for process in told if process["has_served"]}
        bus = self.setup["bus"]
        # From elsewhere nobody can tell whether hosts that are not seen see each other.
        is_cut_off = hosts & self.hosts_on_bus and hosts - self.hosts_on_bus
        are_apart = bus == "none" or (bus == "local" and is_cut_off)
        return sorted(hosts) if are_apart and len(hosts) > 1 else []

    @property
    def worker_count(self) -> int | None:
        """How many workers serve the app; None if nothing says so."""
        told = [facts["worker_count"] for facts in self.processes if facts["worker_count"]]
        count = max(told, default=self.configured_workers)
        # What gunicorn was started with, and told by SIGTTIN since.
        seen = len({(facts["host"], facts["pid"]) for facts in self.processes})
        return seen if seen > (count or 1) else count


def memory_bytes() -> int:
    """The memory of this machine, or what the container leaves of it.

    `sys.maxsize` where the system does not tell, as Windows does not.
    """
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return physical
