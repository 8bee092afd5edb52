"""docs/monitoring.md holds what it says: its programs run, its tables are the package's."""

import contextlib
import dataclasses
import http.client
import json
import re
import time
from pathlib import Path

from flask_wshandler.bus import BusStats
from flask_wshandler.transports.engine import Stats

from .markdown_page import MarkdownPage
from .programs import gunicorn

ROOT = Path(__file__).resolve().parents[2]
PAGE = MarkdownPage(ROOT / "docs" / "monitoring.md")
DEADLINE_S = 10

_CODE = re.compile(r"`([^`]+)`")

FIGURES_HEAD = """
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets

app = Flask(__name__)
sockets = WebSockets(app)
"""


def test_the_view_answers_for_each_worker(tmp_path):
    """With every figure of the table, and no other."""
    [view] = PAGE.code("Figures of one process", "python")
    (tmp_path / "watched.py").write_text(FIGURES_HEAD + view)
    rows = [row[0].strip("`") for row in PAGE.rows("Figures of one process") if len(row) == 3]
    names = sorted(name for name in rows if name.startswith(("sockets.", "bus.")))
    pids = set()
    with gunicorn("gunicorn --workers 2 --threads 4 watched:app", tmp_path) as server:
        until_s = time.monotonic() + DEADLINE_S
        while len(pids) < 2 and time.monotonic() < until_s:
            # Together: one worker may take all that come one after the other.
            with contextlib.ExitStack() as open_ones:
                connections = [
                    open_ones.enter_context(
                        contextlib.closing(http.client.HTTPConnection(server.netloc))
                    )
                    for _ in range(10)
                ]
                for connection in connections:
                    connection.request("GET", "/figures")
                for connection in connections:
                    answer = json.loads(connection.getresponse().read())
                    pids.add(answer.pop("pid"))
    assert len(pids) == 2
    assert names == sorted(f"{kind}.{name}" for kind in answer for name in answer[kind])
    assert len(names) == len(dataclasses.fields(Stats)) + len(dataclasses.fields(BusStats))


def test_the_log_lines_are_written_by_their_loggers():
    """Each text is in the module that the logger is named after; `app.logger` has several."""
    modules = {
        path: " ".join(re.sub(r'"\s*\n\s*"', "", path.read_text()).split())
        for path in (ROOT / "flask_wshandler").rglob("*.py")
    }
    rows = [row for row in PAGE.rows("Log lines") if len(row) == 4]
    assert len(rows) > 10
    for logger, level, text, _ in rows:
        name = logger.strip("`")
        path = ROOT / (name.replace(".", "/") + ".py")
        [line] = _CODE.findall(text)
        sources = [modules[path]] if path in modules else list(modules.values())
        assert path in modules or name == "app.logger", name
        for piece in re.split(r"…|\d+(?:\.\d+)*|/path", line):
            assert any(piece.strip() in source for source in sources), line
        assert level in ("warning", "error")
