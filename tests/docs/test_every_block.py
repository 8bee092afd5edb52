"""No block of code on any page goes untested, and the few that can't be run say why."""

import ast
import importlib
from pathlib import Path

import pytest

from .markdown_page import Block, MarkdownPage

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md"]
PAGES += sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)

#: Pages that a reader follows from their first block to their last, and who that reader is.
WALKED = {
    "docs/quickstart.md": "test_quickstart.py",
    "docs/tutorial/1-echo.md": "test_tutorial.py",
    "docs/tutorial/2-chat.md": "test_tutorial.py",
    "docs/tutorial/3-game.md": "test_tutorial.py",
    "docs/tutorial/4-tests.md": "test_tutorial.py",
    "docs/tutorial/5-two-workers.md": "test_tutorial.py",
    "docs/howto/authentication.md": "test_howto.py",
    "docs/howto/blueprints.md": "test_howto.py",
    "docs/howto/celery.md": "test_howto.py",
    "docs/howto/every-second.md": "test_howto.py",
    "docs/howto/fallback.md": "test_howto.py",
    "docs/howto/files.md": "test_howto.py",
    "docs/howto/from-aspnet.md": "test_howto.py",
    "docs/howto/from-flask-sock.md": "test_howto.py",
    "docs/howto/from-flask-socketio.md": "test_howto.py",
    "docs/howto/from-signalr.md": "test_howto.py",
    "docs/howto/history.md": "test_howto.py",
    "docs/howto/json-messages.md": "test_howto.py",
    "docs/howto/resume.md": "test_howto.py",
    "docs/howto/rooms.md": "test_howto.py",
    "docs/howto/sqlalchemy.md": "test_howto.py",
    "docs/howto/tcp-gateway.md": "test_howto.py",
}
#: Pages all of whose blocks one test takes, in its own way.
TAKEN_WHOLE = {
    "docs/command-line.md": "test_command_line.py",
    "docs/howto/testing.md": "test_testing_page.py",
}
#: The same for the beginning of a page, which stands above its first heading.
BEGUN = {"docs/howto/docker.md": "test_howto.py"}

#: All that is not run, by page: how often, and what it takes. The pages say the same to who
#: reads their source, in a comment above the block.
NOT_RUN = {
    "docs/benchmarks/README.md": [
        "takes minutes to hours; tests/benchmarks runs its parts",
        "takes minutes; tests/benchmarks runs them in their smallest size",
    ],
    "docs/howto/docker.md": 2 * ["needs a Docker engine"],
    "docs/howto/from-aspnet.md": 2 * ["C#, for ASP.NET"],
    "docs/howto/from-flask-socketio.md": ["needs the JavaScript client of Socket.IO"],
    "docs/howto/resume.md": [
        "two lines, of which the page below is the whole",
        "three lines, of which the page below is the whole",
    ],
    "docs/howto/systemd.md": 2 * ["needs root on a machine with systemd, and would change it"],
    "docs/howto/tcp-gateway.md": ["a page's script, which needs the two packages"],
    "docs/performance.md": [
        "takes a minute and both cores; a test runs the same programs for a moment"
    ],
    "docs/reference/calls.md": ["a part of a program"],
    "docs/reference/client-js.md": ["a part of a page's script"],
    "docs/reference/client.md": ["a part of a program"],
    "docs/reference/testing.md": 2 * ["a part of a test"],
    "docs/reference/wshandler-1.md": ["a grammar"],
    "docs/topics/architecture.md": 6 * ["a drawing"],
    "docs/topics/collections.md": ["a line of the how-to's program"],
    "docs/topics/handlers.md": ["a part of a program"],
    "docs/topics/resumable-connections.md": ["a drawing"],
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def asked_for() -> set[tuple[str, str, str]]:
    """(page, heading, language) of every `PAGE.code("heading", "language")` in these tests."""
    found = set()
    for path in Path(__file__).parent.glob("*.py"):
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "code"
            and isinstance(node.func.value, ast.Name)
        ]
        if calls:
            names = vars(importlib.import_module(f"tests.docs.{path.stem}"))
            for call in calls:
                page = names.get(call.func.value.id)
                if isinstance(page, MarkdownPage):
                    heading, language = (
                        names[each.id] if isinstance(each, ast.Name) else ast.literal_eval(each)
                        for each in call.args
                    )
                    found.add((name_of(page.path), heading, language))
    return found


def is_run(block: Block, asked: set[tuple[str, str, str]]) -> bool:
    page = name_of(block.page)
    return (
        page in WALKED
        or page in TAKEN_WHOLE
        or (page in BEGUN and not block.heading)
        or (page, block.heading, block.language) in asked
    )


def test_every_block_is_run_or_says_why_not():
    """By a reader of the whole page, or by a test that asks for it."""
    asked = asked_for()
    blocks = [block for path in PAGES for block in MarkdownPage(path).blocks]
    forgotten = [str(b) for b in blocks if not b.why_not_run and not is_run(b, asked)]
    assert forgotten == []
    assert len(blocks) > 100


def test_what_is_not_run_is_listed_here():
    """Neither more nor fewer, each for its reason."""
    found: dict[str, list[str]] = {}
    for path in PAGES:
        for block in MarkdownPage(path).blocks:
            if block.why_not_run:
                found.setdefault(name_of(path), []).append(block.why_not_run)
    assert found == NOT_RUN


@pytest.mark.parametrize(("page", "test"), {**WALKED, **BEGUN, **TAKEN_WHOLE}.items())
def test_the_readers_are_there(page, test):
    """A test names the page that it is said to follow."""
    source = (Path(__file__).parent / test).read_text(encoding="utf-8")
    assert Path(page).name in source
    assert page not in WALKED or "read_on()" in source
