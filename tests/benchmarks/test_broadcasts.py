"""The benchmarks of broadcasts measure; in their smallest size, and with what is installed."""

import subprocess
import sys

import pytest

from benchmarks.suite.environment import ROOT

SOCKETIO = "Socket.IO, redis (streams adapter)"


def rows(program, *options):
    """What a benchmark has printed: the figures of each line by the system's name."""
    asked = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / program, "--no-install", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    lines = [line for line in asked.stdout.splitlines()[1:] if "not installed" not in line]
    return [(line[:36].strip(), line[36:].replace(",", "").split()) for line in lines]


@pytest.mark.alone
class TestRates:
    def measure(self, name):
        sizes = ("--count=40", "--rounds=1", "--latencies=2", "--by=1")
        return rows("bus/run", f"--only={name}", *sizes)

    @pytest.mark.parametrize("bus", ["local", "redis"])
    def test_of_this_package(self, bus):
        """With and without a history: nothing is lost, and every column has a figure."""
        found = self.measure(f"flask-wshandler, {bus}")
        assert len(found) == 2
        for _, (by, calls, *_, lost, _, slowest_ms) in found:
            assert by == "1"
            assert float(calls) > 0
            assert float(slowest_ms) > 0
            assert lost == "0"

    def test_of_socketio(self):
        """If Node's packages are there, which benchmarks/bus/run installs."""
        for _, (_, _, *_, lost, _, _) in self.measure(SOCKETIO):
            assert lost == "0"


class TestKills:
    def measure(self, name):
        return rows("history/kills", f"--only={name}", "--seconds=2", "--rounds=1")

    def test_with_a_history_nothing_is_lost(self):
        """Or twice, or in another order at some client.

        Takes two seconds of broadcasts, and the time to find a silent connection.
        """
        [(_, (cuts, sent, *faults))] = self.measure("local, history")
        assert int(cuts) > 0
        assert int(sent) > 0
        assert faults == ["0", "0", "0"]
