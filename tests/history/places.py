"""Where logs are, for tests: each kind of log, how it is opened, and by whom.

A new kind is a class here and a name in `PLACES`: `test_contract.py` holds it to the contract.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from flask_wshandler.bus import connect
from flask_wshandler.history.log import DEFAULT_SIZE_BYTES, Draft, LogBusy
from flask_wshandler.history.memory_log import MemoryLog
from flask_wshandler.history.redis_log import RedisLog
from flask_wshandler.history.sqlite_log import SqliteLog
from tests.bus.networks import RedisServer
from tests.deadlines import DEADLINE_S, wait_for


class Clock:
    """The time of day of a log."""

    def __init__(self):
        self.now_s = 1_000_000_000.0

    def __call__(self):
        return self.now_s


class Place:
    """A log, as of one test; processes that are given its `address` find the same."""

    #: Whether other processes find it, and it is still there when all are gone.
    is_shared = True
    #: So many messages more than was asked for may be counted by `size` before `tidy`.
    slack = 0
    #: Whether what is too much in all is dropped at once, and not by `tidy` alone.
    fits_at_once = True
    #: Whether its time is `clock`'s alone.
    has_clock = True

    def __init__(self, address=None):
        """Make a place, or go to one by its `address`."""
        self.address = address
        self.clock = Clock()

    def open(self, size_bytes=DEFAULT_SIZE_BYTES):
        """Another object for the same log."""
        raise NotImplementedError

    def put(self, log, topic, text, bounds, **options):
        """Append a text; where it is. A log that `carries` has to look for it."""
        return log.append(topic, Draft(True, text.encode()), bounds, **options)

    def insist(self, log, topic, text, bounds):
        """Put a text, while others do on a busy machine: what has failed was not appended."""
        until_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.put(log, topic, text, bounds)
            except LogBusy:
                assert time.monotonic() < until_s

    def pass_time(self, seconds):
        """Let time pass."""
        self.clock.now_s += seconds

    def stop(self):
        """Remove it."""


class MemoryPlace(Place):
    is_shared = False

    def open(self, size_bytes=DEFAULT_SIZE_BYTES):
        return MemoryLog(size_bytes, self.clock)


class SqlitePlace(Place):
    slack = 256

    def __init__(self, address=None):
        super().__init__(address or tempfile.mkdtemp(prefix="ws-"))
        self.is_mine = address is None

    @property
    def file(self):
        """The file of the log, of which there is one."""
        (found,) = Path(self.address).glob("*/*.history")
        return found

    def open(self, size_bytes=DEFAULT_SIZE_BYTES):
        # Nothing is looked for before the first use.
        os.environ["XDG_RUNTIME_DIR"] = self.address
        return SqliteLog("test", size_bytes, self.clock)

    def stop(self):
        if self.is_mine:
            shutil.rmtree(self.address, ignore_errors=True)


class AwaitedLog(RedisLog):
    """A log that carries, whose `append` waits for what would come by the bus."""

    def append(self, topic, draft, bounds, **options):
        before = self.last_of([topic])[topic].number
        super().append(topic, draft, bounds, **options)

        def place():
            page = self.read(topic, before)
            for entry in page.entries:
                if Draft(*entry[1:4]) == draft:
                    return page.last._replace(number=entry.number)
            return None

        return wait_for(place, "message in the log")

    def close(self):
        super().close()
        self._bus.close()


class RedisPlace(Place):
    """A Redis of its own, whose clock is the system's."""

    fits_at_once = False
    has_clock = False

    def __init__(self, address=None):
        super().__init__(address)
        self._server = None
        if address is None:
            self._directory = tempfile.TemporaryDirectory()
            self._server = RedisServer(Path(self._directory.name))
            self.address = self._server.url

    def open(self, size_bytes=DEFAULT_SIZE_BYTES):
        return AwaitedLog(connect(self.address, "test"), size_bytes)

    def pass_time(self, seconds):
        # All that is there was so much earlier.
        moved_ms = int(seconds * 1000)
        if moved_ms < 10:
            return  # so much has passed by itself, nearly
        with self._server.client() as client:
            for name in client.keys("*:?log:*"):
                self._move_topic(client, name, name.replace(b":?log:", b":?entries:"), moved_ms)

    @staticmethod
    def _move_topic(client, name, stream, moved_ms):
        rest_ms = client.pttl(stream)
        entries = client.xrange(stream)
        client.delete(stream)
        for entry_id, fields in entries if rest_ms > moved_ms else []:
            number, _, at_ms = entry_id.partition(b"-")
            client.xadd(stream, fields, id=b"%s-%d" % (number, int(at_ms) - moved_ms))
            client.pexpire(stream, rest_ms - moved_ms)
        for field in ("oldest", "newest", "listed", "doubt"):
            client.hincrby(name, field, -moved_ms)

    def stop(self):
        if self._server is not None:
            self._server.stop()
            self._directory.cleanup()


PLACES = {"memory": MemoryPlace, "sqlite": SqlitePlace, "redis": RedisPlace}
SHARED = [kind for kind, place in PLACES.items() if place.is_shared]
