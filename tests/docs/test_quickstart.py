"""docs/quickstart.md, followed from its first line to its last, and its picture."""

import contextlib
from pathlib import Path

from tests.deadlines import PAGE_DEADLINE_MS

from .markdown_page import MarkdownPage

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "quickstart.png"
README = MarkdownPage(ROOT / "README.md")
MAX_PICTURE_BYTES = 200_000


def test_every_step_works_as_printed(installed, browser):
    """Two people talk in a browser; the test passes; the programs print what the page prints."""
    installed.read_to("Test it")
    with contextlib.ExitStack() as stack:
        pages = []
        for name in ("Ada", "Bob"):
            page = stack.enter_context(contextlib.closing(browser.new_page()))
            page.set_default_timeout(PAGE_DEADLINE_MS)
            page.goto(f"http://{installed.netloc}/")
            page.fill("input", name)
            page.click("button")
            page.wait_for_selector(f"li:has-text('{name} has connected.')")
            pages.append(page)
        pages[1].fill("input", "hello")
        pages[1].click("button")
        for page in pages:
            page.wait_for_selector("li:has-text('Bob said: hello')")
        # With the two still there: who leaves late would be heard by the programs that follow.
        installed.read_on()


def test_the_handler_is_the_readmes():
    """A reader who comes from there meets what they know."""
    [program, *_] = README.code("A chat in twenty lines", "python")
    handler = program[program.index("class ChatHandler") : program.index("@app.route")]
    assert handler in (ROOT / "docs" / "quickstart.md").read_text()


def test_the_picture_is_small():
    """Nobody waits for it."""
    assert PICTURE.stat().st_size < MAX_PICTURE_BYTES
