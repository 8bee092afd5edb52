"""The goals of this package against its peers, and whether a run's figures reach them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .results import Figure, Results, Summary
from .scenarios import MAIN, MAIN_WINDOW

Found = Callable[[Results], Summary | None]

OURS = "ours"
EVENT_LOOPS = ("tornado", "aiohttp", "websockets", "gunicorn-asgi")
SLOW_LIMIT = 3200.0
"""WSHANDLER_THREADS of 32, with callbacks of 10 ms."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of ours, mostly as a ratio to a peer's, and its bound."""

    against: str
    what: str
    bound: float
    is_least: bool
    find: Found
    unit: str = " times"

    def is_reached_by(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return value >= self.bound if self.is_least else value <= self.bound


def _against(peer: str, case: str, metric: str, results: Results) -> Summary | None:
    return results.ratio(Figure(case, OURS, metric), Figure(case, peer, metric))


def _against_fastest(case: str, metric: str, results: Results) -> Summary | None:
    """The one whose median rate is the best of the event loops'."""
    rates = {peer: results.summary(Figure(case, peer, "rate")) for peer in EVENT_LOOPS}
    medians = {peer: rate.median for peer, rate in rates.items() if rate is not None}
    if not medians:
        return None
    return _against(max(medians, key=lambda peer: medians[peer]), case, metric, results)


def _ours(case: str, metric: str, divisor: float, results: Results) -> Summary | None:
    found = results.summary(Figure(case, OURS, metric))
    if found is None:
        return None
    return Summary(found.median / divisor, found.lowest / divisor, found.highest / divisor)


def _growth(prefix: str, results: Results) -> Summary | None:
    many, few = (Figure(f"{prefix}-{count}", OURS, "cpu_us") for count in (10000, 10))
    return results.ratio(many, few)


def _speed(
    against: str, bound: float, find: Callable[[str], Found], note: str = ""
) -> Iterator[Goal]:
    """By the clock, which is the goal; and by processor time, which other programs disturb less."""
    yield Goal(against, f"messages/s{note}", bound, True, find("rate"))
    yield Goal(against, f"CPU per message{note}", 1 / bound, False, find("cpu_us"))


def _echo(peer: str, case: str = MAIN.key) -> Callable[[str], Found]:
    return lambda metric: functools.partial(_against, peer, case, metric)


def _fastest(metric: str) -> Found:
    return functools.partial(_against_fastest, MAIN.key, metric)


def _memory(against: str, peer: str, bound: float, *counts: int) -> Iterator[Goal]:
    for count in counts:
        find = functools.partial(_against, peer, f"idle-{count}", "bytes_per_client")
        yield Goal(against, f"memory per idle client of {count:,}", bound, False, find)


def _resumable() -> Iterator[Goal]:
    against = "itself, clients that do not resume"
    for what, case, metric, bound, is_least in (
        ("messages/s", MAIN.key, "rate", 0.85, True),
        ("CPU per message", MAIN.key, "cpu_us", 1 / 0.85, False),
        ("messages/s, window 16", MAIN_WINDOW.key, "rate", 0.85, True),
        ("CPU per message, window 16", MAIN_WINDOW.key, "cpu_us", 1 / 0.85, False),
        ("CPU of a broadcast to 5,000", "broadcast-5000", "cpu_us", 1.15, False),
        ("memory per idle client of 10,000", "idle-10000", "bytes_per_client", 1.4, False),
    ):
        ours = Figure(case, OURS, metric)
        find = functools.partial(_ratio, Figure(case, "ours-resumable", metric), ours)
        yield Goal(against, f"resumable clients: {what}", bound, is_least, find)


def _ratio(dividend: Figure, divisor: Figure, results: Results) -> Summary | None:
    return results.ratio(dividend, divisor)


def _losses() -> Iterator[Goal]:
    for peer, client in (("ours-python", "Python client"), ("ours-js", "`client.js`")):
        find = functools.partial(_faults, peer)
        what = f"{client}: messages lost, twice or out of order"
        yield Goal("a network that cuts", what, 0, False, find, unit=" messages")


def _faults(peer: str, results: Results) -> Summary | None:
    return results.summary(Figure("losses", peer, "faults"))


def _growths() -> Iterator[Goal]:
    for prefix, title in (("turns", "in turns"), ("at-once", "at once")):
        find = functools.partial(_growth, prefix)
        yield Goal(
            "itself with 10 clients", f"CPU per message of 10,000, {title}", 1.15, False, find
        )


def _quick() -> Iterator[Goal]:
    for case, count in (("slow-beside-quick", 100), ("few-slow-beside-quick", 20)):
        find = functools.partial(_ours, case, "p99_us", 1000)
        what = f"99th percentile of quick callbacks beside {count} that sleep"
        yield Goal("10 ms", what, 10, False, find, unit=" ms")


_FLASK_SOCK = "flask-sock, gthread"
_UVICORN = "uvicorn and Starlette"
_NODE = "Node.js, `ws`"

GOALS = (
    *_speed(_FLASK_SOCK, 6, _echo("flask-sock-gthread")),
    *_memory(_FLASK_SOCK, "flask-sock-gthread", 1 / 15, 1000),
    Goal(
        _FLASK_SOCK,
        "connections/s",
        2,
        True,
        functools.partial(_against, "flask-sock-gthread", "connections", "rate"),
    ),
    *_speed(_UVICORN, 2, _echo("uvicorn")),
    *_memory(_UVICORN, "uvicorn", 1 / 5, 1000, 10000),
    *_speed("the fastest of Tornado, aiohttp, `websockets`, gunicorn's ASGI worker", 1.2, _fastest),
    *_speed(_NODE, 1, _echo("node-ws")),
    *_speed(_NODE, 1.5, _echo("node-ws", MAIN_WINDOW.key), ", window 16"),
    Goal(
        _NODE,
        "time of a broadcast to 5,000",
        0.8,
        False,
        functools.partial(_against, "node-ws", "broadcast-5000", "ms"),
    ),
    *_memory(_NODE, "node-ws", 1 / 2, 1000, 10000),
    Goal(
        _NODE,
        "99.9th percentile at half load",
        2,
        False,
        functools.partial(_against, "node-ws", "half-load", "p99.9_us"),
    ),
    *_speed("bare C epoll echo", 0.45, _echo("limit")),
    *_growths(),
    *_resumable(),
    *_losses(),
    Goal(
        "what `WSHANDLER_THREADS` allows",
        "messages/s of callbacks that sleep for 10 ms",
        0.9,
        True,
        functools.partial(_ours, "slow", "rate", SLOW_LIMIT),
    ),
    *_quick(),
)
