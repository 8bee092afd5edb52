"""What is made at import and by `init_app`, and what waits for the first use in a process."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest

from flask_wshandler.runtime.first_use import MadeOnFirstUse, ModuleLock
from tests.deadlines import DEADLINE_S

ALL_OF_IT = """
    import collections, functools, importlib, pkgutil, select, socket, sys, threading, types

    import flask
    import flask_wshandler
    from flask_wshandler import WebSocketCollection, WebSocketGroups, WebSocketHandler, WebSockets

    for module in pkgutil.walk_packages(flask_wshandler.__path__, "flask_wshandler."):
        importlib.import_module(module.name)

    from flask_wshandler.otel import OpenTelemetry
    from flask_wshandler.prometheus import PrometheusMetrics

    app = flask.Flask("app")
    app.config.update({settings})
    sockets = WebSockets(app)
    observers = PrometheusMetrics(app), OpenTelemetry(app)
    sockets.route("/handler")(type("Handler", (WebSocketHandler,), {{}}))
    sockets.route("/function")(lambda ws: None)
    users = WebSocketCollection("chat"), WebSocketCollection(), WebSocketGroups("rooms")
    groups = users[2]["lobby"], app.extensions

    NATIVE = (
        type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event,
        threading.Semaphore, threading.Thread, threading.local, socket.socket, select.epoll,
        type(select.poll()),
    )
    CONTAINERS = (
        dict, list, tuple, set, frozenset, collections.deque, types.FunctionType, types.MethodType,
        types.CellType, functools.partial, classmethod, staticmethod, property,
    )
    seen, found = set(), []

    def parts_of(thing):
        if isinstance(thing, dict):
            return [(repr(key)[:40], value) for key, value in thing.items()]
        if isinstance(thing, types.FunctionType):
            return [("closure", thing.__closure__), ("defaults", thing.__defaults__)]
        if isinstance(thing, types.MethodType):
            return [("self", thing.__self__)]
        if isinstance(thing, types.CellType):
            try:
                return [("cell", thing.cell_contents)]
            except ValueError:
                return []
        if isinstance(thing, functools.partial):
            return [("function", thing.func), ("arguments", (thing.args, thing.keywords))]
        if isinstance(thing, (list, tuple, set, frozenset, collections.deque)):
            return [("item", each) for each in thing]
        names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        parts = [(name, getattr(thing, name)) for name in names if hasattr(thing, name)]
        return parts + list(getattr(thing, "__dict__", {{}}).items())

    def is_ours(thing):
        kind = thing if isinstance(thing, type) else type(thing)
        return kind.__module__.partition(".")[0] == "flask_wshandler"

    waiting = [
        (name, vars(module)) for name, module in sys.modules.items()
        if name.partition(".")[0] == "flask_wshandler"
    ]
    waiting += [("users", users), ("sockets", sockets), ("observers", observers), ("app", groups)]
    while waiting:
        path, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, NATIVE):
            found.append(path)
        elif isinstance(thing, CONTAINERS) or is_ours(thing):
            waiting += [(f"{{path}}.{{name}}", part) for name, part in parts_of(thing)]
    assert len(seen) > 3000, len(seen)
    print("\\n".join(found))
"""


@pytest.mark.parametrize(
    "settings", ["", "WSHANDLER_BUS='redis://127.0.0.1:1'", "WSHANDLER_SLOW_CALLBACK_S=1"]
)
def test_nothing_native_is_there_before_the_first_use(settings):
    """No lock, event, thread, socket or poll object in all that import and `init_app` make."""
    program = textwrap.dedent(ALL_OF_IT.format(settings=settings))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


class Thing:
    made_by = MadeOnFirstUse(lambda thing: (thing, os.getpid(), object()))


def in_child(check):
    """Whether `check()` is true in a forked child."""
    pid = os.fork()
    if pid == 0:
        is_right = False
        try:
            is_right = check()
        finally:
            os._exit(0 if is_right else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_it_is_made_once_for_each_object_and_process():
    """A forked child has one of its own, and the parent keeps its own."""
    one, other = Thing(), Thing()
    made = one.made_by
    assert one.made_by is made
    assert made[:2] == (one, os.getpid())
    assert other.made_by is not made
    assert in_child(lambda: one.made_by is not made and one.made_by[1] == os.getpid())
    assert one.made_by is made


def test_all_threads_get_the_same():
    """Also those that come while it is made."""
    both_make = threading.Barrier(2)

    class Slow:
        lock = MadeOnFirstUse(lambda _: (both_make.wait(DEADLINE_S), object()))

    slow, got = Slow(), []
    threads = [threading.Thread(target=lambda: got.append(slow.lock)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] is got[1]


def test_a_lock_that_is_held_during_a_fork_is_free_in_the_child():
    """The thread that holds it is not there."""
    lock = ModuleLock()

    def can_be_taken():
        with lock:
            return True

    with lock:
        assert in_child(can_be_taken)
