"""The app of the servers under test with signal handlers of its own, named by OWN_HANDLERS."""

import functools
import json
import os
import signal
import sys
import threading

from tests.live.app import app
from tests.notes import note

_WORKERS = ("SIGTERM", "SIGQUIT", "SIGINT", "SIGABRT", "SIGUSR1", "SIGWINCH")


def chain(before, number, frame):
    """As Sentry, ddtrace and others do."""
    if callable(before):
        before(number, frame)


def leave(number, frame):
    sys.exit(0)


def set_flag(number, frame):
    app.config["IS_STOPPING"] = True


def install(name):
    for each in _WORKERS if name.startswith("all: ") else ("SIGTERM",):
        number = getattr(signal, each)
        before = signal.getsignal(number)
        handlers = {
            "chain": lambda number, frame, before=before: chain(before, number, frame),
            "partial": functools.partial(chain, before),
            "leave": leave,
            "keep": set_flag,
            "ignore": signal.SIG_IGN,
        }
        signal.signal(number, handlers[name.removeprefix("all: ")])


if threading.current_thread() is threading.main_thread():
    install(json.loads(os.environ["OWN_HANDLERS"]))


@app.get("/for-ever")
def for_ever():
    note("waiting")
    threading.Event().wait(60)
    return ""
