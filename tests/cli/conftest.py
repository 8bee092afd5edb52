"""The commands, run as an operator runs them: in a process of their own, beside real servers."""

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S
from tests.shared.conftest import cluster, crowd

__all__ = ["cluster", "crowd"]

ROOT = Path(__file__).resolve().parents[2]


class Commands:
    """`flask --app … websockets …`."""

    def __init__(self, app, directory, environment):
        self._command = [sys.executable, "-m", "flask", "--app", app, "websockets"]
        self._directory = directory
        self._environment = environment

    def run(self, *arguments, given=None, **environment):
        """The finished process: `stdout`, `stderr`, `returncode`."""
        return subprocess.run(
            [*self._command, *map(str, arguments)],
            cwd=self._directory,
            env=self._environment | environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    def on_a_terminal(self, *arguments, **environment):
        """What a command prints on a terminal, without the colours."""
        reading, writing = pty.openpty()
        with subprocess.Popen(
            [*self._command, *arguments],
            cwd=self._directory,
            env=self._environment | {"TERM": "xterm"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=writing,
        ):
            os.close(writing)
            shown = b""
            with contextlib.suppress(OSError):  # the other end is closed
                while data := os.read(reading, 65536):
                    shown += data
            os.close(reading)
        return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())

    def json(self, *arguments):
        """What a command prints with --json."""
        done = self.run(*arguments, "--json")
        return json.loads(done.stdout)


@pytest.fixture
def commands_of():
    """Commands for the app of a server under test."""

    def make(server, app="tests.shared.app:app"):
        return Commands(app, server.directory, server.environment)

    return make


@pytest.fixture
def runtime(monkeypatch):
    """A run directory for what the test starts, with a path that is short enough."""
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


@pytest.fixture
def commands(tmp_path, runtime):
    """Commands for the app in tmp_path/site_app.py."""
    return Commands("site_app:app", tmp_path, {**os.environ, "HOME": str(tmp_path)})


def _program(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return found or pytest.skip(f"{name} is missing: apt install {name}")


@pytest.fixture
def nginx_executable():
    return _program("nginx")


@pytest.fixture
def haproxy_executable():
    return _program("haproxy")
