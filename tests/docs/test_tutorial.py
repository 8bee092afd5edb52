"""docs/tutorial, followed from its first page to its last in one folder, with a browser."""

import contextlib
from pathlib import Path

import pytest

from tests.deadlines import PAGE_DEADLINE_MS

from .markdown_page import MarkdownPage
from .walk import Walk

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial"
MAX_PICTURE_BYTES = 200_000


@pytest.fixture(scope="module")
def home(installed_state, tmp_path_factory):
    """A home with what the quick start has installed, and nothing of what it does then."""
    home = tmp_path_factory.mktemp("tutorial")
    (home / ".walk").write_text(installed_state)
    return home


@pytest.fixture
def step(home):
    """A page of the tutorial, in the folder as the page before has left it."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(Walk(MarkdownPage(TUTORIAL / name), home))


@pytest.fixture
def visit(browser):
    """Opens pages that end with the test."""
    with contextlib.ExitStack() as stack:

        def visit(url):
            page = stack.enter_context(contextlib.closing(browser.new_page()))
            page.set_default_timeout(PAGE_DEADLINE_MS)
            page.goto(url)
            return page

        yield visit


def test_the_tutorial_works_as_printed(step, visit):
    """All five steps: each page of the playground is visited when it is there."""
    reader = step("1-echo.md")
    reader.read_on()
    page = visit(f"http://{reader.netloc}/echo")
    page.wait_for_selector("li:has-text('Say something.')")
    page.fill("input", "hello")
    page.press("input", "Enter")
    page.wait_for_selector("li:has-text('You said: hello')")
    reader.stop()

    reader = step("2-chat.md")
    reader.read_on()
    ada, bob = (visit(f"http://{reader.netloc}/chat?name={name}") for name in ("Ada", "Bob"))
    ada.wait_for_selector("#here:has-text('Ada, Bob')")
    bob.fill("input", "hello")
    bob.press("input", "Enter")
    ada.wait_for_selector("li:has-text('Bob: hello')")
    bob.close()
    ada.wait_for_function("document.getElementById('here').textContent == 'Ada'")
    reader.stop()

    reader = step("3-game.md")
    reader.read_on()
    play(visit, reader)
    reader.stop()

    step("4-tests.md").read_on()

    reader = step("5-two-workers.md")
    reader.read_on()
    play(visit, reader)


def play(visit, reader):
    """Two players; each sees what both have painted, and that one has gone."""
    ada, bob = (visit(f"http://{reader.netloc}/game?name={name}") for name in ("Ada", "Bob"))
    ada.wait_for_selector("li:has-text('Bob: 1')")
    bob.wait_for_selector("li:has-text('Ada: 1')")
    for _ in range(3):
        bob.keyboard.press("ArrowDown")
    for page in (ada, bob):
        page.wait_for_selector("li:has-text('Bob: 4')")
    bob.close()
    ada.wait_for_function("!document.getElementById('scores').textContent.includes('Bob')")


def test_the_picture_is_small():
    """Nobody waits for it."""
    assert (TUTORIAL / "game.png").stat().st_size < MAX_PICTURE_BYTES
