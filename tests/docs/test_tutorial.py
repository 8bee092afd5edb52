"""docs/tutorial, followed from its first page to its last in one folder, with a browser."""

import contextlib
import time
import urllib.request
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S, PAGE_DEADLINE_MS

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
    """All five steps: each page of the playground is visited when it is there.

    By the one server of step 1, which starts anew by itself, until gunicorn takes its place.
    """
    reader = step("1-echo.md")
    reader.read_on()
    page = visit(f"http://{reader.netloc}/echo")
    page.wait_for_selector("li:has-text('Say something.')")
    page.fill("input", "hello")
    page.press("input", "Enter")
    page.wait_for_selector("li:has-text('You said: hello')")

    step("2-chat.md").read_on()
    wait_until_served(f"http://{reader.netloc}/chat")
    ada, bob = (visit(f"http://{reader.netloc}/chat?name={name}") for name in ("Ada", "Bob"))
    ada.wait_for_selector("#here:has-text('Ada, Bob')")
    bob.fill("input", "hello")
    bob.press("input", "Enter")
    ada.wait_for_selector("li:has-text('Bob: hello')")
    bob.close()
    ada.wait_for_function("document.getElementById('here').textContent == 'Ada'")

    step("3-game.md").read_on()
    wait_until_served(f"http://{reader.netloc}/game")
    play(visit, reader)

    step("4-tests.md").read_on()

    last_reader = step("5-two-workers.md")
    last_reader.read_to("Under gunicorn")
    reader.stop()
    last_reader.read_on()
    play(visit, last_reader)


def wait_until_served(url):
    """A server that starts anew has the page, and takes connections again."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=DEADLINE_S):
            return
        assert time.monotonic() < deadline_s, url
        time.sleep(0.02)


def test_a_server_that_was_stopped_is_started_as_in_step_1():
    """The steps between have no server of their own, but its command."""
    [command] = MarkdownPage(TUTORIAL / "1-echo.md").code("Try it", "sh")
    for name in ("2-chat.md", "3-game.md"):
        assert f"`{command.strip()}`" in (TUTORIAL / name).read_text(encoding="utf-8")


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
