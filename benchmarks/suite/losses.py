"""What is lost, doubled and disordered on a network that cuts connections, both ways at once."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from .environment import PEER_APPS
from .failure import MeasurementError
from .measurements import Bench
from .proxy import CuttingProxy
from .results import Sample
from .server import pin

MESSAGES = 5000
"""Each way."""
RATE = 125.0
LONGEST_LIFE_S = 4.0
"""Of a connection."""
DEADLINE_S = 110.0
POLL_S = 0.25
QUIET_S = 15.0
"""When nothing has come for so long that a silence would have been noticed, nothing will."""


@dataclass(frozen=True, slots=True)
class End:
    """The numbers that have come to one end, in order, and whether it has sent all of its own."""

    came: list[int]
    has_sent: bool

    @classmethod
    def of(cls, line: str | bytes) -> End:
        """From JSON."""
        return cls(**json.loads(line))

    def faults(self, messages: int, direction: str) -> Sample:
        """How many of the other end's messages have each."""
        # Each when it has come for the first time.
        firsts = list(dict.fromkeys(self.came))
        highest_so_far = itertools.accumulate(firsts, max)
        return {
            f"{direction}_lost": float(messages - len(firsts)),
            f"{direction}_twice": float(len(self.came) - len(firsts)),
            f"{direction}_late": float(
                sum(
                    number < highest for number, highest in zip(firsts, highest_so_far, strict=True)
                )
            ),
        }


class Client:
    """A program that is connected, and comes back."""

    def __init__(self, process: subprocess.Popen[str], log: IO[bytes]) -> None:
        self._process = process
        self._log = log

    def ask(self, line: str = "report") -> End:
        """Tell it to begin, or only to report."""
        if self._process.stdin is None:
            raise ValueError("has no standard input")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        return self.read()

    def read(self) -> End:
        """Its next report; the first one is there when it is connected."""
        if self._process.stdout is None:
            raise ValueError("has no standard output")
        if line := self._process.stdout.readline():
            return End.of(line)
        self._log.seek(0)
        complaint = self._log.read().decode(errors="replace").strip()
        raise MeasurementError(complaint.splitlines()[-1] if complaint else "no client any more")


@contextlib.contextmanager
def _running(bench: Bench, port: int, messages: int, rate: float) -> Iterator[Client]:
    """The peer's client, on the load's core; killed when its time is over, whatever it does."""
    name, *arguments = bench.peer.client
    program = bench.environment.find(name)
    if program is None:
        raise MeasurementError(f"{name} is not installed")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [program, *arguments, str(port), str(messages), str(rate)],
            cwd=PEER_APPS,
            env=bench.environment.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=pin({bench.load.core}),
        )
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        try:
            yield Client(process, log)
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()


def losses(
    bench: Bench,
    *,
    messages: int = MESSAGES,
    rate: float = RATE,
    longest_life_s: float = LONGEST_LIFE_S,
    quiet_s: float = QUIET_S,
) -> Sample:
    """Both ends send numbers: the cuts, and what is wrong with what has come at either end."""
    server = f"http://127.0.0.1:{bench.server.port}"
    with (
        CuttingProxy(bench.server.port, longest_life_s) as proxy,
        _running(bench, proxy.port, messages, rate) as client,
    ):
        client.read()
        proxy.begin()
        _read(f"{server}/begin?count={messages}&rate={rate}", b"")
        client.ask("begin")

        def ask() -> tuple[End, End]:
            return End.of(_read(f"{server}/came")), client.ask()

        time.sleep(messages / rate)
        _wait(ask, lambda end: end.has_sent, quiet_s)
        proxy.spare()
        of_server, of_client = _wait(ask, lambda end: len(set(end.came)) == messages, quiet_s)
    faults = {**of_server.faults(messages, "up"), **of_client.faults(messages, "down")}
    return {"cuts": float(proxy.cuts), **faults, "faults": sum(faults.values())}


def _read(url: str, data: bytes | None = None) -> bytes:
    try:
        with urllib.request.urlopen(url, data, timeout=DEADLINE_S) as response:
            content: bytes = response.read()
    except OSError as error:
        raise MeasurementError(f"{url}: {error}") from error
    return content


def _wait(
    ask: Callable[[], tuple[End, End]], is_done: Callable[[End], bool], quiet_s: float
) -> tuple[End, End]:
    """Until both are done, or nothing has come any more."""
    last = ask()
    changed_s = time.monotonic()
    while not all(map(is_done, last)) and time.monotonic() < changed_s + quiet_s:
        time.sleep(POLL_S)
        now = ask()
        if now != last:
            last, changed_s = now, time.monotonic()
    return last
