"""A reader who follows a page: saves its files, runs its commands, compares what they print.

What a block is follows from the block itself, so pages need no markup for tests:

- A block whose first line is a comment with a file's name is that file, saved in the reader's
  directory. `# test_game.py, continued` goes on with it.
- `sh` is typed as it is, line by line. What serves goes on in the background, until the next
  command that serves is typed in its place, or the page ends.
- `console` has commands behind `$`, and what they print; `…` is what differs from run to run.

The one thing that is changed is the address of the server: its port 8000, for one that is free.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.deadlines import DEADLINE_S, STOP_DEADLINE_S
from tests.ports import free_port

from .markdown_page import Block, MarkdownPage

COMMAND_DEADLINE_S = 180
WRITTEN_ADDRESS = "127.0.0.1:8000"

_FILE = re.compile(
    r"(?:#|//|<!--) (?P<name>[\w.-]+(?:/[\w.-]+)*)(?P<continued>, continued)?(?: -->)?"
)
_WITHOUT_EXTENSION = {"Dockerfile"}
_SERVES = re.compile(
    r"(?P<gunicorn>gunicorn )|(?P<flask>flask (?:--app \S+ )?run)|(?P<celery>celery .* worker)"
    r"|(?P<ticks>flask --app \S+ ticks)"
)
_NOT_THE_READERS = {"FORCE_COLOR", "PYTEST_ADDOPTS", "PY_COLORS", "VIRTUAL_ENV"}
_READY = {"gunicorn": "Listening at", "flask": "Running on", "celery": " ready.", "ticks": ""}


def file_name(block: Block) -> re.Match[str] | None:
    """The name in the first line of a block that is a file."""
    found = _FILE.fullmatch(block.code.partition("\n")[0])
    if found and ("." in found["name"] or found["name"] in _WITHOUT_EXTENSION):
        return found
    return None


def _environment() -> dict[str, str]:
    """This one's, whose `python3` is the one that runs the tests, and with a plain terminal."""
    environment = {name: os.environ[name] for name in os.environ if name not in _NOT_THE_READERS}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["COLUMNS"] = "80"
    return environment


class Walk:
    """One reader of one page, whose home is `home`; servers end with the `with` block."""

    def __init__(
        self,
        page: MarkdownPage,
        home: Path,
        start: Path | None = None,
        instead: dict[str, str] | None = None,
    ) -> None:
        """`start` is the first directory, `instead` replaces addresses that a page writes."""
        self.home = home
        self.port = free_port()
        self.netloc = f"127.0.0.1:{self.port}"
        self.printed = ""
        self._page = page
        self._instead = {WRITTEN_ADDRESS: self.netloc, **(instead or {})}
        self._blocks = page.blocks
        self._environment = _environment() | {"HOME": str(home)}
        self._start = start or home
        self._state = home / ".walk"
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Walk":
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def read_to(self, heading: str) -> None:
        """Do everything that stands above a heading and is not done yet."""
        headings = {block.heading for block in self._blocks}
        if heading not in headings:
            raise ValueError(f"{self._page.path.name}: no blocks below {heading!r}: {headings}")
        while self._blocks[0].heading != heading:
            self._do(self._blocks.pop(0))

    def read_on(self) -> None:
        """Do the rest of the page."""
        while self._blocks:
            self._do(self._blocks.pop(0))

    def type_in(self, commands: str) -> None:
        """Do what no page says."""
        self._type(commands)

    def stop(self) -> None:
        """End what serves."""
        for name in list(self._servers):
            self._stop(name)

    @property
    def state(self) -> str:
        """What a shell is told so that it goes on here."""
        return self._state.read_text()

    def log(self, name: str) -> str:
        """What a server has printed."""
        return self._log(name).read_text(errors="replace")

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _do(self, block: Block) -> None:
        if block.why_not_run:
            return
        if found := file_name(block):
            self._save(found, block.code)
        elif block.language == "sh":
            self._type(block.code)
        elif block.language == "console":
            self._compare(block.code)
        else:
            raise ValueError(f"{block}: a reader would not know what to do with it")

    def _save(self, found: re.Match[str], code: str) -> None:
        path = self.directory / found["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if found["continued"] else "w", encoding="utf-8") as file:
            # Programs that connect to the server, too.
            file.write(self._here(code))

    def _here(self, text: str) -> str:
        for written, tried in self._instead.items():
            text = text.replace(written, tried)
        return text

    def _type(self, commands: str) -> None:
        for command in commands.replace("\\\n", "").splitlines():
            if found := _SERVES.match(command):
                self._serve(found.lastgroup or "", command)
            elif command and not command.startswith("#"):
                self._run(command)

    def _compare(self, session: str) -> None:
        for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
            command, _, expected = part.replace("\\\n", "").partition("\n")
            self._run(command)
            pattern = ".*".join(re.escape(piece) for piece in expected.strip().split("…"))
            if not re.fullmatch(pattern, self.printed.strip(), re.DOTALL):
                raise AssertionError(
                    f"{self._page.path.name}: {command!r} printed\n{self.printed}\nnot\n{expected}"
                )

    def _run(self, command: str) -> None:
        """In bash, where the last command left off: its directory, its variables."""
        script = f"set -e\n{self._resume}{self._here(command)}\n"
        script += f'{{ export -p; echo "cd $(printf %q "$PWD")"; }} >{self._state}\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._start,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_DEADLINE_S,
        )
        self.printed = done.stdout
        if done.returncode:
            raise AssertionError(f"{self._page.path.name}: {command!r} failed:\n{done.stdout}")

    @property
    def directory(self) -> Path:
        """Where the reader is."""
        if not self._state.exists():
            return self._start
        return Path(shlex.split(self._state.read_text().splitlines()[-1])[1])

    @property
    def _resume(self) -> str:
        return f". {self._state}\n" if self._state.exists() else ""

    def _serve(self, name: str, command: str) -> None:
        if name in self._servers:
            self._stop(name)
        if name == "gunicorn":
            command = f"gunicorn --bind {self.netloc}{command.removeprefix('gunicorn')}"
        elif name == "flask":
            command += f" --port {self.port}"
        with self._log(name).open("wb") as log:
            self._servers[name] = subprocess.Popen(
                ["bash", "-c", f"{self._resume}exec {command}"],
                cwd=self._start,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # flask's reloader is a process with a child
            )
        deadline_s = time.monotonic() + DEADLINE_S
        while _READY[name] not in self.log(name):
            if self._servers[name].poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"{command} does not start:\n{self.log(name)}")
            time.sleep(0.02)

    def _stop(self, name: str) -> None:
        server = self._servers.pop(name)
        # The group, also where its first process has ended and another has not.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            raise
