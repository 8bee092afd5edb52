"""README.md holds what it says: its programs run, its tables are those of the package."""

import ast
import contextlib
import dataclasses
import http.client
import json
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

import flask_wshandler
from flask_wshandler.settings import PREFIX, Settings

from .markdown_page import MarkdownPage
from .programs import Program, gunicorn, nginx

ROOT = Path(__file__).resolve().parents[2]
README = MarkdownPage(ROOT / "README.md")
PAGES = [README, *(MarkdownPage(path) for path in sorted((ROOT / "docs").rglob("*.md")))]

CHAT = "A chat in twenty lines"
NGINX = "Behind nginx"
RECEIVE_DEADLINE_S = 10

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def handshake_status(
    program: Program, origin: str | None = None, context: ssl.SSLContext | None = None
) -> int:
    """The status that answers a handshake."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=RECEIVE_DEADLINE_S)
    if context is not None:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", program.port, timeout=RECEIVE_DEADLINE_S, context=context
        )
    headers = UPGRADE if origin is None else UPGRADE | {"Origin": origin}
    with contextlib.closing(connection):
        connection.request("GET", "/ws.ashx?name=Ada", headers=headers)
        with connection.getresponse() as response:
            return response.status


def greeting(url: str, origin: str, context: ssl.SSLContext | None = None) -> str | bytes:
    """What the chat tells a client from a page of `origin`."""
    with connect(f"{url}/ws.ashx?name=Ada", origin=Origin(origin), ssl=context) as client:
        return client.recv(RECEIVE_DEADLINE_S)


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Program]:
    """The README's program, started by the README's command."""
    [program, _] = README.code(CHAT, "python")
    (tmp_path / "chat.py").write_text(program)
    [command, _] = README.code(CHAT, "sh")
    with gunicorn(command, tmp_path) as running:
        yield running


class TestChat:
    def test_has_about_twenty_lines(self):
        """The heading says so; blank lines don't count."""
        lines = [line for line in README.code(CHAT, "python")[0].splitlines() if line]
        assert len(lines) <= 21

    def test_talks_to_the_python_client(self, chat, tmp_path):
        """Both programs of the section, as they are, print what the comments say."""
        client = README.code(CHAT, "python")[1].replace("127.0.0.1:8000", chat.netloc)
        printed = subprocess.run(
            [sys.executable, "-c", client], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        assert printed.splitlines() == re.findall(r"\)\) +# (.+)", client)

    def test_tells_a_browser_that_it_speaks_websocket(self, chat):
        """The address can be opened as a page, to try the chat from its console."""
        connection = http.client.HTTPConnection("127.0.0.1", chat.port, timeout=RECEIVE_DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/ws.ashx")
            response = connection.getresponse()
            assert (response.status, response.read()) == (426, b"This address speaks WebSocket.")

    def test_refuses_pages_of_other_sites(self, chat):
        """The default of WSHANDLER_ALLOWED_ORIGINS."""
        assert handshake_status(chat, origin="http://elsewhere.example") == 403
        assert handshake_status(chat, origin=f"http://{chat.netloc}") == 101

    def test_answers_the_handshake_that_is_typed_into_curl(self, chat):
        """The headers that the README types are a whole handshake."""
        typed = dict(re.findall(r'-H "([\w-]+): ([^"]+)"', README.code(CHAT, "sh")[1]))
        assert typed == UPGRADE


@pytest.fixture
def nginx_executable() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    return found or pytest.skip("nginx is missing: apt install nginx")


@pytest.fixture
def proxied_chat(tmp_path: Path) -> Iterator[Program]:
    """The program with what the README adds to it for a proxy."""
    [program, _] = README.code(CHAT, "python")
    [addition] = README.code(NGINX, "python")
    (tmp_path / "chat.py").write_text(program + "\n" + addition)
    [command, _] = README.code(CHAT, "sh")
    with gunicorn(command, tmp_path) as running:
        yield running


class TestNginx:
    [SITES] = README.code(NGINX, "nginx")

    def test_lets_the_page_of_the_same_address_connect(
        self, nginx_executable, proxied_chat, tmp_path
    ):
        """On a port of its own, which the Host header has to bring along."""
        with nginx(nginx_executable, self.SITES, "", proxied_chat, tmp_path) as front:
            said = greeting(f"ws://{front.netloc}", origin=f"http://{front.netloc}")
            assert said == "Ada has connected."

    def test_leaves_foreign_pages_refused(self, nginx_executable, proxied_chat, tmp_path):
        """Neither another host nor another port nor the address behind the proxy is the same."""
        with nginx(nginx_executable, self.SITES, "", proxied_chat, tmp_path) as front:
            for origin in ("elsewhere.example", "127.0.0.1", proxied_chat.netloc):
                assert handshake_status(front, origin=f"http://{origin}") == 403

    def test_ends_tls_for_the_app(self, nginx_executable, proxied_chat, tmp_path):
        """Pages of https: are the same origin, those of http: are not."""
        certificate, key = self_signed_certificate(tmp_path)
        listen = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {key}"
        context = ssl.create_default_context(cafile=str(certificate))
        with nginx(nginx_executable, self.SITES, listen, proxied_chat, tmp_path) as front:
            said = greeting(f"wss://{front.netloc}", f"https://{front.netloc}", context)
            assert said == "Ada has connected."
            assert handshake_status(front, f"http://{front.netloc}", context) == 403

    @pytest.mark.parametrize(
        ("written", "instead", "status"),
        [
            pytest.param("$http_host", "$host", 403, id="the port is lost"),
            pytest.param("proxy_http_version 1.1;", "", 426, id="HTTP 1.0"),
            pytest.param("$http_upgrade;", "'';", 426, id="no Upgrade header"),
        ],
    )
    def test_needs_every_line(
        self, nginx_executable, proxied_chat, tmp_path, written, instead, status
    ):
        """What the README says of a configuration without them."""
        assert self.SITES.count(written) == 1
        sites = self.SITES.replace(written, instead)
        with nginx(nginx_executable, sites, "", proxied_chat, tmp_path) as front:
            assert handshake_status(front, origin=f"http://{front.netloc}") == status

    def test_waits_longer_than_the_pings(self):
        """A connection at rest has a ping's traffic in every read time-out."""
        [seconds] = re.findall(r"proxy_read_timeout (\d+)s;", self.SITES)
        ping_interval = Settings().ping_interval
        assert ping_interval is not None
        assert int(seconds) > ping_interval


def self_signed_certificate(directory: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt install openssl")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1"
    arguments = [*command.split(), "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(arguments, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return certificate, key


def test_the_flask_sock_program_echoes(tmp_path):
    """With the one import changed, and nothing else."""
    [program] = README.code("Coming from flask-sock", "python")
    (tmp_path / "sock_echo.py").write_text(program)
    with (
        gunicorn("gunicorn --threads 4 sock_echo:app", tmp_path) as server,
        connect(f"ws://{server.netloc}/echo") as client,
    ):
        client.send("hello")
        assert client.recv(RECEIVE_DEADLINE_S) == "hello"


def test_the_handler_with_an_address_of_its_own_answers(tmp_path):
    """The program of the section on handlers, completed by the lines that it is an excerpt of."""
    [program] = README.code("Handlers", "python")
    head = "from flask import Flask\nfrom flask_wshandler import WebSocketHandler, WebSockets\n"
    (tmp_path / "game.py").write_text(head + "app = Flask(__name__)\n" + program)
    with (
        gunicorn("gunicorn --threads 4 game:app", tmp_path) as server,
        connect(f"ws://{server.netloc}/game/lobby") as client,
    ):
        client.send("hello")
        answer = client.recv(RECEIVE_DEADLINE_S)
        assert ast.literal_eval(answer) == {"room": "lobby", "you": "hello"}
        client.send(b"hello")
        with pytest.raises(ConnectionClosed, match="1003"):
            client.recv(RECEIVE_DEADLINE_S)


def test_the_rooms_and_users_are_in_all_workers(tmp_path):
    """The program of the section on collections, with more workers than clients."""
    [program] = README.code("Collections", "python")
    head = "from flask import Flask\nfrom flask_wshandler import WebSocketHandler, WebSockets\n"
    head += "app = Flask(__name__)\nsockets = WebSockets(app)\n"
    (tmp_path / "rooms.py").write_text(head + program)
    with gunicorn("gunicorn --workers 3 --threads 4 rooms:app", tmp_path) as server:
        url = f"ws://{server.netloc}/rooms/lobby"
        with contextlib.ExitStack() as stack:
            ada = stack.enter_context(connect(f"{url}/Ada"))
            assert json.loads(ada.recv(RECEIVE_DEADLINE_S)) == ["Ada"]
            bob = stack.enter_context(connect(f"{url}/Bob"))
            assert sorted(json.loads(bob.recv(RECEIVE_DEADLINE_S))) == ["Ada", "Bob"]
            assert ada.recv(RECEIVE_DEADLINE_S) == "Bob is here."
            connection = http.client.HTTPConnection(server.netloc, timeout=RECEIVE_DEADLINE_S)
            with contextlib.closing(connection):
                connection.request("POST", "/tell/Bob/hello")
                assert json.loads(connection.getresponse().read()) == {"connections": 1}
            assert bob.recv(RECEIVE_DEADLINE_S) == "hello"


def test_the_test_of_the_chat_passes(tmp_path):
    """Under pytest, beside the README's program."""
    [program, _] = README.code(CHAT, "python")
    [test] = README.code("Testing", "python")
    (tmp_path / "chat.py").write_text(program)
    (tmp_path / "test_chat.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-Werror", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert "1 passed" in done.stdout, done.stdout


class TestTables:
    def test_the_settings_are_all_there_with_their_defaults(self):
        """A key, its default in code, its unit, what it does."""
        documented = {
            key.strip("`"): ast.literal_eval(default.strip("`"))
            for key, default, *_ in README.rows("Settings")
        }
        assert documented == {
            PREFIX + field.name.upper(): field.default for field in dataclasses.fields(Settings)
        }

    def test_the_close_codes_are_ours(self):
        """Every code in the table is one that this package names."""
        codes = {int(code) for code, _ in README.rows("What a client can see") if code.isdigit()}
        ours = {int(code) for code in flask_wshandler.CloseCode}
        statuses = {400, 403, 426, 429, 503}
        assert codes - statuses == ours - {1005}  # which is for us alone to see

    def test_the_names_beside_those_of_asp_net_exist(self):
        """Each word of code in the second column is something that the package has."""
        public = [getattr(flask_wshandler, name) for name in flask_wshandler.__all__]
        names = set(flask_wshandler.__all__) | {"context"}
        for each in public:
            names.update(dir(each), getattr(each, "__annotations__", ()))
        for _, here, _ in README.rows("Coming from ASP.NET"):
            code = [re.sub(r"\(.*\)", "", word) for word in re.findall(r"`([^`]+)`", here)]
            words = {name for word in code for name in word.split(".")}
            assert words, here
            assert words <= names, here


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.name)
def test_links_lead_somewhere(page):
    """Files that are linked to or shown exist."""
    missing = [target for target in page.linked_files() if not (page.path.parent / target).exists()]
    assert missing == []
