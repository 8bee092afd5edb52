"""docs/reference/client-js.md: its page works as strictly as it says, its tables are whole."""

import re
from pathlib import Path

import pytest

from flask_wshandler.upgrade.browser_files import ENDPOINT
from tests.deadlines import PAGE_DEADLINE_MS

from .chat import CHAT, README
from .markdown_page import MarkdownPage
from .programs import gunicorn

ROOT = Path(__file__).resolve().parents[2]
PAGE = MarkdownPage(ROOT / "docs" / "reference" / "client-js.md")
TYPES = (ROOT / "flask_wshandler" / "browser" / "client.d.ts").read_text()
ADDITION = """
from flask import redirect, render_template, session

app.secret_key = "not one"

@app.after_request
def be_strict(response):
    response.headers["Content-Security-Policy"] = "script-src 'self'; connect-src 'self'"
    return response

@app.route("/")
def page():
    return render_template("chat.html")

@app.route("/log-in")
def log_in_as_ada():
    session["user"] = "Ada"
    return redirect("/")
"""


@pytest.fixture
def chat(tmp_path):
    """The README's chat with the page, behind the guard."""
    [program, _] = README.code(CHAT, "python")
    [guard] = PAGE.code("Caching", "python")
    guard = guard.replace('"/login"', '"/log-in"').replace(
        '"user" not in session', '"user" not in session and request.endpoint != "log_in_as_ada"'
    )
    (tmp_path / "chat.py").write_text(program + ADDITION + guard)
    [template] = PAGE.code("In a page", "html")
    [script] = PAGE.code("In a page", "js")
    for name, code in (("templates/chat.html", template), ("static/chat.js", script)):
        assert name in code.splitlines()[0]
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(code)
    [command] = README.code(CHAT, "sh")
    with gunicorn(command, tmp_path) as running:
        yield running


def test_the_page_works(chat, browser):
    """Under a strict policy, and behind a log-in."""
    page = browser.new_page()
    page.set_default_timeout(PAGE_DEADLINE_MS)
    page.goto(f"http://{chat.netloc}/")
    page.wait_for_selector("li:has-text('Ada said: hello')")
    page.wait_for_selector("p:text-is('open')")
    page.close()


def names(heading):
    """All in the first column of its table."""
    return {
        name.partition("(")[0]
        for row in PAGE.rows(heading)
        for name in re.findall(r"`([^`]+)`", row[0])
    }


def members_of(interface):
    """Their names in the types."""
    [body] = re.findall(rf"(?:interface|class) {interface}\b.*?\{{\n(.*?)^\}}", TYPES, re.M | re.S)
    found = re.findall(r"^  (?:readonly )?(\w+)(?:\?)?[:(<]", body, re.M)
    return {name for name in found if not name.endswith("EventListener")} - {"constructor"}


@pytest.mark.parametrize(
    ("heading", "interface"),
    [
        ("The constructor", "ConnectionOptions"),
        ("Events", "ConnectionEventMap"),
        ("Methods and properties", "Connection"),
    ],
)
def test_the_tables_are_those_of_the_types(heading, interface):
    """Neither has a name that the other lacks."""
    assert names(heading) == members_of(interface)


def test_the_endpoint_is_named():
    """As it is in the code."""
    assert f"`{ENDPOINT}`" in PAGE.text
