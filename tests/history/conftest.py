"""A place for a log of each kind, and processes to meet there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import preloaded
from tests.deadlines import DEADLINE_S

from .places import PLACES, SHARED

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A process with the log: its methods are those of `member.Member`."""

    def __init__(self, kind, place, **options):
        self._process = preloaded.start(
            [
                sys.executable,
                "-m",
                "tests.history.member",
                kind,
                place.address,
                json.dumps(options),
            ],
            cwd=ROOT,
            env=dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._is_endless = False
        assert self.answer() == "ready"

    def __getattr__(self, method):
        def call(*arguments):
            self.order(method, *arguments)
            return self.answer()

        return call

    def order(self, method, *arguments):
        """Say what to do, without waiting for it; `answer` waits."""
        self._is_endless = method == "flood_until_killed"
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self):
        return json.loads(self._process.stdout.readline())

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        """End it amid what it does; what it has said."""
        self._process.kill()
        said = self._process.stdout.read()
        self.end()
        return said

    def end(self):
        """Let it come to its end by itself, if it has one."""
        if self._is_endless:
            self._process.kill()
        if not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(DEADLINE_S)
        self._process.stdout.close()


@pytest.fixture(params=PLACES)
def place(request, monkeypatch):
    yield from _place(request.param, monkeypatch)


@pytest.fixture(params=SHARED)
def shared_place(request, monkeypatch):
    yield from _place(request.param, monkeypatch)


@pytest.fixture
def sqlite_place(monkeypatch):
    yield from _place("sqlite", monkeypatch)


def _place(kind, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.environ.get("XDG_RUNTIME_DIR", ""))
    place = PLACES[kind]()
    place.kind = kind
    opened = []
    open_log = place.open
    place.open = lambda *args, **options: opened.append(open_log(*args, **options)) or opened[-1]
    yield place
    for log in opened:
        log.close()
    place.stop()


@pytest.fixture
def start():
    """Start a process: `start(place)`."""
    started = []

    def start(place, **options):
        started.append(Process(getattr(place, "kind", "sqlite"), place, **options))
        return started[-1]

    yield start
    for process in started:
        process.end()
