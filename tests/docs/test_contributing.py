"""CONTRIBUTING.md names what is there, and nothing that is not."""

import re
from pathlib import Path

from .markdown_page import MarkdownPage

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flask_wshandler"
PAGE = MarkdownPage(ROOT / "CONTRIBUTING.md")
WHERE = list(PAGE.rows("Where a change goes"))


def words(text):
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def test_commands_and_files_exist():
    """Whatever has a slash in it and is no URL, no `*` of a shell."""
    named = {word for line in words(PAGE.text) for word in line.split()}
    paths = {word for word in named if re.fullmatch(r"\.?[\w.-]+/[\w./-]+", word)}
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_links_lead_somewhere():
    """Files that are linked to."""
    assert [target for target in PAGE.linked_files() if not (ROOT / target).exists()] == []


def test_modules_exist():
    """In the table of where a change goes."""
    for _, modules, _, _ in WHERE:
        for name in words(modules):
            parts = (PACKAGE / name, PACKAGE / f"{name}.py", ROOT / name, ROOT / f"{name}.py")
            assert any(part.exists() for part in parts), name


def test_every_folder_of_tests_is_somebodys():
    """A new one gets its line."""
    named = {word for _, _, tests, _ in WHERE for word in words(tests)}
    folders = {f"tests/{path.parent.name}" for path in ROOT.glob("tests/*/__init__.py")}
    assert folders <= named


def test_the_limit_of_coverage_is_that_of_the_configuration():
    """One number."""
    [limit] = re.findall(r"^fail_under = (\d+)", (ROOT / "pyproject.toml").read_text(), re.M)
    assert f"below {limit} %" in PAGE.text
