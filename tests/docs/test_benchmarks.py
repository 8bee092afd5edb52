"""The benchmarks run, with whatever is installed of what they compare with."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_bus_is_measured():
    """A line for each system: figures, or what is not installed."""
    run = ROOT / "benchmarks" / "bus" / "run"
    printed = subprocess.run(
        [sys.executable, run, "--count", "200", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.splitlines()
    assert [line.partition("  ")[0] for line in printed[1:]] == [
        "flask-wshandler, local",
        "flask-wshandler, redis",
        "Flask-SocketIO, redis",
        "Channels, redis (pub/sub layer)",
    ]
    for line in printed[1:3]:
        assert all(float(figure.replace(",", "")) > 0 for figure in line[34:].split())
