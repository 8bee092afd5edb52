"""The figures of a process at one moment, as numbers that can be added up and written down.

A figure has a key: the name of its family, the values of its labels, and for a histogram the range
("0" and up) or "sum".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..protocol.errors import CloseCode
from .metric_families import CALLBACK_SECONDS, GAUGES, SHARED_GAUGES

if TYPE_CHECKING:
    from ..bus import BusStats
    from ..collections.history_stats import HistoryStats
    from ..transports.stats import Stats
    from .callback_histogram import CallbackTimes

Figures = dict[tuple[str, ...], float]

SUM = "sum"


def figures_of(stats: Stats, bus: BusStats, history: HistoryStats) -> Figures:
    """What a process has counted."""
    figures: Figures = {
        ("processes",): 1,
        ("connections",): stats.connections,
        ("away",): stats.away,
        ("connections_max",): stats.max_connections,
        ("queued_bytes",): stats.queued_bytes,
        ("queued_bytes_max",): stats.max_queued_bytes,
        ("threads",): stats.threads,
        ("threads_max",): stats.max_threads,
        ("accepted",): stats.accepted,
        ("messages_received",): stats.messages_received,
        ("messages_sent",): stats.messages_sent,
        ("messages_dropped",): stats.messages_dropped,
        ("received_bytes",): stats.bytes_received,
        ("sent_bytes",): stats.bytes_sent,
        ("bus_down_processes",): not bus.is_up,
        ("bus_published",): bus.published,
        ("bus_received",): bus.received,
        ("bus_dropped",): bus.dropped,
        ("bus_malformed",): bus.malformed,
        ("history_down_processes",): bool(history.trouble),
        ("history_log_messages",): history.log_messages,
        ("history_log_bytes",): history.log_bytes,
        ("history_logged",): history.logged,
        ("history_unlogged",): history.unlogged,
        ("history_unnumbered",): history.unnumbered,
        ("history_wait_seconds",): history.waited_s,
        ("history_slow",): history.slow,
        ("history_repairs",): history.repairs,
        ("history_gaps",): history.gaps,
        ("history_replayed",): history.replayed,
    }
    figures |= {("transports", each): count for each, count in stats.transports.items()}
    figures |= {("posts", outcome): count for outcome, count in stats.posts.items()}
    figures |= {("returns", outcome): count for outcome, count in stats.returns.items()}
    figures |= {("refusals", reason): count for reason, count in stats.refusals.items()}
    figures |= {("failures", callback): count for callback, count in stats.failures.items()}
    figures |= {("faults", where): count for where, count in stats.faults.items()}
    for code, count in stats.closes.items():
        key = "closes", _code_label(code)
        figures[key] = figures.get(key, 0) + count
    return figures


def figures_of_times(times: CallbackTimes) -> Figures:
    """How long callbacks have taken."""
    figures: Figures = {}
    name = CALLBACK_SECONDS.name
    for (handler, callback), (counts, sum_s) in times.read().items():
        for index, count in enumerate(counts):
            figures[(name, handler, callback, str(index))] = count
        figures[(name, handler, callback, SUM)] = sum_s
    return figures


def add(total: Figures, figures: Figures) -> None:
    """Add figures of another process."""
    for key, value in figures.items():
        before = total.get(key, 0)
        total[key] = max(before, value) if key[0] in SHARED_GAUGES else before + value


def counters_of(figures: Figures) -> Figures:
    """What is left of the figures of a process when it is gone."""
    return {key: value for key, value in figures.items() if key[0] not in GAUGES}


def frozen(figures: Figures, counted: Figures) -> Figures:
    """Figures of this moment, with the counters of an earlier one."""
    gauges = {key: value for key, value in figures.items() if key[0] in GAUGES}
    return gauges | counters_of(counted)


def dump(figures: Figures) -> bytes:
    """Figures as bytes."""
    return json.dumps([[*key, value] for key, value in figures.items()]).encode()


def load(data: bytes) -> Figures:
    """Figures of bytes. Raises ValueError for others than `dump` makes."""
    figures: Figures = {}
    try:
        for *key, value in json.loads(data):
            if not key or not all(isinstance(each, str) for each in key):
                raise ValueError(f"no key of a figure: {key!r}")
            figures[tuple(key)] = value + 0
    except TypeError as error:
        raise ValueError(f"no figures: {error}") from None
    return figures


def _code_label(code: int) -> str:
    """The code, where it means something to everybody; else its thousand.

    A client may close with any of 2,000 codes, and is not to choose how many series there are.
    """
    if code < 3000 or code == CloseCode.SESSION_ENDED:
        return str(int(code))
    return f"{code // 1000}xxx"
