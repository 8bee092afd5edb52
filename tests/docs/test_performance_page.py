"""docs/performance.md can be followed: its programs run and print their figures."""

import subprocess
import sys
from pathlib import Path

import pytest

from .markdown_page import MarkdownPage
from .programs import gunicorn

ROOT = Path(__file__).resolve().parents[2]
PAGE = MarkdownPage(ROOT / "docs" / "performance.md")
SERVER, LOAD, CONTEXTS = PAGE.code("How to repeat it", "python")


def printed_by(program: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.mark.parametrize(
    ("arguments", "figure"),
    [
        pytest.param(("/echo", "10", "0.2"), "us of CPU per message", id="echo"),
        pytest.param(("/slow", "10", "0.2"), "messages/s", id="slow"),
        pytest.param(("/echo", "100", "0"), "bytes per client", id="idle"),
    ],
)
def test_the_load_is_measured(tmp_path, arguments, figure):
    """Each of the three ways to call the clients ends with its figure."""
    (tmp_path / "measured.py").write_text(SERVER)
    with gunicorn("gunicorn --threads 4 measured:app", tmp_path) as server:
        assert figure in printed_by(LOAD, server.netloc, *arguments)


def test_the_contexts_are_measured():
    """Ours and Flask's, one line each."""
    program = CONTEXTS.replace("10_000", "10")
    lines = printed_by(program).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["of_this_package", "of_flask"]
