"""An app whose logging takes seconds for each line, in one of the places where it can."""

import json
import logging
import os
import threading
import time

from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from tests.faults.hooks import own_sockets

SECONDS = json.loads(os.environ["SECONDS"])
"""For a line that belongs to this package."""

app = Flask(__name__)
app.config.update(
    WSHANDLER_BUS_NAME=f"slow logs {os.environ['XDG_RUNTIME_DIR']}",
    WSHANDLER_PING_INTERVAL=0.2,
    WSHANDLER_PING_TIMEOUT=1.0,
    WSHANDLER_SLOW_CALLBACK_S=0.1,
)
sockets = WebSockets(app)
clients = WebSocketCollection("all")


def take_time(record):
    if record.name.startswith(("flask_wshandler", app.name)):
        time.sleep(SECONDS)


class SlowHandler(logging.StreamHandler):
    def emit(self, record):
        take_time(record)
        super().emit(record)


class SlowFormatter(logging.Formatter):
    def format(self, record):
        take_time(record)
        return super().format(record)


def slow_filter(record):
    take_time(record)
    return True


def install(place):
    handler = SlowHandler() if place == "handler" else logging.StreamHandler()
    if place == "formatter":
        handler.setFormatter(SlowFormatter())
    if place == "filter":
        handler.addFilter(slow_filter)
    logging.getLogger().addHandler(handler)
    app.logger.handlers.clear()
    logging.getLogger("flask_wshandler.access").setLevel(logging.INFO)


install(json.loads(os.environ["PLACE"]))


def tick():
    while True:
        clients.broadcast(f"tick {time.monotonic()}")
        time.sleep(0.05)


@app.get("/stats")
def stats():
    return {"pid": os.getpid(), "connections": sockets.stats().connections}


@sockets.route("/ws")
class Member(WebSocketHandler):
    ticks = None

    def on_open(self):
        clients.add(self)
        if Member.ticks is None:
            Member.ticks = threading.Thread(target=tick, daemon=True)
            Member.ticks.start()

    def on_text(self, message):
        if message == "vanish":
            for path in own_sockets():
                path.unlink()  # which the bus's thread logs
        elif message == "sleep":
            time.sleep(1)  # which the timer's thread logs
        elif message == "raise":
            raise ValueError("as it was told")
        else:
            self.send(f"echo {message}")
