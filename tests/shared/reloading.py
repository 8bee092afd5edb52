"""Clients that come back whenever they are sent away, and what they have seen."""

import asyncio
import collections
import threading

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus


class ReturningClients:
    """Each sends numbered messages and expects an answer to all that the server has taken."""

    def __init__(self, url, count, interval_s):
        self.close_codes = collections.Counter()
        self.refusals = collections.Counter()
        self.failures = collections.Counter()
        self.answers = 0
        self.unanswered = []
        self.connected = 0
        self._url = url
        self._interval_s = interval_s
        self._loop = asyncio.new_event_loop()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, args=(count,))
        self._thread.start()

    def _run(self, count):
        self._loop.run_until_complete(self._run_all(count))
        self._loop.close()

    async def _run_all(self, count):
        await asyncio.gather(*(self._come_and_go(number) for number in range(count)))

    async def _come_and_go(self, number):
        while not self._is_over:
            try:
                async with connect(self._url, compression=None, open_timeout=30) as connection:
                    self.connected += 1
                    try:
                        await self._talk(connection, number)
                    finally:
                        self.connected -= 1
            except ConnectionClosed as closed:
                self.close_codes[closed.rcvd.code if closed.rcvd else 1006] += 1
            except InvalidStatus as refusal:
                self.refusals[refusal.response.status_code] += 1
            except (OSError, EOFError, InvalidHandshake) as failure:
                self.failures[repr(failure)] += 1
            await asyncio.sleep(0.01)

    async def _talk(self, connection, number):
        count = 0
        while not self._is_over:
            message = f"{number} {count}"
            count += 1
            await connection.send(message)
            answer = await connection.recv()
            if answer != message:
                self.unanswered.append((message, answer))
            self.answers += 1
            await asyncio.sleep(self._interval_s)

    def end(self):
        self._is_over = True
        self._thread.join(30)
        assert not self._thread.is_alive()
