"""docs/howto/testing.md holds what it says: its blocks are a project whose tests pass."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flask_wshandler import testing

from .markdown_page import MarkdownPage

ROOT = Path(__file__).resolve().parents[2]
PAGE = MarkdownPage(ROOT / "docs" / "howto" / "testing.md")
_BLOCK = re.compile(r"^```python\n# (\w+\.pyi?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MODULE_APP = """
from flask import Flask
from flask_wshandler import WebSockets

app = Flask(__name__)
WebSockets(app)
"""
_MODULE_TEST = """
import runpy
from chat import app

def test_second(wshandler):
    with {expression} as second:
        assert second.app is not app
"""


@pytest.fixture
def project(tmp_path):
    """The page's files; a block continues the file that its first line names."""
    for name, code in _BLOCK.findall(PAGE.text):
        with (tmp_path / name).open("a") as file:
            file.write(code)
    return tmp_path


def run(directory):
    """The last line that pytest prints, with warnings as errors."""
    command = [sys.executable, "-m", "pytest", "-q", "-Werror", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", str(directory)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout


def test_all_blocks_name_their_files():
    """None is left out here."""
    assert len(_BLOCK.findall(PAGE.text)) == PAGE.text.count("```python")


def test_the_tests_of_the_page_pass(project):
    """All of them, as they are."""
    count = sum(path.read_text().count("def test_") for path in project.glob("test_*.py"))
    printed = run(project)
    assert f"{count} passed" in printed, printed


def test_the_typed_blocks_pass_a_type_checker(project):
    """As strictly as it can be asked."""
    # Not what it finds in the checkout, which an installed package's user is not told either.
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    files = sorted(path.name for path in project.glob("*typed_*.py"))
    assert len(files) == 4
    done = subprocess.run(
        [*command, *files],
        cwd=project,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_app_of_a_module(tmp_path):
    """The expression that makes it a second time."""
    [expression] = re.findall(r"`(wshandler\.other_process\(lambda: runpy.*?\))`", PAGE.text)
    (tmp_path / "chat.py").write_text(_MODULE_APP)
    (tmp_path / "conftest.py").write_text(
        "import chat, pytest\n@pytest.fixture\ndef app():\n    return chat.app\n"
    )
    (tmp_path / "test_it.py").write_text(_MODULE_TEST.format(expression=expression))
    printed = run(tmp_path)
    assert "1 passed" in printed, printed


def test_the_names_exist():
    """What the table and the text name is there."""
    first_cells = [cells[0] for cells in PAGE.rows("What a client can do")]
    names = {name for cell in first_cells for name in re.findall(r"`(\w+)", cell)}
    instance_attributes = {"response"}
    assert names - instance_attributes <= set(dir(testing.ClientWebSocket))
    named = set(re.findall(r"\w+", PAGE.text))
    assert set(testing.__all__) - {"ClientWebSocket", "Clock", "Worker"} <= named
