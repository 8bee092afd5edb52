"""The commands, run as an operator runs them: in a process of their own, beside real servers."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests import preloaded
from tests.deadlines import DEADLINE_S
from tests.shared.conftest import cluster, crowd

from .terminal import shown_by

__all__ = ["cluster", "crowd"]

ROOT = Path(__file__).resolve().parents[2]


class Commands:
    """`flask --app … websockets …`."""

    def __init__(self, app, directory, environment):
        self._flask = [sys.executable, "-m", "flask"]
        self._command = [*self._flask, "--app", app, "websockets"]
        self._directory = directory
        self._environment = environment

    def run(self, *arguments, given=None, has_input=True, **environment):
        """The finished process: `stdout`, `stderr`, `returncode`."""
        command = [*self._command, *map(str, arguments)]
        if not has_input:
            command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
        return self._run(command, given, environment)

    def run_flask(self, *arguments, **environment):
        """The same of any command of Flask's, which is to name the app."""
        return self._run([*self._flask, *arguments], None, environment)

    def run_python(self, *arguments):
        """A program of Python's beside the app."""
        return self._run([sys.executable, *arguments], None, {})

    def _run(self, command, given, environment):
        return preloaded.run(
            command,
            cwd=self._directory,
            env=self._environment | environment,
            input=given,
            timeout=DEADLINE_S,
        )

    def on_a_terminal(self, width, *arguments):
        """What a command prints on a terminal of so many columns."""
        return shown_by([*self._command, *arguments], width, self._environment, cwd=self._directory)

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
