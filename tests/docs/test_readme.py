"""README.md holds what it says: its program runs, its test passes."""

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S

from .chat import CHAT, README, greeting, handshake_status
from .programs import Program, gunicorn

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 160


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Program]:
    """The README's program, started by the README's command."""
    [program, _] = README.code(CHAT, "python")
    (tmp_path / "chat.py").write_text(program)
    [command] = README.code(CHAT, "sh")
    with gunicorn(command, tmp_path) as running:
        yield running


class TestChat:
    def test_has_about_twenty_lines(self):
        """The heading says so; blank lines don't count."""
        lines = [line for line in README.code(CHAT, "python")[0].splitlines() if line]
        assert len(lines) <= 21

    def test_tells_a_browser_that_it_speaks_websocket(self, chat):
        """The address can be opened as a page, to try the chat from its console."""
        connection = http.client.HTTPConnection("127.0.0.1", chat.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/ws.ashx")
            response = connection.getresponse()
            assert (response.status, response.read()) == (426, b"This address speaks WebSocket.")

    def test_refuses_pages_of_other_sites(self, chat):
        """The default of WSHANDLER_ALLOWED_ORIGINS."""
        assert handshake_status(chat, origin="http://elsewhere.example") == 403
        assert handshake_status(chat, origin=f"http://{chat.netloc}") == 101

    def test_talks(self, chat):
        """To a page of its own address."""
        said = greeting(f"ws://{chat.netloc}", f"http://{chat.netloc}")
        assert said == "Ada has connected."


def test_the_test_of_the_chat_passes(tmp_path):
    """Under pytest, beside the program."""
    [program, test] = README.code(CHAT, "python")
    assert "Save as `test_chat.py`, and run `python -m pytest`:" in README.text
    (tmp_path / "chat.py").write_text(program)
    (tmp_path / "test_chat.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-Werror", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert "1 passed" in done.stdout, done.stdout


class TestCommands:
    @pytest.mark.parametrize("line", README.code("Try it", "sh")[0].splitlines())
    def test_are_programs_of_the_checkout(self, line):
        """They are run themselves by tests/site, and by whoever runs this."""
        program = ROOT / line.partition(" ")[0]
        assert program.stat().st_mode & 0o111

    def test_the_rest_is_in_the_documentation(self):
        """The README stays short."""
        assert len(README.text.splitlines()) < MAX_LINES
