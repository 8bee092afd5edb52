"""The WSGI server that this process belongs to, as far as it can be known.

Only this module and `handoff` know servers by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import select
import signal
import sys
from typing import Any

from ..protocol.errors import CloseCode

_WORKER_SIGNALS = ("SIGTERM", "SIGQUIT", "SIGINT", "SIGABRT", "SIGUSR1", "SIGWINCH")
"""Those that gunicorn's workers handle by methods of theirs. An app may have put a handler of its
own in the place of some."""

_worker: tuple[int, Any] | None = None
"""The worker that was found, and the process that it was found in."""


def gunicorn_worker() -> Any:  # of a package that need not be there
    """The gunicorn worker that this process is; None in another server, or in none.

    Once found it is remembered: at the very end the signals have other handlers, and asking for
    them takes 5 µs each. Where the app has taken all signals for itself, it is known from the first
    handshake on.
    """
    if _worker is not None and _worker[0] == os.getpid():
        return _worker[1]
    for name in _WORKER_SIGNALS:
        number = getattr(signal, name, None)
        handler = None if number is None else signal.getsignal(number)
        if note_worker(getattr(handler, "__self__", None)):
            return handler.__self__  # type: ignore[union-attr]  # it has one
    return None


def note_worker(found: object) -> bool:
    """Remember `found` as the worker that this process is, and say so, if it is one."""
    global _worker
    if not is_of_gunicorn(found) or not hasattr(found, "alive"):
        return False
    _worker = os.getpid(), found
    return True


def is_of_gunicorn(found: object) -> bool:
    """Whether the class of an object is one of gunicorn's, or derived from one."""
    return any(base.__module__.startswith("gunicorn.") for base in type(found).__mro__)


def is_stopping() -> bool:
    """Whether the gunicorn worker of this process has been told to stop.

    Its own signal handler says so by `alive`. An app's handler in its place may keep the signal to
    itself: then the master has closed the sockets that it listens on, and waits for its workers.
    """
    worker = gunicorn_worker()
    return worker is not None and (not worker.alive or _is_left_by_master(worker))


def _is_left_by_master(worker: Any) -> bool:
    handler = signal.getsignal(signal.SIGTERM)
    if getattr(handler, "__self__", None) is worker or worker.cfg.reuse_port:
        return False  # it knows by itself; its listening sockets are none of the master's
    directory = f"/proc/{worker.ppid}/fd"
    try:
        listeners = {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in worker.sockets}
        held = {os.readlink(f"{directory}/{number}") for number in os.listdir(directory)}
    except OSError:  # of another user, or not on Linux, or a file has just been closed
        return False
    return bool(listeners) and not listeners & held


@dataclasses.dataclass(frozen=True, slots=True)
class ServerProcess:
    """What this process knows of the server that it belongs to."""

    #: gunicorn's worker class; empty in another server or none.
    worker_class: str
    #: How many workers it was started with; None where that is not known.
    worker_count: int | None
    #: Threads for requests, of a worker that has so many and no more; None: any number, as
    #: greenlets are, or not known.
    request_threads: int | None
    #: Whether a socket can't leave it, so that each WebSocket keeps the thread of its request.
    keeps_sockets: bool
    #: In a gevent worker: the modules of the standard library that still block all of it.
    unpatched_modules: tuple[str, ...]


def server_process() -> ServerProcess:
    """Look at the server of this process. Any thread."""
    worker = gunicorn_worker()
    config = getattr(worker, "cfg", None)
    is_gevent = any("gevent" in base.__module__ for base in type(worker).__mro__)
    return ServerProcess(
        worker_class=str(getattr(config, "worker_class_str", "")),
        worker_count=getattr(config, "workers", None),
        request_threads=_request_threads(worker, config),
        keeps_sockets=bool(getattr(config, "is_ssl", False)) or not has_epoll(),
        unpatched_modules=_unpatched_modules() if is_gevent else (),
    )


def _request_threads(worker: object, config: Any) -> int | None:
    modules = {base.__module__ for base in type(worker).__mro__}
    if "gunicorn.workers.gthread" in modules:
        return int(config.threads)
    return 1 if "gunicorn.workers.sync" in modules else None


_MUST_BE_PATCHED = ("select", "socket", "threading", "time")


def _unpatched_modules() -> tuple[str, ...]:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return _MUST_BE_PATCHED
    return tuple(name for name in _MUST_BE_PATCHED if not monkey.is_module_patched(name))


def time_to_stop_s() -> float:
    """How long the server lets a worker take for its end."""
    worker = gunicorn_worker()
    seconds = getattr(getattr(worker, "cfg", None), "graceful_timeout", math.inf)
    return float(seconds)


def stop_close_code() -> int:
    """What clients are told when this process ends: come back at once, or it is over."""
    is_reloaded = os.environ.get("WERKZEUG_RUN_MAIN") == "true"  # `flask run --debug`
    if is_reloaded or gunicorn_worker() is not None:
        return CloseCode.SERVICE_RESTART
    return CloseCode.GOING_AWAY


def server_name() -> str:
    """What the processes that serve one address have in common, and no others on this machine.

    The sockets that they listen on: gunicorn's stay the same over reloads, and when another master
    takes over. Any other server is one process.
    """
    listeners = getattr(gunicorn_worker(), "sockets", None) or ()
    inodes = sorted(os.fstat(listener.fileno()).st_ino for listener in listeners)
    if not inodes:
        return f"process {os.getpid()}"
    return f"sockets {inodes} since {_boot_id()}"


def _boot_id() -> str:
    """Numbers of sockets begin anew when the machine does."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


def has_epoll() -> bool:
    """Whether this system has what sockets outside of their requests are served with."""
    return hasattr(select, "epoll") and hasattr(os, "eventfd")
