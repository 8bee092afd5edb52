"""docs/monitoring.md holds what it says: its programs run, its tables are the package's."""

import contextlib
import dataclasses
import http.client
import json
import re
import time
import urllib.request
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from flask_wshandler import HistoryStats
from flask_wshandler.bus import BusStats
from flask_wshandler.monitoring.callback_histogram import BOUNDS_S, MOST_HANDLERS, OTHERS
from flask_wshandler.monitoring.metric_families import FAMILIES
from flask_wshandler.transports.capacity import RefusalReason
from flask_wshandler.transports.stats import Stats
from tests.deadlines import DEADLINE_S
from tests.metrics.queries import assert_can_be_asked

from .markdown_page import MarkdownPage
from .programs import gunicorn

ROOT = Path(__file__).resolve().parents[2]
PAGE = MarkdownPage(ROOT / "docs" / "monitoring.md")

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
    names = sorted(name for name in rows if name.startswith(("sockets.", "bus.", "history.")))
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
    kinds = (Stats, BusStats, HistoryStats)
    assert len(names) == sum(len(dataclasses.fields(kind)) for kind in kinds)


HEAD = """
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets

app = Flask(__name__)
sockets = WebSockets(app)

@sockets.route("/echo")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)

"""


def echo(server):
    """A message and its answer, then a good-bye."""
    url = f"ws://{server.netloc}/echo?token=secret"
    with connect(url, open_timeout=DEADLINE_S) as ws:
        ws.send("hello")
        assert ws.recv(DEADLINE_S) == "hello"


def get(server, path):
    with urllib.request.urlopen(f"http://{server.netloc}{path}", timeout=DEADLINE_S) as response:
        return response.read().decode()


def metrics_of(text):
    """Name, type and labels of our metrics."""
    return {
        (family.name, family.type): {label for sample in family.samples for label in sample.labels}
        for family in text_string_to_metric_families(text)
        if family.name.startswith("flask_wshandler_")
    }


def test_prometheus_takes_three_lines(tmp_path, monkeypatch):
    """As they are printed; the second block beside metrics in files."""
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "files"))
    (tmp_path / "shop.py").write_text(HEAD + "\n".join(PAGE.code("Prometheus", "python")))
    with gunicorn("gunicorn --workers 4 --threads 4 shop:app", tmp_path) as server:
        for _ in range(5):
            echo(server)
        for path in ("/metrics", "/all-metrics"):
            for _ in range(10):
                assert 'flask_wshandler_accepted_total{app="shop"} 5.0' in get(server, path)


def test_the_table_has_every_metric(tmp_path):
    """With its type, its unit's place and its labels, as they are scraped."""
    (tmp_path / "shop.py").write_text(HEAD + PAGE.code("Prometheus", "python")[0])
    with gunicorn("gunicorn --threads 4 shop:app", tmp_path) as server:
        echo(server)
        with contextlib.suppress(InvalidStatus):
            connect(f"ws://{server.netloc}/echo", origin="https://elsewhere.example").close()
        scraped = metrics_of(get(server, "/metrics"))
    rows = [row for row in PAGE.rows("Metrics") if len(row) == 5]
    described = {}
    for name, kind, _, labels, _ in rows:
        base = name.strip("`").removesuffix("_total") if kind == "counter" else name.strip("`")
        described[base, kind] = set(_CODE.findall(labels)) | {"app"}
    assert set(described) == set(scraped)
    for key, labels in scraped.items():
        assert labels - {"le"} in (described[key], set()), key  # no sample, no label


def test_the_labels_are_bounded_as_it_says():
    """What can be in each."""
    rows = {row[0].strip("`"): row for row in PAGE.rows("Metrics") if len(row) == 3}
    assert set(rows) == {label for family in FAMILIES for label in family.labels}
    reasons = _CODE.findall(rows["reason"][1])
    assert set(reasons) == {reason.value for reason in RefusalReason}
    assert rows["reason"][2] == str(len(RefusalReason))
    assert rows["handler"][2].startswith(f"{MOST_HANDLERS}, then `{OTHERS}`")
    assert [1000 * bound for bound in BOUNDS_S[:8]] == [0.1, 0.5, 1, 5, 10, 50, 100, 500]
    assert BOUNDS_S[8:] == (1, 5, 30)


def test_the_alarms_ask_for_what_there_is(tmp_path):
    """Every expression parses; the metrics and labels are those of the table."""
    [rules] = [block for block in PAGE.code("Alarms", "yaml") if block.startswith("groups:")]
    labels_of = {}
    for name, kind, _, labels, _ in (row for row in PAGE.rows("Metrics") if len(row) == 5):
        suffix = "_bucket" if kind == "histogram" else ""
        known = set(_CODE.findall(labels)) | {"app"} | ({"le"} if suffix else set())
        labels_of[name.strip("`") + suffix] = known
    expressions = re.findall(r"expr: (.+)", rules)
    assert len(expressions) == rules.count("- alert:") == 11
    for expression in expressions:
        assert_can_be_asked(expression, labels_of)


def test_opentelemetry_records_spans_and_metrics(tmp_path):
    """With the SDK set up as printed; its console exporters write to gunicorn's log."""
    watch, set_up = PAGE.code("OpenTelemetry", "python")
    (tmp_path / "shop.py").write_text(set_up + HEAD + watch)
    with gunicorn("gunicorn --threads 4 shop:app", tmp_path) as server:
        echo(server)
    assert '"name": "Echo.on_message"' in server.log
    assert '"name": "flask_wshandler.messages_received"' in server.log
    assert '"service.instance.id"' in server.log


def test_signals_reach_the_receivers(tmp_path):
    """Both of the block, with the level that shows them."""
    [receivers] = PAGE.code("Signals", "python")
    level = "app.logger.setLevel('DEBUG')\n"
    (tmp_path / "shop.py").write_text(HEAD + level + receivers)
    with gunicorn("gunicorn --threads 4 shop:app", tmp_path) as server:
        echo(server)
    assert re.search(r"[0-9a-f]{16} sent 5\n", server.log)
    assert re.search(r"[0-9a-f]{16} has gone: 1000\n", server.log)
    rows = [row[0].strip("`") for row in PAGE.rows("Signals")]
    assert rows == ["websocket_connected", "message_received", "websocket_disconnected"]


def test_the_access_log_looks_as_it_is_shown(tmp_path):
    """The block switches it on; each line has the names of the one that is printed."""
    [switch] = PAGE.code("Log lines", "python")
    [shown] = PAGE.code("Log lines", "text")
    (tmp_path / "shop.py").write_text(HEAD + switch)
    with gunicorn("gunicorn --threads 4 shop:app", tmp_path) as server:
        echo(server)
    [line] = [line for line in server.log.splitlines() if " closed peer=" in line]
    names = re.compile(r" (\w+)=")
    assert names.findall(line) == names.findall(shown)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ closed peer=127\.0\.0\.1 ", line)
    assert "secret" not in line


def test_the_log_lines_are_written_by_their_loggers():
    """Each text is in the folder that the logger is named after; `app.logger` has several."""
    modules = {
        path: " ".join(re.sub(r'"\s*\n\s*"', "", path.read_text()).split())
        for path in (ROOT / "flask_wshandler").rglob("*.py")
    }
    rows = [row for row in PAGE.rows("Log lines") if len(row) == 4]
    assert len(rows) > 10
    for logger, level, text, _ in rows:
        name = logger.strip("`")
        folder = ROOT / name.replace(".", "/")
        [line] = _CODE.findall(text)
        is_own = name in ("app.logger", "flask_wshandler.access")
        assert is_own or folder.is_dir(), name
        sources = [source for path, source in modules.items() if is_own or folder in path.parents]
        for piece in re.split(r"…|\d+(?:\.\d+)*|/path", line):
            assert any(piece.strip() in source for source in sources), line
        assert level in ("info", "warning", "error")


def test_prometheus_is_told_of_the_address():
    """What it asks for by default is what the program above serves."""
    configuration, *_ = PAGE.code("Prometheus", "yaml")
    [job] = yaml.safe_load(configuration)["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8000"]}]
    assert job.get("metrics_path", "/metrics") in PAGE.code("Prometheus", "python")[0]
