"""A log handler that takes seconds holds up whoever has caused the line, and nobody else."""

import contextlib
import signal
import threading
import time

import pytest
from websockets.frames import Opcode

from .wire import close, frame, text

SECONDS = 3.0
"""For a line of the log."""

LONGEST_PAUSE_S = 1.5
"""Between two ticks of a broadcast, and for an answer: half of what one line takes."""
CROWD = 40
"""More than there are threads for callbacks, each of which causes a line."""


class Listener:
    """A client that answers pings, and notes when each tick and each answer came."""

    def __init__(self, server):
        self._client = server.raw("/ws")
        self.ticks = []
        self.pings = 0
        self._longest_answer_s = 0.0
        self.close = None
        self._asked_s = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        with contextlib.suppress(OSError, ValueError):  # the test has ended, and closed it
            self._listen_to_all()

    def _listen_to_all(self):
        self._ask()
        while (found := self._client.read_frame()) is not None:
            opcode, payload = found
            if opcode is Opcode.PING:
                self.pings += 1
                self._client.send(frame(Opcode.PONG, payload))
            elif payload.startswith(b"tick"):
                self.ticks.append(time.monotonic())
            elif payload.startswith(b"echo"):
                self._longest_answer_s = self.longest_answer_s()
                time.sleep(0.05)
                self._ask()
            elif opcode is Opcode.CLOSE:
                self.close = payload
                return

    def _ask(self):
        self._asked_s = time.monotonic()
        self._client.send(text("x"))

    def end(self):
        self._client.reset()
        self._thread.join()

    def longest_answer_s(self):
        """Also of one that has not come."""
        return max(self._longest_answer_s, time.monotonic() - self._asked_s)

    def longest_pause_s(self):
        return max(b - a for a, b in zip(self.ticks, self.ticks[1:], strict=False))


def leave(server):
    """Causes a line of the access log, in whatever thread runs its last callback."""
    client = server.raw("/ws")
    client.send(close())
    return client


def fail(server):
    client = server.raw("/ws")
    client.send(text("raise"))
    return client


def tell(order):
    def told(server):
        client = server.raw("/ws")
        client.send(text(order))
        return client

    return told


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("gthread", "handler"),
        ("gthread", "filter"),
        ("gthread", "formatter"),
        ("gevent", "handler"),
    ],
)
def test_others_notice_nothing(start, kind, place):
    """Lines of many clients that leave or fail, of the bus's thread and of the timer's."""
    server = start(kind, app="tests.live.slow_logs_app:app", PLACE=place, SECONDS=SECONDS)
    listener = Listener(server)
    server.wait_for(lambda: len(listener.ticks) > 3, "ticks")
    clients = [tell("vanish")(server), tell("sleep")(server)]
    clients += [(leave if index % 2 else fail)(server) for index in range(CROWD)]
    pings = listener.pings
    until_s = time.monotonic() + 1.3 * SECONDS
    server.wait_for(lambda: time.monotonic() > until_s, "the end of the first lines")
    assert listener.close is None
    assert listener.pings > pings
    assert listener.longest_pause_s() < LONGEST_PAUSE_S
    assert listener.longest_answer_s() < LONGEST_PAUSE_S
    for client in [listener, *clients]:
        client.end()
    for pid in server.workers:  # which would write lines for two minutes
        server.signal_until_gone(pid, signal.SIGKILL)
