"""docs/command-line.md holds what it says: its commands, its findings, and where they link to."""

import ast
import re
from pathlib import Path

import pytest
from flask import Flask

from flask_wshandler import WebSockets
from flask_wshandler.cli.commands import COMMANDS
from flask_wshandler.cli.doctor import app_checks, server_checks
from flask_wshandler.cli.doctor.findings import Finding, Severity

from .markdown_page import MarkdownPage

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGE = MarkdownPage(DOCS / "command-line.md")

_ANCHORED_LINK = re.compile(r"\]\(([^)\s#]*)#([^)\s]+)\)")


def anchors_of(path: Path) -> set[str]:
    """Of a page's headings, as they are made of Markdown everywhere."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def finding_ids() -> set[str]:
    """All that the checks can find: the first argument of each Finding, or of what makes one."""
    found = set()
    for module in (app_checks, server_checks):
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                strings = [each.value for each in node.args if isinstance(each, ast.Constant)]
                if node.func.id in ("Finding", "_of_trouble") and strings:
                    found.add(strings[0])
    return found


def test_every_finding_has_a_section_and_a_line():
    """What a finding links to exists; and there is no section of what is never found."""
    ids = finding_ids()
    assert len(ids) == len(app_checks.CHECKS) + len(server_checks.CHECKS)
    listed = {row[0].partition("`](#")[2].rstrip(")") for row in PAGE.rows("doctor")}
    sections = set(re.findall(r"^### (.+)$", PAGE.text, re.MULTILINE))
    assert listed == ids == sections
    for each in ids:
        page, _, anchor = Finding(each, Severity.NOTE, "", "").link.partition("#")
        assert anchor in anchors_of(ROOT / page)


def test_every_check_is_made():
    """None is written and forgotten."""
    for module in (app_checks, server_checks):
        written = {
            value
            for name, value in vars(module).items()
            if not name.startswith("_")
            and getattr(value, "__annotations__", {}).get("return") == "Finding | None"
        }
        assert written == set(module.CHECKS)


def test_every_anchor_exists():
    """Of this page's links into others, and into itself."""
    links = _ANCHORED_LINK.findall(PAGE.text)
    assert links
    for page, anchor in links:
        path = (DOCS / page).resolve() if page else PAGE.path
        assert anchor in anchors_of(path), (page, anchor)


def test_every_command_has_a_section():
    """In the order of `--help`."""
    sections = re.findall(r"^## (.+)$", PAGE.text, re.MULTILINE)
    assert sections == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_have_only_options_that_exist(name):
    """And every option is written of, but --help and those of all."""
    options = {option for each in COMMANDS[name].params for option in each.opts if "--" in option}
    examples = re.findall(rf"websockets {name} (.+)$", PAGE.text, re.MULTILINE)
    used = {option for example in examples for option in re.findall(r"(?<=\s)--[a-z]+", example)}
    assert used <= options
    assert all(f"{option}" in PAGE.text for option in options)


def test_the_examples_of_routes_are_what_is_printed():
    """For the app that it is about."""
    program = """
from flask import request
from flask_wshandler import WebSocketHandler, accept_websocket_request

class ChatHandler(WebSocketHandler):
    pass

@app.route("/ws.ashx")
def ws():
    return accept_websocket_request(ChatHandler())

@sockets.route("/echo")
def echo(ws):
    pass

@sockets.route("/game/<room>")
class Game(WebSocketHandler):
    max_message_size = 4096
"""
    app = Flask("chat")
    names = {"app": app, "sockets": WebSockets(app)}
    exec(program, names)
    [example] = PAGE.code("routes", "console")
    printed = app.test_cli_runner().invoke(args=["websockets", "routes"]).output
    assert example.partition("\n")[2] == printed
