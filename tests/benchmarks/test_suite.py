"""The benchmarks measure: real servers, real load, and figures that can be."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.suite import measurements, report
from benchmarks.suite.charts import Line, line_chart
from benchmarks.suite.environment import ROOT, Environment
from benchmarks.suite.failure import MeasurementError
from benchmarks.suite.load import Load, payload_of
from benchmarks.suite.losses import End, losses
from benchmarks.suite.measurements import Bench
from benchmarks.suite.peers import LIMIT, OURS, OURS_RESUMABLE, PEERS, RETURNING, Dialect
from benchmarks.suite.results import Figure, Results, Summary
from benchmarks.suite.scenarios import MAIN, SCENARIOS
from benchmarks.suite.server import Demands, running

SECONDS = 0.2
NODE_MODULES = ROOT / ".venv-benchmarks" / "node" / "node_modules"
CORES = sorted(os.sched_getaffinity(0))


class TestEnvironment(Environment):
    """The programs that were compiled for the tests, and the packages that run them.

    Node's are those of the benchmarks, if they have been run in this checkout.
    """

    __test__ = False

    @property
    def variables(self):
        directories = [str(Path(sys.executable).parent), str(self.programs.directory)]
        path = os.pathsep.join([*directories, os.environ["PATH"]])
        return super().variables | {"PATH": path, "NODE_PATH": str(NODE_MODULES)}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("cc is missing: apt install gcc libc6-dev")
    found = TestEnvironment(tmp_path_factory.mktemp("benchmarks"))
    found.programs.compile()
    return found


@contextlib.contextmanager
def bench(environment, peer, **demands):
    with running(peer, Demands(**{"clients": 100, **demands}), environment, {CORES[0]}) as server:
        load = Load(environment.programs, server, peer, CORES[-1])
        yield Bench(peer, server, load, environment, SECONDS)


@pytest.fixture(scope="module", params=[OURS, OURS_RESUMABLE, LIMIT], ids=lambda peer: peer.key)
def measured(request, environment):
    with bench(environment, request.param) as found:
        yield found


@pytest.mark.alone
class TestMeasurements:
    def test_echo(self, measured):
        """Rates, processor time and percentiles fit together."""
        sample = measurements.echo(measured, clients=20, size=1024, window=4)
        assert sample["rate"] > 100
        assert sample["rate"] * sample["cpu_us"] / 1e6 == pytest.approx(sample["server_busy"])
        assert 0 < sample["p50_us"] <= sample["p99_us"] <= sample["p99.9_us"] <= sample["max_us"]
        assert 0 < sample["load_busy"] < 1.1

    def test_echo_in_turns(self, measured):
        """Of many clients, some have a message on its way."""
        sample = measurements.echo(measured, clients=100, in_flight=10)
        # Little's law: the rate times the time of each are those on their way.
        assert sample["rate"] * sample["p50_us"] / 1e6 < 20

    def test_half_load(self, measured):
        """Messages come at the rate that was asked for."""
        sample = measurements.half_load(measured, clients=10)
        assert 0 < sample["p50_us"] <= sample["p99.9_us"]

    def test_broadcast(self, measured):
        """Every client has every one of them, in milliseconds."""
        assert 0 < measurements.broadcast(measured, clients=50)["ms"] < 1000

    def test_lives(self, measured):
        """Clients connect, are answered, and close."""
        assert measurements.lives(measured, at_once=5)["rate"] > 5

    def test_idle(self, measured):
        """The growth is that of some clients, not that of the server."""
        sample = measurements.idle(measured, clients=90, settling_s=0.5)
        assert -20_000 < sample["bytes_per_client"] < 100_000
        assert sample["threads"] >= 1

    def test_pages(self, measured):
        """Requests, while clients chat."""
        assert measurements.pages(measured, sockets=20)["rate"] > 10


def is_installed(peer):
    """Node's packages are installed by benchmarks/run alone: with hundreds of others."""
    return peer.client[0] != "node" or (NODE_MODULES.exists() and shutil.which("node") is not None)


class TestLosses:
    @pytest.mark.parametrize("peer", [*filter(is_installed, RETURNING)], ids=lambda peer: peer.key)
    def test_are_counted(self, environment, peer):
        """On a connection that is cut; this package has none.

        Takes a second of messages, and one or two until no more come where some are lost.
        """
        quiet_s = 10 if peer.is_ours else 1
        with bench(environment, peer) as found:
            sample = losses(found, messages=250, rate=250, longest_life_s=1, quiet_s=quiet_s)
        assert sample["cuts"] > 0
        assert 0 <= sample["up_lost"] <= 250
        assert 0 <= sample["down_lost"] <= 250
        assert not peer.is_ours or sample["faults"] == 0

    def test_are_told_from_what_is_twice_and_what_is_late(self):
        """Of four messages: one never comes, one comes twice, and one after its successor."""
        found = End([0, 2, 1, 1], has_sent=True).faults(4, "up")
        assert found == {"up_lost": 1, "up_twice": 1, "up_late": 1}

    def test_a_client_that_ends_is_no_result(self, environment):
        """But a reason: the last line of its complaint."""
        peer = dataclasses.replace(RETURNING[0], client=("python", "-c", "raise OSError('none')"))
        with (
            bench(environment, peer) as found,
            pytest.raises(MeasurementError, match="OSError: none"),
        ):
            losses(found, messages=1)


@pytest.mark.alone
def test_callbacks_that_sleep(environment):
    """Ours has a thread for each, up to its limit, and other clients go on."""
    with bench(environment, OURS) as found:
        sample = measurements.slow_beside_quick(found, clients=8)
    # Each sleeps for 10 ms.
    assert 8 < sample["slow_rate"] <= 810
    assert sample["p50_us"] <= sample["p99_us"]


@pytest.mark.alone
def test_compression(environment):
    """The server inflates what the load generator sends, and deflates its answers."""
    with bench(environment, OURS, is_compressed=True) as found:
        assert measurements.echo(found, clients=5, size=1024, compressed=True)["rate"] > 10


def test_a_server_that_does_not_compress_is_no_result(environment):
    """But a reason."""
    with (
        bench(environment, OURS) as found,
        pytest.raises(MeasurementError, match="does not agree to compression"),
    ):
        measurements.echo(found, clients=5, size=1024, compressed=True)


def test_socketio_has_the_same_text():
    """In its packet."""
    plain = payload_of(32, Dialect.PLAIN, "echo", False)
    assert payload_of(32, Dialect.SOCKETIO, "echo", False) == b'42["echo","' + plain + b'"]'
    assert len(plain) == 32


def test_resumable_clients_have_the_same_text():
    """In a message of wshandler.1."""
    plain = payload_of(32, Dialect.PLAIN, "echo", False)
    assert payload_of(32, Dialect.RESUMABLE, "echo", False) == b"m" + plain


class TestResults:
    def filled(self):
        results = Results()
        for round_number, ours, theirs in ((0, 60.0, 10.0), (1, 20.0, 5.0), (2, 50.0, 10.0)):
            results.add(MAIN.key, "ours", round_number, {"rate": ours, "cpu_us": 1.0})
            results.add(MAIN.key, "uvicorn", round_number, {"rate": theirs, "cpu_us": 3.0})
        results.excuse(MAIN.key, "node-ws", "node is not installed")
        return results

    def test_ratios_are_of_the_same_round(self):
        """The median of the rounds' ratios, not the ratio of the medians."""
        ours, theirs = (Figure(MAIN.key, peer, "rate") for peer in ("ours", "uvicorn"))
        assert self.filled().ratio(ours, theirs) == Summary(5.0, 4.0, 6.0)

    def test_are_written_and_read(self, tmp_path):
        """A report can be made again from them."""
        report.write(self.filled(), tmp_path)
        again = Results.load(tmp_path / "results.json")
        assert report.page(again) == (tmp_path / "results.md").read_text(encoding="utf-8")

    def test_have_a_page_with_plots(self, tmp_path):
        """Figures, reasons, a verdict; and every plot that the page shows."""
        report.write(self.filled(), tmp_path)
        page = (tmp_path / "results.md").read_text(encoding="utf-8")
        assert "50 (20–60)" in page  # noqa: RUF001
        assert "node is not installed" in page
        assert "| uvicorn and Starlette | messages/s | at least 2 times | 5 times" in page
        assert "![Echo, messages per second](echo-rate.svg)" in page
        assert "</svg>" in (tmp_path / "echo-rate.svg").read_text(encoding="utf-8")


def test_lines_do_not_cover_each_others_names():
    """Two that end at the same value."""
    chart = line_chart("x", (10, 100), [Line("one", (1.0, 2.0)), Line("other", (1.0, 2.0))])
    heights = [line.split('y="')[1] for line in chart.splitlines() if "style=" in line]
    assert abs(float(heights[0].split('"')[0]) - float(heights[1].split('"')[0])) >= 14


def test_every_case_has_a_name_of_its_own():
    """Results go by them."""
    keys = [case.key for scenario in SCENARIOS for case in scenario.cases]
    assert len(keys) == len(set(keys))


def test_every_app_is_there():
    """A peer's command names a file of benchmarks/peers."""
    apps = ROOT / "benchmarks" / "peers"
    for peer in PEERS:
        for command in filter(None, (peer.command, peer.client)):
            app = next((part for part in command if part.endswith((":app", ".py", ".js"))), None)
            if app and app.endswith(":app"):
                app = app.removesuffix(":app").replace(".", "/") + ".py"
            assert peer is LIMIT or (apps / app).is_file()


def test_the_program_says_what_there_is():
    """Without installing anything."""
    asked = subprocess.run(
        [ROOT / "benchmarks" / "run", "--help"], capture_output=True, text=True, check=True
    )
    assert "half-load" in asked.stdout
    assert all(peer.key in asked.stdout.replace("\n", "").replace(" ", "") for peer in PEERS)
