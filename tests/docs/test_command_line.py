"""docs/command-line.md holds what it says: its commands, its findings, and where they link to."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from websockets.sync.client import connect

from flask_wshandler.cli.commands import COMMANDS
from flask_wshandler.cli.doctor import (
    app_checks,
    history_checks,
    proxy_checks,
    server_checks,
    stream_checks,
)
from flask_wshandler.cli.doctor.findings import Finding, Severity

from .markdown_page import MarkdownPage
from .programs import gunicorn, nginx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGE = MarkdownPage(DOCS / "command-line.md")
MODULES = (app_checks, server_checks, stream_checks, proxy_checks, history_checks)

_COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_ANCHORED_LINK = re.compile(r"\]\(([^)\s#]*)#([^)\s]+)\)")


def anchors_of(path: Path) -> set[str]:
    """Of a page's headings, as they are made of Markdown everywhere."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def finding_ids() -> set[str]:
    """All that the checks can find: the first argument of each Finding, or of what makes one."""
    found = set()
    for module in MODULES:
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
    assert len(ids) == sum(len(module.CHECKS) for module in MODULES)
    listed = {row[0].partition("`](#")[2].rstrip(")") for row in PAGE.rows("doctor")}
    sections = set(re.findall(r"^### (.+)$", PAGE.text, re.MULTILINE))
    assert listed == ids == sections
    for each in ids:
        page, _, anchor = Finding(each, Severity.NOTE, "", "").link.partition("#")
        assert anchor in anchors_of(ROOT / page)


def test_every_check_is_made():
    """None is written and forgotten."""
    for module in MODULES:
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


CHAT = """
from flask import Flask, request
from flask_wshandler import WebSocketCollection, WebSocketGroups, WebSocketHandler, WebSockets
from flask_wshandler import accept_websocket_request

app = Flask(__name__)
sockets = WebSockets(app)
chat, room = WebSocketCollection("chat"), WebSocketGroups("room")

class ChatHandler(WebSocketHandler):
    def on_open(self):
        chat.add(self)
        room["lobby"].add(self)
        self.send(self.context.connection_id)

@app.route("/ws.ashx")
def ws():
    return accept_websocket_request(ChatHandler())

@sockets.route("/echo")
def echo(ws):
    ws.receive()

@sockets.route("/game/<room>")
class Game(WebSocketHandler):
    max_message_size = 4096
"""


def example(heading: str) -> list[tuple[str, str]]:
    """The commands below a heading, each with what is printed."""
    [console] = [block.code for block in PAGE.blocks if block.heading == heading]
    return _COMMAND.findall(console)


def shape(printed: str) -> str:
    """With numbers, ids and processes as they may be."""
    printed = re.sub(r"\b[0-9a-f]{16}\b", "<id>", printed)
    printed = re.sub(r"\S+:\d+:[0-9a-f]{8}", "<process>", printed)
    return re.sub(r"\d+ (member|process)(s|es)?", r"<n> \1", printed)


class Chat:
    """What the examples are about: a chat under gunicorn, with somebody in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "chat.py").write_text(CHAT)
        (directory / "news.txt").write_text("the news")
        self._environment = {
            "HOME": str(directory),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"],
        }

    def print(self, command: str) -> str:
        """What a command of the page prints."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        ).stdout


@pytest.fixture
def chat(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="ws-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield Chat(tmp_path)


def test_the_examples_of_routes_are_what_is_printed(chat):
    """To the letter."""
    [(command, printed)] = example("routes")
    assert chat.print(command) == printed


def test_the_examples_of_typed_calls_are_what_is_printed(chat, tmp_path):
    """To the letter: what is declared, and what differs."""
    [program] = PAGE.code("types", "python")
    (tmp_path / "game.py").write_text(program)
    for console in (*PAGE.code("types", "console"), *PAGE.code("asyncapi", "console")):
        for command, printed in _COMMAND.findall(console):
            assert chat.print(command) == printed


def test_the_other_examples_are_what_is_printed(chat, tmp_path):
    """But for numbers and names: the same columns, the same sentences."""
    with (
        gunicorn("gunicorn --workers 2 --threads 4 chat:app", tmp_path) as server,
        connect(f"ws://{server.netloc}/ws.ashx") as client,
    ):
        connection_id = str(client.recv(10))
        for heading in ("list", "stats"):
            [(command, printed)] = example(heading)
            columns = re.split(r"  +", printed.splitlines()[0])
            assert re.split(r"  +", chat.print(command).splitlines()[0]) == columns
        for command, printed in example("send"):
            assert shape(chat.print(command)) == shape(printed)
        for command, printed in example("close"):
            command = re.sub(r"\b[0-9a-f]{16}\b", connection_id, command)
            assert shape(chat.print(command)) == shape(printed)
        assert client.recv(10) == "The server restarts at noon."


def test_the_example_of_doctor_is_what_is_printed(chat, tmp_path):
    """Behind an nginx that does not pass the upgrade on."""
    executable = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if executable is None:
        pytest.skip("nginx is missing: apt install nginx")
    [site] = MarkdownPage(DOCS / "howto" / "nginx.md").code("The site", "nginx")
    for line in ("proxy_http_version", "proxy_set_header Upgrade", "proxy_set_header Connection"):
        site = re.sub(rf"^ *{line}.*\n", "", site, flags=re.MULTILINE)
    [(command, printed)] = example("doctor")
    first, *others = printed.split("\n\n")[0].splitlines()
    with (
        gunicorn("gunicorn --workers 2 --threads 4 chat:app", tmp_path) as server,
        nginx(executable, site, "", server, tmp_path) as front,
    ):
        found = chat.print(command.replace("https://chat.example.org", f"http://{front.netloc}"))
    assert f"{first}\n" + "\n".join(others) in found
