"""The load generator's runs: from options to what it has printed."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

from .failure import MeasurementError
from .peers import Dialect, Peer
from .programs import Programs
from .server import Server, pin

DEADLINE_S = 180

_FLAGS: dict[Dialect, list[str]] = {
    Dialect.PLAIN: [],
    Dialect.SOCKETIO: ["--socketio"],
    Dialect.RESUMABLE: ["--resumable"],
}

Report = dict[str, Any]
"""The line of JSON: numbers, and objects and lists of numbers."""

_WORDS = (
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "box",
)


def text_of(size: int) -> str:
    """Words and numbers that are always the same, and deflate as prose does."""
    source = random.Random(size)
    text = ""
    while len(text) < size:
        text += f"{source.choice(_WORDS)} {source.randrange(10_000)} {source.choice(_WORDS)} "
    return text[:size]


def payload_of(size: int, dialect: Dialect, event: str, is_compressed: bool) -> bytes:
    """What is inside of the frames: `size` bytes of text, as a peer wants to have them."""
    text = text_of(size)
    if dialect is Dialect.SOCKETIO:
        text = f'42["{event}","{text}"]'
    elif dialect is Dialect.RESUMABLE:
        text = f"m{text}"
    if not is_compressed:
        return text.encode()
    # RFC 7692, section 7.2.1: without the four bytes that an empty block ends with.
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(b"\0\0\xff\xff")


class Generator:
    """A load generator that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def first_report(self) -> Report:
        """Wait for its first line; it goes on."""
        line = self._pipe(self._process.stdout).readline()
        return _parsed(line) if line else self.report()

    def report(self) -> Report:
        """Wait for its end; raises what it has complained about."""
        return _parsed(self._rest())

    def release(self) -> None:
        """Have it end that stays until it is told to; raises if it has not stayed so long."""
        self._pipe(self._process.stdin).close()
        self._process.stdin = None
        self._rest()

    def kill(self) -> None:
        """Whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _rest(self) -> str:
        try:
            printed, complaint = self._process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"no result after {DEADLINE_S} s") from None
        if self._process.returncode:
            raise MeasurementError(complaint.strip() or f"status {self._process.returncode}")
        return printed

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise ValueError("has been released")
        return pipe


def _parsed(line: str) -> Report:
    report: Report = json.loads(line)
    return report


class Load:
    """Clients for one server, on a core of their own."""

    def __init__(self, programs: Programs, server: Server, peer: Peer, core: int) -> None:
        self._programs = programs
        self._server = server
        self._peer = peer
        self.core = core

    def run(self, mode: str, **options: float | str | bool) -> Report:
        """Measure once, and wait for the result. Options are those of the program, and `size`."""
        with self.running(mode, **options) as generator:
            return generator.report()

    @contextlib.contextmanager
    def running(self, mode: str, **options: float | str | bool) -> Iterator[Generator]:
        """A load generator that has been started; it is gone at the end."""
        with tempfile.NamedTemporaryFile(prefix="payload-") as payload:
            payload.write(self._payload(options))
            payload.flush()
            generator = Generator(
                subprocess.Popen(
                    [*self._command(mode, options), f"--payload={payload.name}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    preexec_fn=pin({self.core}),
                )
            )
            try:
                yield generator
            finally:
                generator.kill()

    def _payload(self, options: dict[str, float | str | bool]) -> bytes:
        return payload_of(
            int(options.get("size", 32)),
            self._peer.dialect,
            str(options.get("path", "/echo")).removeprefix("/"),
            bool(options.get("compressed")),
        )

    def _command(self, mode: str, options: dict[str, float | str | bool]) -> list[str]:
        command = [str(self._programs.load), mode, f"--port={self._server.port}"]
        command.append(f"--server-pids={','.join(map(str, self._server.pids))}")
        path = str(options.get("path", "/echo"))
        is_page = mode == "http"
        command.append(f"--path={path if is_page else self._peer.path(path)}")
        if not is_page:
            command += _FLAGS[self._peer.dialect]
        for name, value in options.items():
            if name in ("size", "path") or value is False:
                continue
            flag = f"--{name.replace('_', '-')}"
            command.append(flag if value is True else f"{flag}={value}")
        return command
