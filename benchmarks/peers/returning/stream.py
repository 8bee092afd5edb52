"""What the Python programs of `losses` have in common: numbers at a fixed rate, and what has come.

A server begins to send when it is asked to by `/begin`, and says on `/came` what has come to it. A
client does so by its standard input and output, in lines: see `talk`.
"""

import json
import sys
import threading
import time

from flask import request


def send_numbers(count, rate, send):
    """0, 1, 2 and so on, each when it is due."""
    started_s = time.monotonic()
    for number in range(count):
        time.sleep(max(started_s + number / rate - time.monotonic(), 0))
        send(number)


class Ends:
    """How far one end of the stream is: what has come, in order, and whether it has sent all."""

    def __init__(self):
        self.came = []
        self.has_sent = False

    def begin(self, count, rate, send):
        """Send, in a thread."""
        threading.Thread(target=self._send, args=(count, rate, send), daemon=True).start()

    def _send(self, count, rate, send):
        send_numbers(count, rate, send)
        self.has_sent = True

    def report(self):
        """For the measurement."""
        return {"came": self.came, "has_sent": self.has_sent}


def add_pages(app, end, send):
    """Let a server be told and asked."""

    @app.get("/")
    def index():
        return "ok"

    @app.post("/begin")
    def begin():
        end.begin(int(request.args["count"]), float(request.args["rate"]), send)
        return "ok"

    @app.get("/came")
    def came():
        return end.report()


def talk(end, count, rate, send):
    """A client once it is connected: say so, begin when told to, report when asked."""
    print(json.dumps(end.report()), flush=True)
    for line in sys.stdin:
        if line == "begin\n":
            end.begin(count, rate, send)
        print(json.dumps(end.report()), flush=True)
