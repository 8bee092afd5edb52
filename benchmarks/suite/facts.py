"""What a run was made with: without it, its figures mean nothing."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .environment import ROOT, Environment
from .peers import Peer


def facts_of(
    environment: Environment, peers: Iterable[Peer], rounds: int, seconds: float
) -> dict[str, str]:
    """For the head of the report."""
    versions = environment.versions()
    wanted = sorted({name for peer in peers for name in peer.packages})
    return {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "machine": _machine(),
        "rounds": f"{rounds}, of {seconds:g} s each",
        "Python": versions["python"],
        "versions": ", ".join(f"{name} {versions[name]}" for name in wanted if name in versions),
    }


class OtherPrograms:
    """How much of the machine others took meanwhile: the less, the more a run is worth."""

    def __init__(self) -> None:
        self._began = _times_s()

    def share(self) -> float:
        """Of the processors' time since the beginning; the children's is that of all who ended."""
        before, now = self._began, _times_s()
        whole, busy, ours = (end - begin for begin, end in zip(before, now, strict=True))
        return max(busy - ours, 0.0) / whole


def _times_s() -> tuple[float, float, float]:
    """Of all processors; of these, not idle; of these, this program's and its children's."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    # user, nice, system, idle, iowait, irq, softirq, steal; the guests' are among the user's.
    ticks = [int(figure) for figure in line.split()[1:9]]
    hertz = os.sysconf("SC_CLK_TCK")
    ours = os.times()
    return (
        sum(ticks) / hertz,
        (sum(ticks) - ticks[3] - ticks[4]) / hertz,
        ours.user + ours.system + ours.children_user + ours.children_system,
    )


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "not known"


def _machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load_1, _, _ = os.getloadavg()
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Linux {platform.release()}, load average {load_1:.1f}"
