"""What this process tells others that ask: its connections, its figures; and closes one for them.

    connections    after: a connection id, or ""
                   -> connections: a page of rows in the order of their ids; has_more
    stats          -> engine, bus, history: as `Stats`, `BusStats` and `HistoryStats`;
                   process: `ProcessFacts`
    close          id, code, reason
                   -> has_closed: whether the connection was here

A row is a `Row`. The bus's thread answers, from memory: nothing here runs code of the
app, whose session interface, request class and user loader may take their time.
"""

from __future__ import annotations

import dataclasses
import heapq
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, TypedDict

from ..handlers.callbacks import HandlerCallbacks
from ..handlers.handler import connection_of, shown_name_of
from ..protocol.errors import check_close
from ..resume import door
from ..runtime import faults
from ..settings import TransportChoice
from ..transports import wsgi_server
from ..transports.capacity import most_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bus import Bus
    from ..bus.rpc import Answer
    from ..collections.history_stats import HistoryStats
    from ..handlers.handler import Peer
    from ..protocol.connection import Connection
    from ..resume.registry import Resumables
    from ..transports.engine import Away, Engine

ROWS_PER_PAGE = 300
"""A page of the longest texts, each character escaped by JSON, fits into an answer."""

_OF_KEPT_SOCKETS = "each client keeps the thread or greenlet of its request"

_LONGEST_TEXT = 120
"""Of what a client or the app has chosen."""


class Row(TypedDict):
    """One open connection."""

    id: str
    #: The handler's class, or the function's name.
    handler: str
    #: Flask-Login's id or REMOTE_USER; None if neither is known without the app's code.
    user: str | None
    address: str | None
    path: str
    #: Seconds since it was accepted.
    age_s: float
    #: Whether the network has lost it, and it may come back.
    is_away: bool
    #: "websocket", "stream" or "poll".
    transport: str
    #: Messages.
    received: int
    sent: int
    #: What the client has not taken.
    queued_bytes: int


class ProcessFacts(TypedDict):
    """What a process is and may do: for the doctor."""

    pid: int
    #: Whether a WebSocket has come to it, if only the doctor's: shells and scripts have none.
    has_served: bool
    host: str
    #: gunicorn's; empty in another server.
    worker_class: str
    #: How many gunicorn was started with; None in another server.
    worker_count: int | None
    #: Clients that it can serve at once, where each keeps a thread of the server; None: as many as
    #: it may have.
    client_threads: int | None
    #: In a gevent worker: the modules of the standard library that block.
    unpatched_modules: list[str]
    #: Whether a client that can come back has been there.
    has_resumable: bool
    #: Why the sockets of such clients can't be passed on from worker to worker; empty if they can.
    door_obstacle: str
    #: Why none is passed on to it, though it could be; empty if one is, or none needed to.
    door_trouble: str
    #: Whether it has numbered a broadcast, or tried to.
    has_history: bool
    #: Why it can't use the log of broadcasts; empty if it can, as far as is known.
    history_trouble: str
    #: Broadcasts that have come from processes that do not know of the history.
    history_unnumbered: int
    #: Files that it may have open; None: any number.
    descriptor_limit: int | None
    #: `WSHANDLER_MAX_CONNECTIONS`.
    max_connections: int
    #: Faults that it has survived: where, and how many, as "timer 3".
    faults: list[str]


class ProcessReporter:
    """Answers what is asked about one app in one process. Any thread."""

    def __init__(
        self,
        engine: Engine,
        bus: Bus,
        resumables: Resumables,
        history_stats: Callable[[], HistoryStats],
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._history_stats = history_stats
        self._resumables = resumables

    def respond(self, verb: str, arguments: dict[str, Any]) -> Answer | None:
        """The answer to a question; None to what is none. Never waits."""
        match verb, arguments:
            case "connections", {"after": str(after)}:
                return self._page(after)
            case "stats", {}:
                return self._stats()
            case "close", {"id": str(wanted), "code": int(code), "reason": str(reason)}:
                return self._close(wanted, code, reason)
        return None

    def _page(self, after: str) -> Answer:
        found = self._by_id()
        rest = [each for each in found if each > after]
        ids = heapq.nsmallest(ROWS_PER_PAGE, rest)
        rows = [_row(each, *found[each]) for each in ids]
        return {"connections": rows, "has_more": len(rest) > len(ids)}

    def _by_id(self) -> dict[str, tuple[Peer, HandlerCallbacks]]:
        found: dict[str, tuple[Peer, HandlerCallbacks]] = {}
        served: list[Connection | Away] = [*self._engine.connections(), *self._engine.away()]
        for each in served:
            callbacks = each.callbacks
            if isinstance(callbacks, HandlerCallbacks):  # else it has just ended, or is no client's
                peer = connection_of(callbacks.handler)
                if peer is not None:  # else it opens at this moment
                    found[callbacks.snapshot.connection_id] = peer, callbacks
        return found

    def _stats(self) -> Answer:
        return {
            "engine": dataclasses.asdict(self._engine.stats()),
            "bus": dataclasses.asdict(self._bus.stats()),
            "history": dataclasses.asdict(self._history_stats()),
            "process": process_facts(self._engine, self._resumables, self._history_stats()),
        }

    def _close(self, wanted: str, code: int, reason: str) -> Answer:
        try:
            check_close(code, reason)
        except ValueError:
            return {"has_closed": False}
        found = self._by_id().get(wanted)
        if found is not None:
            found[0].close(code, reason)
        return {"has_closed": found is not None}


def _row(connection_id: str, connection: Peer, callbacks: HandlerCallbacks) -> Row:
    snapshot = callbacks.snapshot
    user, address = snapshot.known_user(), snapshot.get("REMOTE_ADDR")
    return Row(
        id=connection_id,
        handler=_shortened(shown_name_of(callbacks.handler)),
        user=None if user is None else _shortened(user),
        address=None if address is None else _shortened(str(address)),
        # WSGI has the bytes of the path as characters.
        path=_shortened(snapshot.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")),
        age_s=round(connection.age_s, 3),
        is_away=connection.is_open and not connection.is_connected,
        transport=snapshot.transport.value,
        received=connection.received_messages,
        sent=connection.sent_messages,
        queued_bytes=connection.queued_bytes,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def process_facts(engine: Engine, resumables: Resumables, history: HistoryStats) -> ProcessFacts:
    """Look at this process. Any thread."""
    limit = most_descriptors()
    server = wsgi_server.server_process()
    keeps_threads = server.keeps_sockets or engine.settings.transport is TransportChoice.BLOCKING
    obstacle = _OF_KEPT_SOCKETS if keeps_threads else door.obstacle()
    return ProcessFacts(
        pid=os.getpid(),
        has_served=engine.has_served,
        host=socket.gethostname(),
        worker_class=server.worker_class,
        worker_count=server.worker_count,
        client_threads=server.request_threads if keeps_threads else None,
        unpatched_modules=list(server.unpatched_modules),
        has_resumable=resumables.has_begun,
        door_obstacle=obstacle,
        door_trouble="" if obstacle else resumables.door_trouble,
        has_history=bool(history.logged or history.unlogged or history.log_messages),
        history_trouble=history.trouble,
        history_unnumbered=history.unnumbered,
        descriptor_limit=None if limit == sys.maxsize else limit,
        max_connections=engine.settings.max_connections,
        faults=[f"{where} {count}" for where, count in sorted(faults.counts().items())],
    )
