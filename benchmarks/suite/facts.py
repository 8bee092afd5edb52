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
