"""What a message costs in processor time, as a multiple of a fixed piece of Python.

A program: it prints the multiples as JSON. Clients in its main thread are served by the real engine
in the others, and what counts is the time that the other threads take. Both sides are measured in
turns. What else runs on the machine makes rounds dearer, as it takes the caches, so only the
cheapest rounds are compared: with two busy loops beside it on two cores, 15 runs were within 4 %
of their median.

    python -m tests.core.cost
"""

import contextvars
import json
import os
import socket
import statistics
import sys
import threading
import time

from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_wshandler import WebSocketHandler, WebSockets

ROUNDS = 300
CLIENTS = 20
TOGETHER = 10
STEPS = 400
"""Of the yardstick in a round: as long as the other side's part."""

PAYLOAD = b"a message of thirty-two bytes..."
FRAME = b"\x81\xa0\0\0\0\0" + PAYLOAD
ECHO = b"\x81\x20" + PAYLOAD
HANDSHAKE = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

app = Flask(__name__)
sockets = WebSockets(app)


@sockets.route("/echo")
class Echo(WebSocketHandler):
    """Answers a message with the same."""

    def on_message(self, message):
        self.send(message)


def connect():
    """A client's socket, behind its handshake with the app."""
    ours, client = socket.socketpair()
    environ = EnvironBuilder("/echo", headers=HANDSHAKE).get_environ()
    environ["gunicorn.socket"] = ours
    response, status, _ = run_wsgi_app(app, environ)
    assert status.startswith("101"), status
    # The socket is taken over meanwhile.
    assert b"".join(response) == b""
    response.close()
    ours.close()
    return client


def echo_ns(clients, count):
    """Each client sends so many messages in one go; the servers' time for one of them."""
    started_ns = time.process_time_ns() - time.thread_time_ns()
    for client in clients:
        client.sendall(FRAME * count)
    for client in clients:
        missing = len(ECHO) * count
        while missing:
            missing -= len(client.recv(65536))
    ended_ns = time.process_time_ns() - time.thread_time_ns()
    return (ended_ns - started_ns) / (len(clients) * count)


_speaker = contextvars.ContextVar("speaker")


class Yardstick:
    """Does what a message needs at the least: calls, a lock, a context, bytes. Never changes."""

    __slots__ = ("_is_closed", "_lock", "_names", "_out")

    def __init__(self):
        self._is_closed = False
        self._lock = threading.Lock()
        self._names = {}
        self._out = []

    def take(self, data):
        first, text = self._open(data)
        if first & 15 == 1:
            self._handle(text)
        return self._flush()

    def _open(self, data):
        size = data[1] & 127
        mask = int.from_bytes(data[2:6] * 8, "little")
        payload = int.from_bytes(data[6 : 6 + size], "little") ^ mask
        return data[0], payload.to_bytes(size, "little").decode()

    def _handle(self, text):
        token = _speaker.set(self)
        try:
            self._call(text)
        finally:
            _speaker.reset(token)

    def _call(self, text):
        self._names[text] = self
        self._answer(text)
        self._names.pop(text)

    def _answer(self, text):
        if not self._may_send(text):
            return False
        with self._lock:
            self._out.append(self._frame(text))
            return True

    def _may_send(self, text):
        return not self._is_closed and isinstance(text, (str, bytes))

    def _frame(self, text):
        data = text.encode()
        return bytes((0x81, len(data))) + data

    def _flush(self):
        with self._lock:
            out = b"".join(self._out)
            self._out.clear()
        return out


def yardstick_ns(yardstick):
    """Of one step."""
    started_ns = time.thread_time_ns()
    for _ in range(STEPS):
        yardstick.take(FRAME)
    return (time.thread_time_ns() - started_ns) / STEPS


def calls_ns(ends):
    """Of one call of the kernel to write, and one to read."""
    one, other = ends
    started_ns = time.thread_time_ns()
    for _ in range(STEPS // 2):
        one.send(FRAME)
        other.recv(4096)
    return (time.thread_time_ns() - started_ns) / (STEPS // 2)


def cheap(values):
    """The second percentile."""
    return statistics.quantiles(values, n=50)[0]


def fairly_cheap(values):
    """The tenth percentile: a yardstick that is shortened by one lucky round is none."""
    return statistics.quantiles(values, n=10)[0]


def measure():
    """The cost of a message that comes with others, and of one that comes alone."""
    clients = [connect() for _ in range(CLIENTS)]
    echo_ns(clients, 1)
    yardstick, ends = Yardstick(), socket.socketpair()
    together, alone, of_python, of_calls = [], [], [], []
    for _ in range(ROUNDS):
        of_python.append(yardstick_ns(yardstick))
        together.append(echo_ns(clients, TOGETHER))
        of_calls.append(calls_ns(ends))
        alone += [echo_ns(clients, 1) for _ in range(4)]
    python_ns, kernel_ns = fairly_cheap(of_python), fairly_cheap(of_calls)
    return {
        "together": cheap(together) / python_ns,
        "alone": cheap(alone) / (python_ns + kernel_ns),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
    sys.stdout.flush()
    os._exit(0)  # a clean stop takes longer than all of it
