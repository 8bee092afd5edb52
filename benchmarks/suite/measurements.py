"""The ways to measure: each takes a server that has just been started, and returns one sample.

Metrics have their unit in the name: `rate` per second, `cpu_us` of the server per message.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .environment import Environment
from .failure import MeasurementError
from .load import Load, Report
from .peers import Peer
from .results import Sample
from .server import Memory, Server

ECHO = "/echo"
WARM_UP_CLIENTS = 10
SETTLING_S = 2.0
"""Until what a server does after connections have come or gone is done. Resumable clients
acknowledge what they were sent after a second."""
CHAT_RATE = 1000.0
QUICK_CLIENTS = 10
QUICK_RATE = 500.0
REQUESTERS = 16
BROADCASTS = 20
BROADCASTS_S = 5.0
"""Then three of them have to do."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A peer that runs, and its load."""

    peer: Peer
    server: Server
    load: Load
    environment: Environment
    seconds: float


def _sample(report: Report) -> Sample:
    seconds, count = report["seconds"], report["count"]
    if not count:
        raise MeasurementError("nothing was answered")
    return {
        "rate": count / seconds,
        "cpu_us": report["server_cpu_s"] / count * 1e6,
        "server_busy": report["server_cpu_s"] / seconds,
        "load_busy": report["load_cpu_s"] / seconds,
        **{f"{name}_us": figure for name, figure in report.get("us", {}).items()},
    }


def echo(
    bench: Bench,
    *,
    clients: int,
    size: int = 32,
    window: int = 1,
    compressed: bool = False,
    in_flight: int | None = None,
    path: str = ECHO,
) -> Sample:
    """Every client sends when it is answered; or they take turns, `in_flight` at once."""
    turns = {"window": window} if in_flight is None else {"in_flight": in_flight}
    return _sample(
        bench.load.run(
            "echo",
            path=path,
            clients=clients,
            size=size,
            compressed=compressed,
            seconds=bench.seconds,
            **turns,
        )
    )


def half_load(bench: Bench, *, clients: int) -> Sample:
    """First what the peer can do, then the times to the answer at half of that."""
    most = echo(bench, clients=clients)["rate"]
    report = bench.load.run(
        "echo", path=ECHO, clients=clients, rate=most / 2, seconds=2 * bench.seconds
    )
    if report["unanswered"]:
        raise MeasurementError(f"{report['unanswered']} messages at half load have no answer")
    return _sample(report)


def broadcast(bench: Bench, *, clients: int) -> Sample:
    """Milliseconds from the sending to the last of all clients; the median of some broadcasts."""
    report = bench.load.run(
        "broadcast", path="/broadcast", clients=clients, rounds=BROADCASTS, seconds=BROADCASTS_S
    )
    sample = _sample(report)
    return {"ms": statistics.median(report["ms"]), "cpu_us": sample["cpu_us"]}


def lives(bench: Bench, *, at_once: int) -> Sample:
    """Clients that connect, are answered once, and close properly; others take their places."""
    return _sample(bench.load.run("connect", path=ECHO, clients=at_once, seconds=bench.seconds))


def idle(bench: Bench, *, clients: int, settling_s: float = SETTLING_S) -> Sample:
    """What so many clients add, each of which has been answered once and is silent since."""
    with _connected(bench, WARM_UP_CLIENTS):
        pass
    time.sleep(settling_s)
    before = bench.server.memory()
    with _connected(bench, clients) as report:
        time.sleep(settling_s)
        after = bench.server.memory()
    return {
        "bytes_per_client": _per_client(before, after, clients),
        "threads": float(after.threads),
        "connecting_s": report["seconds"],
    }


def _per_client(before: Memory, after: Memory, clients: int) -> float:
    return (after.pss_bytes - before.pss_bytes) / clients


@contextlib.contextmanager
def _connected(bench: Bench, clients: int, **options: float) -> Iterator[Report]:
    """So many clients that stay, and how they came."""
    with bench.load.running("stay", path=ECHO, clients=clients, **options) as generator:
        yield generator.first_report()
        generator.release()


def slow(bench: Bench, *, clients: int) -> Sample:
    """Callbacks that each sleep for 10 ms: what is between them, and how many sleep at once."""
    return _sample(
        bench.load.run("echo", path="/slow", clients=clients, warm_up=1, seconds=bench.seconds)
    )


def slow_beside_quick(bench: Bench, *, clients: int) -> Sample:
    """The same, beside clients whose callbacks do not sleep: the times to their answers."""
    seconds = bench.seconds
    with bench.load.running(
        "echo", path="/slow", clients=clients, warm_up=1, seconds=seconds + 1
    ) as sleeping:
        quick = bench.load.run(
            "echo",
            path=ECHO,
            clients=QUICK_CLIENTS,
            rate=QUICK_RATE,
            warm_up=1.5,
            seconds=seconds,
        )
        sample = _sample(quick)
        sample["slow_rate"] = _sample(sleeping.report())["rate"]
    return sample


def pages(bench: Bench, *, sockets: int) -> Sample:
    """Requests for a page, one after the other; while so many sockets chat, if there are any."""
    with contextlib.ExitStack() as stack:
        if sockets:
            stack.enter_context(_connected(bench, sockets, rate=CHAT_RATE))
        return _sample(bench.load.run("http", path="/", clients=REQUESTERS, seconds=bench.seconds))
