"""The built documentation: no warning, no dead link, and nothing wider than a phone."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .markdown_page import MarkdownPage

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCES = [ROOT / "README.md"]
SOURCES += sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
PHONE_PX, DESK_PX, WIDE_PX = 390, 1280, 1920
BUILD_DEADLINE_S = 120

_AUTOCLASS = re.compile(r"^\.\. autoclass:: (\w+).*\n((?:   .+\n)*)", re.MULTILINE)
_MEMBERS = re.compile(r":(?:special-)?members: (.+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages, built as `docs/build` builds them; a warning is an error."""
    output = tmp_path_factory.mktemp("site")
    options = re.findall(r"-m sphinx (.+) \"\$@\"", (DOCS / "build").read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options[0].split(), DOCS, output],
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def test_every_page_is_built(site):
    """And can be found from another: Sphinx warns of a page in no table of contents."""
    for source in SOURCES[1:]:
        assert (site / source.relative_to(DOCS).with_suffix(".html")).exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    """On a code host, too: files that are linked to or shown exist."""
    targets = MarkdownPage(path).linked_files()
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_nothing_comes_from_elsewhere(site):
    """A reader without a network sees all of it."""
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+", html)


def test_docstrings_are_shown(site):
    """A public name with its signature and its text, single backticks as code."""
    html = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert 'id="flask_wshandler.WebSocketHandler.on_open"' in html
    assert '<code class="code docutils literal notranslate"><span class="pre">on_error' in html


def test_every_member_that_is_asked_for_is_shown(site):
    """Sphinx leaves out what has no docstring, without a word."""
    asked = {
        f"{name}.{member.strip()}"
        for name, options in _AUTOCLASS.findall((DOCS / "reference" / "api.md").read_text())
        for members in _MEMBERS.findall(options)
        for member in members.split(",")
    }
    html = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert "WebSocketGroups.__getitem__" in asked
    assert [each for each in asked if f'id="flask_wshandler.{each}"' not in html] == []


def test_signals_say_when_they_are_sent(site):
    """Each by a text of its own, not blinker's about all signals."""
    html = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for said in ("sent before", "sent after"):
        assert said in html
    assert "notification emitter" not in html


def test_no_page_is_wider_than_the_window(site, browser):
    """Wide tables and long lines scroll within themselves; every picture is there."""
    with contextlib.closing(browser.new_page()) as page:
        too_wide = []
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri())
            broken = "[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)"
            assert page.evaluate(broken) == [], path
            for width in (PHONE_PX, DESK_PX):
                page.set_viewport_size({"width": width, "height": 800})
                shown_px = page.evaluate("document.documentElement.scrollWidth")
                if shown_px > width:
                    too_wide.append((str(path.relative_to(site)), width, shown_px))
        assert too_wide == []


@pytest.mark.parametrize("width", [DESK_PX, WIDE_PX])
@pytest.mark.parametrize("name", ["from-aspnet", "from-flask-socketio"])
def test_code_side_by_side_is_seen_whole(site, browser, name, width):
    """No line is cut off, and no block lies over what is below."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    with contextlib.closing(context), contextlib.closing(context.new_page()) as page:
        page.goto((site / "howto" / f"{name}.html").as_uri())
        blocks = page.evaluate(
            """[...document.querySelectorAll(".side-by-side pre")].map((pre) => [
                pre.scrollWidth - pre.clientWidth,
                pre.getBoundingClientRect().bottom
                    - pre.closest(".side-by-side").getBoundingClientRect().bottom,
            ])"""
        )
    assert len(blocks) > 1
    for too_wide_px, too_low_px in blocks:
        assert too_wide_px == 0
        assert too_low_px < 1
