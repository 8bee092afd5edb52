"""What is measured: cases, who takes part in them, and how their figures are shown."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from . import losses, measurements
from .losses import LONGEST_LIFE_S, MESSAGES, RATE
from .measurements import Bench
from .peers import Peer
from .results import Sample
from .server import Demands

Measure = Callable[[Bench], Sample]


@dataclass(frozen=True, slots=True)
class Case:
    """One figure, or some that come together."""

    key: str
    title: str
    demands: Demands
    measure: Measure
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table: one metric of one case."""

    title: str
    case: str
    metric: str
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Plot:
    """A bar for each peer: one column of a table."""

    name: str
    title: str
    column: int = 0
    is_more_better: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A row for each peer."""

    title: str
    columns: tuple[Column, ...]
    plot: Plot | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Cases that belong together."""

    key: str
    title: str
    text: str
    cases: tuple[Case, ...]
    tables: tuple[Table, ...]
    is_for: Callable[[Peer], bool] = lambda peer: not peer.client


def obstacle(case: Case, peer: Peer) -> str | None:
    """Why a peer can't take part in a case."""
    if peer.most_clients is not None and case.demands.clients > peer.most_clients:
        return "a thread or two per client"
    if case.demands.is_compressed and not peer.can_compress:
        return "no compression"
    return None


def _echo_case(
    clients: int,
    size: int = 32,
    window: int = 1,
    is_compressed: bool = False,
    is_quick: bool = False,
) -> Case:
    shown_size = f"{size} B" if size < 1024 else f"{size // 1024} kB"
    return Case(
        f"echo-{clients}-{size}-{window}" + ("-compressed" if is_compressed else ""),
        f"{clients:,} clients, {shown_size}"
        + (f", window {window}" if window > 1 else "")
        + (", compressed" if is_compressed else ""),
        Demands(clients, is_compressed=is_compressed),
        functools.partial(
            measurements.echo, clients=clients, size=size, window=window, compressed=is_compressed
        ),
        is_quick,
    )


MAIN = _echo_case(100, is_quick=True)
MAIN_WINDOW = _echo_case(100, window=16, is_quick=True)
_ECHO_CASES = (
    MAIN,
    MAIN_WINDOW,
    _echo_case(1),
    _echo_case(1000),
    _echo_case(100, 1024),
    _echo_case(100, 1024, is_compressed=True),
    _echo_case(1000, 1024, 16),
    _echo_case(100, 65536),
)

ECHO = Scenario(
    "echo",
    "Echo",
    "Clients send text, and again when they are answered; with a window of 16, each has 16 "
    "messages on their way.",
    _ECHO_CASES,
    (
        Table(
            "100 clients, 32 bytes, window 1",
            (
                Column("messages/s", MAIN.key, "rate"),
                Column("CPU µs/message", MAIN.key, "cpu_us", 1),
                Column("p50 µs", MAIN.key, "p50_us"),
                Column("p99 µs", MAIN.key, "p99_us"),
                Column("p99.9 µs", MAIN.key, "p99.9_us"),
                Column("server busy", MAIN.key, "server_busy", 2),
                Column("load busy", MAIN.key, "load_busy", 2),
            ),
            Plot("echo-rate", "Echo, messages per second", is_more_better=True),
        ),
        Table(
            "Messages/s",
            tuple(Column(case.title, case.key, "rate") for case in _ECHO_CASES[1:]),
            Plot("echo-window", "Echo, window 16: messages per second", is_more_better=True),
        ),
        Table(
            "CPU of the server in µs/message",
            tuple(Column(case.title, case.key, "cpu_us", 1) for case in _ECHO_CASES),
            Plot("echo-cpu", "Echo: µs of the server's processor time per message"),
        ),
    ),
)

HALF_LOAD = Scenario(
    "half-load",
    "Time to the answer at half load",
    "100 clients, 32 bytes, at half of the rate that the same server has just reached. Messages "
    "are due at fixed times, and the time counts from then on: a pause of the server is in the "
    "figures of all messages that fall into it.",
    (
        Case(
            "half-load",
            "half load",
            Demands(100),
            functools.partial(measurements.half_load, clients=100),
        ),
    ),
    (
        Table(
            "",
            (
                Column("p99.9 µs", "half-load", "p99.9_us"),
                Column("p99 µs", "half-load", "p99_us"),
                Column("p50 µs", "half-load", "p50_us"),
                Column("messages/s", "half-load", "rate"),
                Column("CPU µs/message", "half-load", "cpu_us", 1),
            ),
            Plot("half-load", "Echo at half load: 99.9th percentile in µs"),
        ),
    ),
)


def _counts(
    prefix: str, counts: tuple[int, ...], measure: Callable[..., Sample], quick: int | None = None
) -> tuple[Case, ...]:
    return tuple(
        Case(
            f"{prefix}-{count}",
            f"{count:,}",
            Demands(count),
            functools.partial(measure, clients=count),
            is_quick=count == quick,
        )
        for count in counts
    )


_BROADCAST_CASES = _counts("broadcast", (1000, 5000, 10000), measurements.broadcast, 1000)

BROADCAST = Scenario(
    "broadcast",
    "Broadcast",
    "One client sends 32 bytes, the server sends them to all: the time until the last one has "
    f"them. The median of up to {measurements.BROADCASTS} broadcasts in each round. CPU is the "
    "server's, per client.",
    _BROADCAST_CASES,
    (
        Table(
            "",
            tuple(Column(f"{case.title}: ms", case.key, "ms", 1) for case in _BROADCAST_CASES)
            + tuple(
                Column(f"{case.title}: CPU µs", case.key, "cpu_us", 1) for case in _BROADCAST_CASES
            ),
            Plot("broadcast", "Broadcast to 5,000 clients: ms until the last one has it", column=1),
        ),
    ),
)

_IDLE_CASES = _counts("idle", (1000, 10000), measurements.idle, 1000)

IDLE = Scenario(
    "idle",
    "Idle clients",
    "Connected, answered once, then silent: the growth of the server's memory (PSS of all its "
    "processes) per client, and all its threads. Seconds are those in which they all came, 32 at "
    "once.",
    _IDLE_CASES,
    (
        Table(
            "",
            tuple(
                column
                for case in _IDLE_CASES
                for column in (
                    Column(f"{case.title}: bytes/client", case.key, "bytes_per_client"),
                    Column(f"{case.title}: threads", case.key, "threads"),
                    Column(f"{case.title}: seconds", case.key, "connecting_s", 1),
                )
            ),
            Plot("idle-memory", "Memory of 1,000 idle clients: bytes per client"),
        ),
    ),
)

LIVES = Scenario(
    "connections",
    "Connections per second",
    "TCP, handshake, a message of 32 bytes and its answer, closing handshake: 50 clients at a "
    "time, each followed by another.",
    (
        Case(
            "connections",
            "50 at a time",
            Demands(50),
            functools.partial(measurements.lives, at_once=50),
            is_quick=True,
        ),
    ),
    (
        Table(
            "",
            (
                Column("connections/s", "connections", "rate"),
                Column("CPU µs/connection", "connections", "cpu_us"),
                Column("p50 µs", "connections", "p50_us"),
                Column("p99 µs", "connections", "p99_us"),
            ),
            Plot("connections", "Connections per second", is_more_better=True),
        ),
    ),
)

SLOW = Scenario(
    "slow",
    "Callbacks that block",
    "100 clients whose callbacks sleep for 10 ms, as for a database. This package runs "
    "`WSHANDLER_THREADS` (32) of them at once, so 3,200 messages/s are possible; with a thread "
    "or a greenlet per client 10,000 are, and on an event loop 100. Then the same with "
    f"{measurements.QUICK_CLIENTS} clients beside them that are sent {measurements.QUICK_RATE:.0f} "
    "messages/s in all, whose callbacks do not sleep; and with 20 slow clients instead of 100.",
    (
        Case(
            "slow",
            "100 slow",
            Demands(100),
            functools.partial(measurements.slow, clients=100),
            is_quick=True,
        ),
        Case(
            "slow-beside-quick",
            "100 slow, 10 quick",
            Demands(110),
            functools.partial(measurements.slow_beside_quick, clients=100),
            is_quick=True,
        ),
        Case(
            "few-slow-beside-quick",
            "20 slow, 10 quick",
            Demands(30),
            functools.partial(measurements.slow_beside_quick, clients=20),
        ),
    ),
    (
        Table(
            "",
            (
                Column("slow messages/s", "slow", "rate"),
                Column("beside quick: slow messages/s", "slow-beside-quick", "slow_rate"),
                Column("quick p50 µs", "slow-beside-quick", "p50_us"),
                Column("quick p99 µs", "slow-beside-quick", "p99_us"),
                Column("20 slow: quick p50 µs", "few-slow-beside-quick", "p50_us"),
                Column("20 slow: quick p99 µs", "few-slow-beside-quick", "p99_us"),
            ),
        ),
    ),
    lambda peer: peer.has_slow,
)

PAGES = Scenario(
    "http",
    "Pages beside sockets",
    f"Requests for a small page on {measurements.REQUESTERS} connections that stay open, one after "
    f"the other; alone, and while 5,000 clients send {measurements.CHAT_RATE:,.0f} messages/s in "
    "all.",
    tuple(
        Case(
            f"http-{sockets}",
            f"{sockets:,} sockets",
            Demands(sockets + measurements.REQUESTERS),
            functools.partial(measurements.pages, sockets=sockets),
        )
        for sockets in (0, 5000)
    ),
    (
        Table(
            "",
            (
                Column("no sockets: requests/s", "http-0", "rate"),
                Column("5,000 sockets: requests/s", "http-5000", "rate"),
                Column("no sockets: p99 µs", "http-0", "p99_us"),
                Column("5,000 sockets: p99 µs", "http-5000", "p99_us"),
            ),
        ),
    ),
    lambda peer: peer.has_pages and not peer.client,
)

_WORKER_COUNTS = (1, 2)

SCALING = Scenario(
    "workers",
    "More workers",
    "Echo of 32 bytes by 200 clients, with one and two workers. The kernel deals the clients out. "
    "Each worker has a core of its own, but where the machine has no more than two, the second one "
    "shares its core with the load.",
    tuple(
        Case(
            f"workers-{workers}",
            f"-w {workers}",
            Demands(200, workers),
            functools.partial(measurements.echo, clients=200),
        )
        for workers in _WORKER_COUNTS
    ),
    (
        Table(
            "",
            tuple(Column(f"-w {n}: messages/s", f"workers-{n}", "rate") for n in _WORKER_COUNTS)
            + tuple(
                Column(f"-w {n}: CPU µs/message", f"workers-{n}", "cpu_us", 1)
                for n in _WORKER_COUNTS
            )
            + tuple(
                Column(f"-w {n}: load busy", f"workers-{n}", "load_busy", 2) for n in _WORKER_COUNTS
            ),
        ),
    ),
    lambda peer: peer.can_fork,
)

GROWTH_COUNTS = (10, 100, 1000, 10000)
_GROWS = {"ours", "uvicorn", "websockets", "aiohttp", "node-ws", "limit"}

GROWTH = Scenario(
    "growth",
    "Cost of a message among many clients",
    "CPU of the server in µs/message. In turns: 10 messages are on their way at any time, and the "
    "clients take turns in sending them, so what is needed for a message is seldom in the "
    "processor's cache. At once: every client sends when it is answered, so many messages arrive "
    "together.",
    tuple(
        Case(
            f"turns-{count}",
            f"{count:,} in turns",
            Demands(count),
            functools.partial(measurements.echo, clients=count, in_flight=10),
        )
        for count in GROWTH_COUNTS
    )
    + tuple(
        Case(
            f"at-once-{count}",
            f"{count:,} at once",
            Demands(count),
            functools.partial(measurements.echo, clients=count),
        )
        for count in (10, 10000)
    ),
    (
        Table(
            "",
            tuple(
                Column(f"{count:,} in turns", f"turns-{count}", "cpu_us", 1)
                for count in GROWTH_COUNTS
            )
            + tuple(
                Column(f"{count:,} at once", f"at-once-{count}", "cpu_us", 1)
                for count in (10, 10000)
            ),
        ),
    ),
    lambda peer: peer.key in _GROWS,
)

_USES = {
    "path": "request.path",
    "args": "request.args",
    "query": "context.query_string",
    "session": "session",
    "url": "url_for",
}
_USE_CASES = tuple(
    Case(
        f"use-{use or 'nothing'}",
        title,
        Demands(100),
        functools.partial(
            measurements.echo, clients=100, path=f"/echo/{use}?room=1" if use else measurements.ECHO
        ),
    )
    for use, title in {"": "nothing", **_USES}.items()
)

USES = Scenario(
    "uses",
    "What a callback looks at",
    "Echo of 32 bytes by 100 clients, whose callbacks look at something of Flask's before they "
    "answer. CPU of the server in µs/message.",
    _USE_CASES,
    (Table("", tuple(Column(case.title, case.key, "cpu_us", 1) for case in _USE_CASES)),),
    lambda peer: peer.key == "ours",
)

_WAYS = {"up": "to the server", "down": "to the client"}
_FAULTS = {"lost": "lost", "twice": "twice", "late": "out of order"}

LOSSES = Scenario(
    "losses",
    "Messages over a network that cuts",
    f"One client and its server send each other {MESSAGES:,} messages in {MESSAGES / RATE:.0f} s, "
    f"through a proxy that cuts each connection within {LONGEST_LIFE_S:.0f} s, in the middle of a "
    "message: two in five are reset, two end, and one falls silent, which is noticed by pings. All "
    "clients reconnect by themselves, and once all is sent nothing is cut any more.",
    (Case("losses", "losses", Demands(1), losses.losses),),
    (
        Table(
            "",
            (
                Column("cuts", "losses", "cuts"),
                *(
                    Column(f"{way_title}: {fault_title}", "losses", f"{way}_{fault}")
                    for way, way_title in _WAYS.items()
                    for fault, fault_title in _FAULTS.items()
                ),
            ),
        ),
    ),
    lambda peer: bool(peer.client),
)

SCENARIOS = (ECHO, HALF_LOAD, BROADCAST, IDLE, LIVES, SLOW, PAGES, SCALING, GROWTH, USES, LOSSES)
