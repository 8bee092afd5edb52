"""A peer that runs, and what it takes of the machine."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .environment import PEER_APPS, Environment
from .failure import MeasurementError
from .peers import Peer

START_DEADLINE_S = 60
STOP_DEADLINE_S = 15
OTHER_WORKERS_S = 1.0
"""From the first worker's answer until the others are there."""
SPARE_THREADS = 16
"""Beside those of the clients, where a client takes a thread."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What a server has to be made for."""

    clients: int
    workers: int = 1
    is_compressed: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """Of all processes of a server: what is their own, with their share of what they share."""

    pss_bytes: int
    threads: int


class Server:
    """The processes of a peer, on cores of their own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port

    @property
    def pids(self) -> list[int]:
        """The program's and its descendants'."""
        found = [self._process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, children.read_text().split())
        return found

    def memory(self) -> Memory:
        """Now. What the kernel keeps for sockets is not in it."""
        pss_bytes = threads = 0
        for pid in self.pids:
            pss_bytes += 1024 * _figure(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
            threads += _figure(Path(f"/proc/{pid}/status"), "Threads:")
        return Memory(pss_bytes, threads)


def _figure(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise MeasurementError(f"{path} has no line {name}")


def pin(cores: set[int]) -> Callable[[], None]:
    """What a child does first: run on these cores, and open as many files as it may."""

    def apply() -> None:
        os.sched_setaffinity(0, cores)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return apply


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asked:
        try:
            asked.request("GET", "/")
            asked.getresponse()
            return True
        except (OSError, http.client.HTTPException):
            return False


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until_s = time.monotonic() + START_DEADLINE_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > until_s:
            raise MeasurementError(f"the server does not start\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        # Its own session, so these are its processes only.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def running(
    peer: Peer, demands: Demands, environment: Environment, cores: set[int]
) -> Iterator[Server]:
    """A server that has just been started and answers."""
    port = _free_port()
    command = [
        part.format(port=port, workers=demands.workers, threads=demands.clients + SPARE_THREADS)
        for part in peer.command
    ]
    program = environment.find(command[0])
    if program is None:
        raise MeasurementError(f"{command[0]} is not installed")
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        log = Path(directory) / "log"
        variables = (
            environment.variables
            | dict(peer.environment)
            | {
                "HOME": directory,
                "XDG_RUNTIME_DIR": directory,
            }
        )
        if demands.is_compressed:
            variables["COMPRESSION"] = "1"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *command[1:]],
                cwd=PEER_APPS,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=pin(cores),
            )
        try:
            _wait_until_it_answers(process, port, log)
            if demands.workers > 1:
                time.sleep(OTHER_WORKERS_S)
            yield Server(process, port)
        finally:
            _stop(process)
