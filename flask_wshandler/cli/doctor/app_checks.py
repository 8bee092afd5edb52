"""What can be wrong with an app and its processes, whatever stands before them."""

from __future__ import annotations

from ...transports.capacity import Capacity
from .evidence import Facts
from .findings import Finding, Severity


def keys_set_late(facts: Facts) -> Finding | None:
    """Settings are read once, and these were set afterwards."""
    keys = facts.setup["keys_set_late"]
    if not keys:
        return None
    return Finding(
        "keys-set-late",
        Severity.WARNING,
        f"{', '.join(keys)}: changed after WebSockets(app) had read the settings. What was set "
        "later has no effect.",
        "Set it before WebSockets(app), or give the app by init_app(app) when all is set.",
    )


def any_origin(facts: Facts) -> Finding | None:
    """Pages of any site may connect, and a browser sends this app's cookies along."""
    setup = facts.setup
    if not setup["has_sessions"] or setup["same_site"] in ("Lax", "Strict"):
        return None
    if setup["allowed_origins"] != "*":
        return _views_for_any_origin(facts.any_origin_urls)
    return Finding(
        "any-origin",
        Severity.ERROR,
        'WSHANDLER_ALLOWED_ORIGINS is "*", and the app has sessions: a page of any site can open '
        "a WebSocket here with the cookies of whoever looks at it, and act as that user.",
        'Leave it at "same-origin", or list the sites: ["https://example.org"]. If any site must '
        'be able to connect, set SESSION_COOKIE_SAMESITE to "Lax", so that it does so as nobody.',
    )


def _views_for_any_origin(urls: list[str]) -> Finding | None:
    if not urls:
        return None
    return Finding(
        "any-origin",
        Severity.NOTE,
        f"{', '.join(urls)}: accepted with require_same_origin=False, and the app has sessions. A "
        "page of any site can open a WebSocket there with the cookies of whoever looks at it.",
        "See to it that these views know their clients by something else than cookies, such as a "
        'token; or set SESSION_COOKIE_SAMESITE to "Lax".',
    )


def compression_memory(facts: Facts) -> Finding | None:
    """Compressed messages can fill the memory from next to nothing."""
    setup = facts.setup
    worst = setup["max_connections"] * setup["max_message_size"]
    if not setup["compression"] or worst <= facts.memory_bytes // 2:
        return None
    return Finding(
        "compression-memory",
        Severity.WARNING,
        f"WSHANDLER_COMPRESSION is on: a client can have {setup['max_message_size']:,} bytes "
        f"held for a message by sending a thousandth of that. {setup['max_connections']:,} of them "
        f"make it {_gigabytes(worst)} in each worker; {_gigabytes(facts.memory_bytes)} is all "
        "there is here.",
        "Lower WSHANDLER_MAX_MESSAGE_SIZE to what the app needs (4096 is enough for a chat), or "
        "WSHANDLER_MAX_CONNECTIONS, or switch the compression off.",
    )


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def redis_unreachable(facts: Facts) -> Finding | None:
    """Workers on Redis do not find each other."""
    trouble = _bus_trouble(facts, is_local=False)
    if not trouble:
        return None
    return Finding(
        "redis-unreachable",
        Severity.ERROR,
        f"Redis can't be used from {trouble}. Without it broadcasts reach the clients of one "
        "worker only.",
        "Start Redis, or correct WSHANDLER_BUS: address, port, password, rediss:// for TLS.",
    )


def _bus_trouble(facts: Facts, *, is_local: bool) -> str:
    """Where the one kind of bus does not work, and why; the server's trouble goes first."""
    found = (
        ("the server", facts.server_bus_trouble, facts.setup["bus"]),
        ("here", facts.bus_trouble, facts.shell_setup["bus"]),
    )
    for place, trouble, bus in found:
        if trouble and (bus == "local") is is_local:
            # What others say may be a sentence.
            return f"{place}: {trouble.rstrip('.')}"
    return ""


def local_bus_unusable(facts: Facts) -> Finding | None:
    """Workers on the local bus do not find each other."""
    trouble = _bus_trouble(facts, is_local=True)
    if not trouble:
        return None
    return Finding(
        "local-bus-unusable",
        Severity.ERROR,
        f"The run directory of the local bus can't be used from {trouble}.",
        "See to it that the directory is this user's alone (mode 0700), or set XDG_RUNTIME_DIR to "
        "another, for the server and for commands alike.",
    )


def workers_without_bus(facts: Facts) -> Finding | None:
    """Collections end at the worker."""
    count = facts.worker_count
    if facts.setup["bus"] != "none" or count is None or count < 2:
        return None
    return Finding(
        "workers-without-bus",
        Severity.ERROR,
        f'{count} workers, and WSHANDLER_BUS is "none": each has its own members of every '
        "collection, and a broadcast reaches those of one worker only."
        + (
            " What clients post over HTTP is refused with 503 if it comes to another worker than "
            "that of their handler."
            if facts.setup["fallback"]
            else ""
        ),
        'Set WSHANDLER_BUS to "local", or to a redis:// address for several machines; or start '
        "one worker.",
    )


def hosts_without_redis(facts: Facts) -> Finding | None:
    """Collections and returns end at the machine."""
    hosts = facts.unconnected_hosts
    if not hosts:
        return None
    return Finding(
        "hosts-without-redis",
        Severity.ERROR,
        f"The address is served by {len(hosts)} machines, {', '.join(hosts)}, and WSHANDLER_BUS is "
        f'"{facts.setup["bus"]}": a broadcast reaches the clients of one machine only, and a '
        "client that comes back to another one begins anew."
        + (" Each machine has a history of its own." if facts.history is not None else ""),
        "Set WSHANDLER_BUS to a redis:// address that all of them reach.",
    )


def returns_not_passed(facts: Facts) -> Finding | None:
    """A client that comes back to another worker is not given to that of its handler."""
    trouble = next((each["door_trouble"] for each in facts.processes if each["door_trouble"]), "")
    if not trouble or (facts.worker_count or 1) < 2:
        return None
    return Finding(
        "returns-not-passed",
        Severity.WARNING,
        "A client that comes back to another worker than that of its handler can't be given to it, "
        f"and begins anew; what was on its way to the client may be lost: {trouble.rstrip('.')}.",
        "See to it that the run directory is this user's alone (mode 0700), or set XDG_RUNTIME_DIR "
        "to another, for all workers alike.",
    )


def handlers_made_anew(facts: Facts) -> Finding | None:
    """A client that comes back to another worker gets another handler, by way of the bus."""
    found = [each for each in facts.processes if each["has_resumable"] and each["door_obstacle"]]
    if not found or facts.setup["bus"] == "none" or (facts.worker_count or 1) < 2:
        return None
    return Finding(
        "handlers-made-anew",
        Severity.NOTE,
        "A client that comes back to another worker than that of its handler gets a new handler "
        f"there: sockets are not passed on, for {found[0]['door_obstacle']}. No message is lost, "
        "but what the handler had in its attributes is.",
        "Nothing, if a handler can do without; else let TLS end in a proxy before gunicorn, and "
        "take gthread workers (`--threads`), or one worker.",
    )


def worker_silent(facts: Facts) -> Finding | None:
    """Somebody is on the bus and does not answer."""
    if not facts.silent_count:
        return None
    return Finding(
        "worker-silent",
        Severity.WARNING,
        f"{_counted(facts.silent_count, 'process')} on the bus did not answer in time. A worker "
        "that hangs or was stopped serves none of its clients. What was found is about the others.",
        "Look for a worker that is stopped (`T` in `ps`) or computes without end, and end it: "
        "gunicorn starts another. Or give a busy machine a longer --timeout.",
    )


def faults_survived(facts: Facts) -> Finding | None:
    """Something has raised where nothing should."""
    told = {each["pid"]: ", ".join(each["faults"]) for each in facts.processes if each["faults"]}
    if not told:
        return None
    shown = "; ".join(f"process {pid}: {faults}" for pid, faults in sorted(told.items()))
    return Finding(
        "faults-survived",
        Severity.WARNING,
        f"Something has gone wrong inside of this package, or in a log handler, and was survived: "
        f"{shown}.",
        "The log has a traceback of each; a handler or filter that raises has its own on stderr. "
        "If a thread could not start, raise the limit of threads: `ulimit -u`, or the container's.",
    )


def thread_per_client(facts: Facts) -> Finding | None:
    """Each client keeps a thread of its worker, of which there are few."""
    threads = min(
        (each["client_threads"] for each in facts.processes if each["client_threads"]), default=None
    )
    if threads is None or threads > facts.setup["max_connections"]:
        return None
    workers = facts.worker_count or 1
    has_one = threads == 1
    return Finding(
        "thread-per-client",
        Severity.ERROR if has_one else Severity.WARNING,
        "Each WebSocket keeps the thread of its request as long as it is open, and a worker has "
        + ("no other" if has_one else f"{threads:,} of them")
        + f". Workers: {workers:,}. So there can be {_counted(threads * workers, 'client')}, and "
        "while they are there no page is answered.",
        'Let TLS end in a proxy before gunicorn, and leave WSHANDLER_TRANSPORT at "auto": then '
        "clients need no threads. Or take gevent's workers (`-k gevent`); or more `--threads` than "
        "WSHANDLER_MAX_CONNECTIONS, which is "
        f"{facts.setup['max_connections']:,}.",
    )


def _counted(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def descriptor_limit(facts: Facts) -> Finding | None:
    """A process can't have the files for as many clients as it may have."""
    setup = facts.setup
    wanted, is_chosen = setup["max_connections"], setup["is_max_connections_chosen"]
    limits = [process["descriptor_limit"] for process in facts.processes]
    limit = min((each for each in limits if each is not None), default=None)
    if not facts.processes:
        limit = facts.shell_descriptor_limit
    if limit is None:
        return None
    room = Capacity(wanted, None, lambda: limit).max_slots
    if room >= wanted or (not is_chosen and limit >= _USUAL_DESCRIPTOR_LIMIT):
        return None
    measure = f"WSHANDLER_MAX_CONNECTIONS is {wanted:,}"
    enough = wanted + 200
    if not is_chosen:
        measure, enough = f"{_USUAL_DESCRIPTOR_LIMIT:,} is usual", _USUAL_DESCRIPTOR_LIMIT
    of = "A worker" if facts.processes else "A server that is started from this shell"
    return Finding(
        "descriptor-limit",
        Severity.WARNING if facts.processes else Severity.NOTE,
        f"{of} may have {limit:,} files open, enough for {room:,} clients; {measure}.",
        f"Raise the limit to {enough:,} or more (LimitNOFILE= in systemd's unit, `ulimit -n` in a "
        "shell)" + (", or lower WSHANDLER_MAX_CONNECTIONS." if is_chosen else "."),
    )


_USUAL_DESCRIPTOR_LIMIT = 1024
"""Of Linux and systemd, for who asks for no other."""


def gevent_unpatched(facts: Facts) -> Finding | None:
    """In a gevent worker, what blocks stops all clients."""
    unpatched = sorted({name for each in facts.processes for name in each["unpatched_modules"]})
    if not unpatched:
        return None
    return Finding(
        "gevent-unpatched",
        Severity.ERROR,
        f"The workers are gevent's, but {', '.join(unpatched)} of the standard library are not "
        "patched: a client that is waited for stops its whole worker.",
        "Use gunicorn's own gevent worker (`-k gevent`), which patches; in a worker class of your "
        "own call gevent.monkey.patch_all() before anything else. Or take `--threads`, which "
        "needs none of it.",
    )


def other_settings(facts: Facts) -> Finding | None:
    """The server and this shell do not have the same."""
    here, there = facts.shell_setup, facts.setup
    differing = [shown for name, shown in _SETTINGS.items() if here[name] != there[name]]  # type: ignore[literal-required]  # its own keys
    if not differing:
        return None
    return Finding(
        "other-settings",
        Severity.NOTE,
        f"The server has another {', '.join(differing)} than this shell. What was found is about "
        "the server's.",
        "Run commands with the environment and the files that the server is configured by.",
    )


_SETTINGS = {
    "allowed_origins": "WSHANDLER_ALLOWED_ORIGINS",
    "has_sessions": "SECRET_KEY",
    "same_site": "SESSION_COOKIE_SAMESITE",
    "compression": "WSHANDLER_COMPRESSION",
    "max_message_size": "WSHANDLER_MAX_MESSAGE_SIZE",
    "ping_interval": "WSHANDLER_PING_INTERVAL",
    "fallback": "WSHANDLER_FALLBACK",
    "max_connections": "WSHANDLER_MAX_CONNECTIONS",
    "history_size": "WSHANDLER_HISTORY_SIZE",
    "bus": "WSHANDLER_BUS",
}


CHECKS = (
    keys_set_late,
    any_origin,
    compression_memory,
    redis_unreachable,
    local_bus_unusable,
    workers_without_bus,
    hosts_without_redis,
    returns_not_passed,
    handlers_made_anew,
    worker_silent,
    faults_survived,
    thread_per_client,
    descriptor_limit,
    gevent_unpatched,
    other_settings,
)
