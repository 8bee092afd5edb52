"""Many clients at once, on one thread of their own."""

import asyncio
import collections
import concurrent.futures
import contextlib
import json
import os
import signal
import threading
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.deadlines import DEADLINE_S


class Client:
    """One of them: what it was sent, and how it ended."""

    def __init__(self, connection, pid, id):
        self.connection = connection
        self.pid = pid
        self.id = id
        self.messages = []
        self.close_code = None
        self.close_reason = None

    def texts(self, prefix=""):
        return [m for m in self.messages if isinstance(m, str) and m.startswith(prefix)]


class Crowd:
    """Clients, opened and used from the test's thread."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks = set()
        self.clients = []

    def _run(self, coroutine):
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(DEADLINE_S)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    def join(self, url, count=1):
        """Open so many connections; each is a member when this returns."""
        joined = [self._run(self._open(url)) for _ in range(count)]
        self.clients += joined
        return joined

    def join_each(self, server, count):
        """Open so many connections to each worker of a server; the first of each worker.

        An idle worker would take all that come one after the other. So the others sleep.
        """
        first = []
        workers = server.workers
        for pid in workers:
            others = [other for other in workers if other != pid]
            for other in others:
                os.kill(other, signal.SIGSTOP)
            try:
                first.append(self.join(server.url("/ws"), count)[0])
            finally:
                for other in others:
                    os.kill(other, signal.SIGCONT)
        assert [client.pid for client in first] == workers
        return first

    async def _open(self, url):
        until_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                connection = await connect(url, compression=None, max_queue=None)
                first = json.loads(await connection.recv())
                break
            except (OSError, InvalidHandshake, ConnectionClosed, EOFError):
                # A worker that is just starting, stopping or being killed.
                assert time.monotonic() < until_s, f"no connection to {url}"
                await asyncio.sleep(0.02)
        client = Client(connection, first["pid"], first["id"])
        task = self._loop.create_task(self._read(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return client

    async def _read(self, client):
        with contextlib.suppress(ConnectionClosed):
            while True:
                client.messages.append(await client.connection.recv())
        client.close_code = client.connection.close_code
        client.close_reason = client.connection.close_reason

    def tell(self, client, *order):
        """Have a client's handler do something."""
        self._run(client.connection.send(json.dumps(order)))

    def leave(self, *clients):
        """Close properly."""
        for client in clients:
            self._run(client.connection.close())
            self.clients.remove(client)

    @property
    def pids(self):
        return collections.Counter(client.pid for client in self.clients)

    def wait_for(self, question, what, deadline_s=DEADLINE_S):
        until_s = time.monotonic() + deadline_s
        while not (answer := question()):
            assert time.monotonic() < until_s, f"no {what} in {deadline_s} s"
            time.sleep(0.01)
        return answer

    def wait_for_texts(self, prefix, texts, clients=None):
        """Each of the clients has got exactly these, in this order, of those with the prefix."""
        clients = self.clients if clients is None else clients
        for client in clients:
            self.wait_for(
                lambda client=client: len(client.texts(prefix)) >= len(texts),
                f"{len(texts)} messages {prefix!r} (has {len(client.texts(prefix))})",
            )
            assert client.texts(prefix) == texts

    def end(self):
        async def close_all():
            for client in self.clients:
                client.connection.transport.abort()
            while self._tasks:
                await asyncio.sleep(0.01)

        self._run(close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()
