"""A worker that has served many clients is as large as one that has served some.

SOAK_CYCLES=200000 tests/run tests/soak         # connect, one message, close
SOAK_SECONDS=3600 tests/run tests/soak          # 200 clients that stay
"""

import os
import re
import selectors
import threading
import time
from pathlib import Path

import pytest
from websockets.frames import Opcode

from tests.live.serving import Server
from tests.live.wire import close, frame, text

pytestmark = pytest.mark.alone

CYCLES = int(os.environ.get("SOAK_CYCLES", "2000"))
CHAT_S = float(os.environ.get("SOAK_SECONDS", "5"))
WARM_UP_CYCLES = max(1000, CYCLES // 4)
"""The allocator settles late: 20,000 cycles after the first 1,000 took another 0.8 MB, the last
40,000 of 180,000 a tenth of that."""
CLIENT_THREADS = 4
CHATTING_CLIENTS = 200
LATE_S = 60

SLACK_KIB = 3 * 1024
"""What the allocator may do; in 2,000 cycles, a leak of 1.5 kB each is more."""
SLACK_DESCRIPTORS = 2
SLACK_THREADS = 4  # gunicorn's pool grows to `--threads` when it has to


def size_of(pid):
    """Memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])


@pytest.fixture(params=["sync", "gthread"])
def server(request, tmp_path):
    running = Server(
        request.param,
        tmp_path,
        app="tests.hostile.app:app",
        in_earnest=True,
        # Else glibc gives each thread memory of its own, at its leisure.
        MALLOC_ARENA_MAX=1,
    )
    yield running
    running.stop()


class Figures:
    """What a worker holds when it has no clients."""

    def __init__(self, server):
        server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")
        self.server = server
        self.pid = server.worker_pid
        self.memory_kib = size_of(self.pid)
        self.descriptors = server.descriptors_of(self.pid)
        self.threads = server.threads_of(self.pid)

    def check_since(self, before):
        """No more than `before`, give or take the slack; waits for what takes its time."""
        assert self.pid == before.pid
        assert self.memory_kib - before.memory_kib <= SLACK_KIB
        self.server.wait_for(
            lambda: self.server.descriptors_of(self.pid) <= before.descriptors + SLACK_DESCRIPTORS,
            f"return to {before.descriptors} descriptors",
        )
        self.server.wait_for(
            lambda: self.server.threads_of(self.pid) <= before.threads + SLACK_THREADS,
            f"return to {before.threads} threads",
            LATE_S,
        )


def cycle(server, number):
    """One client: it comes, says something, and leaves in one of several manners."""
    with server.raw("/echo") as client:
        assert client.status == 101
        message = f"{number} " + "x" * (number % 500)
        client.send(text(message))
        assert client.read_text() == message
        if number % 4 == 0:
            client.reset()
        elif number % 4 == 1:
            client.end()
        else:
            client.send(close(1000))
            assert client.read_close()[0] == 1000


def run_cycles(server, count):
    """So many clients, some at a time. Raises what one of them has raised."""
    failures = []

    def run(first):
        try:
            for number in range(first, count, CLIENT_THREADS):
                cycle(server, number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(CLIENT_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.end_clients()
    if failures:
        raise failures[0]


def test_clients_that_come_and_go_leave_nothing(server):
    """Memory, descriptors and threads after many of them are those after some."""
    run_cycles(server, WARM_UP_CYCLES)
    before = Figures(server)
    run_cycles(server, CYCLES)
    Figures(server).check_since(before)
    assert "Traceback" not in server.log


def answer_of(client):
    """The answer to what the client has sent; a ping that comes before it is answered."""
    opcode, payload = client.read_frame()
    while opcode is Opcode.PING:
        client.send(frame(Opcode.PONG, payload))
        opcode, payload = client.read_frame()
    assert opcode is Opcode.TEXT
    return payload.decode()


def chat(server, seconds):
    """Clients that each send again when they are answered; how many messages that were."""
    clients = {}
    with selectors.DefaultSelector() as selector:
        for number in range(CHATTING_CLIENTS):
            client = server.raw("/echo")
            assert client.status == 101
            selector.register(client.socket, selectors.EVENT_READ, client)
            clients[client] = f"{number} " + "x" * (10 * number)
            client.send(text(clients[client]))
        count = 0
        until_s = time.monotonic() + seconds
        while clients:
            ready = selector.select(LATE_S)
            assert ready, f"{len(clients)} clients were not answered"
            for key, _ in ready:
                client = key.data
                assert answer_of(client) == clients[client]
                count += 1
                if time.monotonic() < until_s:
                    client.send(text(clients[client]))
                else:
                    selector.unregister(client.socket)
                    del clients[client]
    server.end_clients()
    return count


def test_clients_that_stay_and_talk_leave_nothing(server):
    """200 of them, without a pause; every message is answered with itself."""
    chat(server, CHAT_S / 5)
    before = Figures(server)
    assert chat(server, CHAT_S) > CHATTING_CLIENTS
    Figures(server).check_since(before)
    assert "Traceback" not in server.log
