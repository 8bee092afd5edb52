"""docs/operations.md holds what it says: its configurations work, its tables are the package's."""

import configparser
import contextlib
import dataclasses
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from flask_wshandler.settings import PREFIX, Settings
from tests.deadlines import DEADLINE_S, PAGE_DEADLINE_MS

from .chat import DOCS, NGINX_PAGE, UPGRADE, chat_program, greeting, handshake_status
from .markdown_page import MarkdownPage
from .programs import Program, gunicorn, haproxy, nginx

ROOT = Path(__file__).resolve().parents[2]
PAGE = MarkdownPage(ROOT / "docs" / "operations.md")
SYSTEMD = MarkdownPage(DOCS / "howto" / "systemd.md")
REFERENCE = MarkdownPage(DOCS / "reference" / "statuses-and-codes.md")
RESULTS = MarkdownPage(DOCS / "benchmarks" / "results.md")

_SETTING = re.compile(rf"{PREFIX}[A-Z_]+[A-Z]")
_CODE = re.compile(r"`([^`]+)`")


@pytest.fixture
def nginx_executable() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    return found or pytest.skip("nginx is missing: apt install nginx")


@pytest.fixture
def haproxy_executable() -> str:
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin")
    return found or pytest.skip("haproxy is missing: apt install haproxy")


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Program]:
    """With two threads, which two unfinished requests would take."""
    (tmp_path / "chat.py").write_text(chat_program())
    with gunicorn("gunicorn --workers 1 --threads 2 chat:app", tmp_path) as running:
        yield running


@contextlib.contextmanager
def unfinished_requests(front: Program, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", front.port), DEADLINE_S)
            stack.enter_context(sock)
            sock.sendall(b"GET /ws.ashx?name=Eve HTTP/1.1\r\nHost: localhost\r\nUpgr")
            sockets.append(sock)
        yield sockets


class TestUnit:
    [UNIT] = SYSTEMD.code("The unit", "ini")

    def parsed(self) -> configparser.ConfigParser:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(self.UNIT)
        return parser

    def test_is_valid(self, tmp_path):
        """By systemd's own check, where it is installed."""
        if shutil.which("systemd-analyze") is None:
            pytest.skip("systemd-analyze is missing")
        # It looks whether the program is there.
        unit = self.UNIT.replace("/srv/shop/venv/bin/gunicorn", "/bin/true")
        unit = unit.replace("User=shop", "User=root").replace("Group=shop", "Group=root")
        (tmp_path / "shop.service").write_text(unit)
        done = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / "shop.service"],
            capture_output=True,
            text=True,
            check=False,
        )
        ours = [line for line in done.stderr.splitlines() if "shop.service" in line]
        assert ours == []

    def test_gives_a_stop_the_time_that_it_takes(self):
        """Ours within gunicorn's, gunicorn's within systemd's."""
        service = self.parsed()["Service"]
        [graceful_s] = re.findall(r"--graceful-timeout (\d+)", service["ExecStart"])
        settings = Settings()
        least_s = (settings.drain_seconds + 2 * settings.close_timeout) / 0.7
        assert least_s <= int(graceful_s) < int(service["TimeoutStopSec"])
        assert f"{least_s + 0.5:.0f} seconds with the defaults" in SYSTEMD.text

    def test_lets_the_workers_find_each_other(self):
        """A run directory of its own, which the variable names."""
        service = self.parsed()["Service"]
        assert service["Environment"] == f"XDG_RUNTIME_DIR=/run/{service['RuntimeDirectory']}"
        assert service["RuntimeDirectoryMode"] == "0700"
        assert service["KillMode"] == "mixed"
        assert int(service["LimitNOFILE"]) > Settings().max_connections

    def test_the_command_lines_start(self, tmp_path):
        """Both of the page, and the unit's, but for its address."""
        commands = [*PAGE.code("Deploy", "sh"), self.parsed()["Service"]["ExecStart"]]
        (tmp_path / "shop.py").write_text(chat_program())
        for command in commands:
            command = re.sub(r" --bind \S+", "", command)
            with gunicorn(command, tmp_path) as server:
                origin = f"http://{server.netloc}"
                assert greeting(f"ws://{server.netloc}", origin) == "Ada has connected."


RETURNING = """
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets

app = Flask(__name__)
sockets = WebSockets(app)

@sockets.route("/ws")
class Greeter(WebSocketHandler):
    def on_open(self):
        self.send("hello")
    def on_message(self, message):
        self.close(4401)

@app.get("/")
def page():
    return "<title>page</title>"

@app.get("/login")
def login():
    return "<title>log in</title>"
"""


class TestReconnection:
    [SCRIPT] = PAGE.code("Reload", "js")

    def test_a_page_comes_back_after_a_reload(self, browser, tmp_path):
        """SIGHUP; the page hears 1012 and is greeted again."""
        (tmp_path / "returning.py").write_text(RETURNING)
        with (
            gunicorn("gunicorn --threads 4 returning:app", tmp_path) as server,
            contextlib.closing(browser.new_page()) as page,
        ):
            page.goto(f"http://{server.netloc}/")
            page.add_script_tag(
                content=self.SCRIPT + "let greetings = 0; connect('/ws', () => { greetings += 1 });"
            )
            page.wait_for_function("greetings == 1", timeout=PAGE_DEADLINE_MS)
            os.kill(server.pid, signal.SIGHUP)
            page.wait_for_function("greetings == 2", timeout=PAGE_DEADLINE_MS)

    def test_a_page_goes_to_log_in(self, browser, tmp_path):
        """4401 is not to come back from."""
        (tmp_path / "returning.py").write_text(RETURNING)
        with (
            gunicorn("gunicorn --threads 4 returning:app", tmp_path) as server,
            contextlib.closing(browser.new_page()) as page,
        ):
            page.goto(f"http://{server.netloc}/")
            page.add_script_tag(
                content="const plain = WebSocket; window.WebSocket = class extends plain {"
                " constructor(url) { super(url); this.addEventListener("
                "'open', () => this.send('go')) } };" + self.SCRIPT + "connect('/ws', () => {});"
            )
            page.wait_for_url("**/login", timeout=PAGE_DEADLINE_MS)


REFUSING = """
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets

app = Flask(__name__)
app.config["WSHANDLER_MAX_MESSAGE_SIZE"] = 100
app.config["WSHANDLER_MAX_CONNECTIONS_PER_IP"] = 1
sockets = WebSockets(app)

@sockets.route("/ws")
class Refusing(WebSocketHandler):
    message_rate = (5, 5)
    def on_text(self, message):
        if message == "raise":
            raise ValueError
        if message == "close":
            self.close(3999, "the app's")

@app.get("/")
def page():
    return "<title>page</title>"
"""

_ONCLOSE = """
([path, messages]) => new Promise((done) => {
    const ws = new WebSocket(`ws://${location.host}${path}`);
    ws.onopen = () => { for (const message of messages) ws.send(message); };
    ws.onclose = (event) => done([event.code, event.reason, event.wasClean]);
})
"""

SETTINGS = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}


def plain(text: str) -> str:
    """Without the numbers that are those of a limit."""
    return re.sub(r"\d+", "n", text)


STATUSES = {row[0]: row[1:] for row in PAGE.rows("Refused before the upgrade")}
CODES = {row[0]: row[1:] for row in PAGE.rows("Closed after it")}
REFERENCE_ROWS = {
    row[0]: row[1]
    for heading in ("Before the upgrade", "After the upgrade")
    for row in REFERENCE.rows(heading)
}


class TestRefusals:
    def test_are_those_of_the_reference(self):
        """Neither more nor fewer statuses and codes."""
        assert STATUSES.keys() | CODES.keys() == REFERENCE_ROWS.keys()
        assert not STATUSES.keys() & CODES.keys()

    def test_name_the_settings_that_the_reference_names(self):
        """Row by row."""
        for code, why in REFERENCE_ROWS.items():
            _, setting, *_ = {**STATUSES, **CODES}[code]
            assert set(_SETTING.findall(why)) <= set(_SETTING.findall(setting)), code

    def test_say_when_to_come_back(self):
        """Where the reference says that it is said."""
        for status, (_, _, retry_after_s, shown) in STATUSES.items():
            assert (retry_after_s != "no") == ("Retry-After" in REFERENCE_ROWS[status])
            assert shown == "1006"

    def test_retry_after_is_what_is_sent(self, tmp_path):
        """A second client from one address."""
        (tmp_path / "refusing.py").write_text(REFUSING)
        with (
            gunicorn("gunicorn --threads 4 refusing:app", tmp_path) as server,
            connect(f"ws://{server.netloc}/ws"),
            contextlib.closing(http.client.HTTPConnection(server.netloc)) as connection,
        ):
            connection.request("GET", "/ws", headers=UPGRADE)
            response = connection.getresponse()
            assert response.status == 429
            assert response.getheader("Retry-After") == STATUSES["429"][2]

    def test_are_what_a_browser_shows(self, browser, tmp_path):
        """1006 for every status; the code and reason of the table otherwise."""
        (tmp_path / "refusing.py").write_text(REFUSING)
        with (
            gunicorn("gunicorn --threads 4 refusing:app", tmp_path) as server,
            contextlib.closing(browser.new_page()) as page,
        ):
            page.goto(f"http://{server.netloc}/")
            shown = page.evaluate(_ONCLOSE, ["/missing", []])
            assert shown == [1006, "", False]
            for code, messages in {
                "1008": 6 * ["hello"],
                "1009": [101 * "x"],
                "1011": ["raise"],
                "3999": ["close"],
            }.items():
                found, reason, was_clean = page.evaluate(_ONCLOSE, ["/ws", messages])
                assert (str(found), was_clean) == (code, True)
                written = CODES[code][2].strip("`-") if code in CODES else "the app's"
                assert plain(reason) == plain(written), code
            with connect(f"ws://{server.netloc}/ws"):
                assert page.evaluate(_ONCLOSE, ["/ws", []]) == [1006, "", False]
            page.goto(f"http://localhost:{server.port}/")
            shown = page.evaluate(
                _ONCLOSE.replace("location.host", repr(server.netloc)), ["/ws", []]
            )
            assert shown == [1006, "", False]


def test_every_setting_is_there_and_no_other():
    """All keys of `Settings`, on a page that says what bounds what."""
    assert set(_SETTING.findall(PAGE.text)) == SETTINGS


def shown(value: Any) -> str:
    """A default as the table of limits writes it."""
    if isinstance(value, int) and value >= 2**20:
        return f"{value // 2**20} MiB"
    return "none" if value is None else f"{value:,.0f}"


def test_the_limits_have_their_defaults():
    """Where a row is about one setting and its default is a number."""
    compared = 0
    for _, setting, default, _ in PAGE.rows("Limits"):
        names = _SETTING.findall(setting)
        if len(names) == 1 and setting == f"`{names[0]}`" and "ORIGINS" not in setting:
            value = getattr(Settings(), names[0].removeprefix(PREFIX).lower())
            assert default.removesuffix(" s") == shown(value), setting
            compared += 1
    assert compared > 8


@pytest.mark.parametrize(
    ("written", "times", "heading", "column", "rounded_to"),
    [
        (r"echoed\s+([\d,]+) small messages", 1, "Echo", 1, 1000),
        (r"([\d.]+) kB each", 1000, "Idle clients", 4, 100),
        (r"(\d+) in a worker with `--threads 4`", 1, "Idle clients", 5, 1),
        (r"(\d+) ms for 5,000 clients", 1, "Broadcast", 2, 1),
    ],
)
def test_figures_of_sizing_are_those_of_the_results(written, times, heading, column, rounded_to):
    """Rounded; of the run that is published, so a newer one asks for newer figures."""
    [figure] = re.findall(written, PAGE.text)
    [ours, *_] = [row for row in RESULTS.rows(heading) if row[0].startswith("**flask-wshandler")]
    measured = float(ours[column].split()[0].replace(",", ""))
    assert abs(float(figure.replace(",", "")) * times - measured) <= rounded_to / 2


class TestNginx:
    [CONFIGURATION] = PAGE.code("nginx", "nginx")
    INCLUDE = "include /etc/nginx/sites-enabled/*;"

    def started(
        self, executable: str, backend: Program, directory: Path, **changed: str
    ) -> Program:
        """nginx with the page's main configuration around the site of the how-to."""
        [site] = NGINX_PAGE.code("The site", "nginx")
        front = nginx(executable, site, "", backend, directory)
        # Its directories for the user that the tests run as, but the page's own limits.
        made = directory / "nginx.conf"
        [http_block] = re.findall(r"http \{\n(.*)\n\}\n", made.read_text(), re.DOTALL)
        configuration = self.CONFIGURATION.replace(self.INCLUDE, http_block)
        assert configuration != self.CONFIGURATION
        for written, tried in {
            "worker_rlimit_nofile 50000;": "",  # only root may
            "worker_connections 45000;": "worker_connections 500;",
            "worker_processes auto;": "worker_processes 1;",
            **changed,
        }.items():
            assert configuration.count(written) == 1, written
            configuration = configuration.replace(written, tried)
        head = f"daemon off;\npid {directory}/nginx.pid;\nerror_log stderr;\n"
        if os.geteuid() == 0:
            head += "user root;\n"
        made.write_text(head + configuration)
        return front

    def test_is_valid(self, nginx_executable, tmp_path):
        """As it is on the page, but for the files that it includes."""
        [site] = NGINX_PAGE.code("The site", "nginx")
        (tmp_path / "site.conf").write_text(site)
        configuration = self.CONFIGURATION.replace(
            self.INCLUDE, f"include {tmp_path}/site.conf; access_log off;"
        )
        (tmp_path / "main.conf").write_text(f"pid {tmp_path}/nginx.pid;\n" + configuration)
        command = [nginx_executable, "-t", "-e", "stderr", "-c", tmp_path / "main.conf"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "syntax is ok" in done.stderr, done.stderr

    def test_counts_open_websockets_by_address(self, nginx_executable, chat, tmp_path):
        """429 from nginx itself, until one of them has gone."""
        changed = {"limit_conn address 100;": "limit_conn address 2;"}
        with self.started(nginx_executable, chat, tmp_path, **changed) as front:
            url, origin = f"ws://{front.netloc}/ws.ashx?name=Ada", f"http://{front.netloc}"
            with connect(url), connect(url):
                assert handshake_status(front, origin) == 429
            assert "limiting connections" in front.log

    def test_unfinished_requests_hold_up_nobody(self, nginx_executable, chat, tmp_path):
        """More than gunicorn has threads; they never get there, and are ended in time."""
        changed = {"client_header_timeout 10s;": "client_header_timeout 1s;"}
        with (
            self.started(nginx_executable, chat, tmp_path, **changed) as front,
            unfinished_requests(front, 5) as sockets,
        ):
            said = greeting(f"ws://{front.netloc}", f"http://{front.netloc}")
            assert said == "Ada has connected."
            for sock in sockets:
                answer = sock.recv(4096)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 408")


class TestHAProxy:
    [CONFIGURATION] = PAGE.code("HAProxy", "haproxy")

    def test_lets_the_page_of_the_same_address_connect(self, haproxy_executable, chat, tmp_path):
        """And no other."""
        with haproxy(haproxy_executable, self.CONFIGURATION, "", chat, tmp_path) as front:
            said = greeting(f"ws://{front.netloc}", f"http://{front.netloc}")
            assert said == "Ada has connected."
            for origin in ("http://elsewhere.example", f"https://{front.netloc}"):
                assert handshake_status(front, origin) == 403

    def test_waits_longer_than_the_pings_and_for_the_close(self):
        """The times of the page beside the defaults."""
        times = dict(re.findall(r"timeout (\S+) (\d+)s", self.CONFIGURATION))
        settings = Settings()
        assert settings.ping_interval is not None
        assert int(times["tunnel"]) > settings.ping_interval
        assert int(times["client-fin"]) > settings.close_timeout

    @pytest.mark.parametrize("ping_interval_s", [0.2, None])
    def test_pings_keep_a_silent_connection(self, haproxy_executable, tmp_path, ping_interval_s):
        """Several times as long as `timeout tunnel`; without them it is cut off."""
        setting = f'app.config["WSHANDLER_PING_INTERVAL"] = {ping_interval_s}\n'
        (tmp_path / "chat.py").write_text(chat_program(setting))
        configuration = self.CONFIGURATION.replace("timeout tunnel 90s", "timeout tunnel 1s")
        with (
            gunicorn("gunicorn --threads 4 chat:app", tmp_path) as backend,
            haproxy(haproxy_executable, configuration, "", backend, tmp_path) as front,
            connect(f"ws://{front.netloc}/ws.ashx?name=Ada", ping_interval=None) as client,
        ):
            assert client.recv(DEADLINE_S) == "Ada has connected."
            if ping_interval_s is None:
                with pytest.raises(ConnectionClosed, match="no close frame"):
                    client.recv(DEADLINE_S)
            else:
                with pytest.raises(TimeoutError):
                    client.recv(3)
                client.send("still there")
                assert client.recv(DEADLINE_S) == "Ada said: still there"

    def test_unfinished_requests_hold_up_nobody(self, haproxy_executable, chat, tmp_path):
        """More than gunicorn has threads; they never get there, and are ended in time."""
        configuration = self.CONFIGURATION.replace("http-request 10s", "http-request 1s")
        with (
            haproxy(haproxy_executable, configuration, "", chat, tmp_path) as front,
            unfinished_requests(front, 5) as sockets,
        ):
            said = greeting(f"ws://{front.netloc}", f"http://{front.netloc}")
            assert said == "Ada has connected."
            for sock in sockets:
                assert sock.recv(4096).startswith(b"HTTP/1.1 408")
