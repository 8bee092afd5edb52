"""What tests of several pages need: an installation as the quick start makes it, and a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import chromium

from .chat import CHAT, README, chat_program
from .markdown_page import MarkdownPage
from .programs import Program, gunicorn
from .walk import Walk

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "flask_wshandler",
    "flask_wshandler_command.py",
    "pytest_flask_wshandler.py",
    "setup.cfg",
    "pyproject.toml",
)
PARTS += ("README.md", "LICENSE")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A reader of the quick start who has installed the package and done no more yet."""
    home = tmp_path_factory.mktemp("home")
    # A copy: pip builds a package in the directory that it is given.
    checkout = home / "checkout"
    checkout.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, checkout / part)
    with Walk(MarkdownPage(ROOT / "docs" / "quickstart.md"), home, checkout) as walk:
        walk.read_to("The app")
        yield walk


@pytest.fixture(scope="session")
def installed_state(installed: Walk) -> str:
    """What the reader's shell knows after that: the environment is active."""
    return installed.state


@pytest.fixture
def proxied_chat(tmp_path: Path) -> Iterator[Program]:
    """The README's program with what the page adds to it for a proxy."""
    (tmp_path / "chat.py").write_text(chat_program())
    [command] = README.code(CHAT, "sh")
    with gunicorn(command, tmp_path) as running:
        yield running


# Not for the session: there can be one Playwright at a time in a process, and others have theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser
