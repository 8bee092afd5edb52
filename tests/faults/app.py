"""An app whose system calls can be made to fail, and whose hooks can be made to misbehave."""

# ruff: noqa: E402  # the calls are replaced before anything has taken them
from . import injection

injection.install()

import contextlib
import dataclasses
import json
import os
import threading
import time

from flask import Flask, session

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets, bus
from flask_wshandler.prometheus import PrometheusMetrics

from . import hooks

BUS_NAME = f"faults {os.environ['XDG_RUNTIME_DIR']}"

app = Flask(__name__)
app.secret_key = "secret"
app.config["WSHANDLER_BUS_NAME"] = BUS_NAME
for key, value in os.environ.items():
    if key.startswith("WSHANDLER_"):
        app.config[key] = json.loads(value)
sockets = WebSockets(app)
PrometheusMetrics(app, path="/metrics", registry=None)

clients = WebSocketCollection("all")
raised = []
"""What a call that must not raise has raised."""


class Newcomer:
    """Another member of the bus, in this process, which joins while calls fail."""

    def __init__(self):
        self.bus = bus.connect(app.config.get("WSHANDLER_BUS", "local"), BUS_NAME)
        self.bus.attach(lambda came: None)
        self.bus.subscribe("c:all")
        self.bus.wait_until_subscribed(0)

    def say(self, text):
        self.bus.publish(bus.Kind.TEXT, "c:all", text.encode())


newcomers = []
"""The last one, if any."""


def figures():
    return {
        "pid": os.getpid(),
        "sockets": dataclasses.asdict(sockets.stats()),
        "bus": dataclasses.asdict(sockets.bus_stats()),
        "raised": raised,
        "hits": injection.hits,
        "newcomer_is_up": all(each.bus.is_up for each in newcomers),
        "has_timer": any(each.name == "wshandler-timer" for each in threading.enumerate()),
    }


@app.get("/stats")
def stats():
    return figures()


@app.get("/fail/<error>/<float:seconds>")
def fail(error, seconds):
    """Before the first WebSocket of this process."""
    injection.fail(injection.CALLS, error, seconds)
    return {}


@sockets.route("/ws")
class Member(WebSocketHandler):
    """Says which process serves it, then does as it is told: a JSON list per message."""

    def on_open(self):
        self.itself = self  # garbage that only the collector finds
        clients.add(self)
        self.send(json.dumps({"pid": os.getpid()}))

    def on_text(self, message):
        method, *arguments = json.loads(message)
        getattr(self, method)(*arguments)

    def on_close(self):
        clients.broadcast("gone")

    def __del__(self):
        hooks.act("del")

    def say(self, text):
        clients.broadcast(text)

    def say_as_newcomer(self, text):
        if not newcomers:
            newcomers.append(Newcomer())
        newcomers[0].say(text)

    def echo(self, text):
        self.send(text)

    def figures(self, number):
        self.send(f"figures {number} {json.dumps(figures())}")

    def fail(self, calls, error, seconds):
        """Have all these calls fail together, with this process's own traffic meanwhile."""
        raised.clear()
        while newcomers:
            newcomers.pop().bus.close()
        injection.fail(calls, error, seconds)
        newcomers.append(Newcomer())
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            try:
                clients.broadcast("tick")
                clients.count()
                newcomers[0].say("tick")
            except Exception as found:  # of which there must be none
                raised.append(repr(found))
            time.sleep(0.005)

    def fail_in_turn(self, calls, errors, seconds):
        """Have them fail one after the other."""
        for call, error in zip(calls, errors, strict=True):
            self.fail([call], error, seconds)
        self.send("done")

    # Hooks.

    def misbehave(self, hook, how):
        self.send("done")
        hooks.misbehave(hook, how)

    def explode(self):
        raise ValueError("as it was told")

    def use_all(self):
        """Whatever runs a hook."""
        session["seen"] = True
        with contextlib.suppress(hooks.Misbehaved, SystemExit):
            self.send_json({"some": "object"})
        hooks.make_garbage()
        clients.broadcast("with garbage")

    def vanish(self):
        """Have the bus's socket removed from the run directory, as a cleaner does."""
        for path in hooks.own_sockets():
            path.unlink()


hooks.install(app, clients, sockets)
