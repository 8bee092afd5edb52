"""docs/howto, page by page, as a reader does them, and what a page's own test does not show."""

import ast
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from websockets.sync.client import connect

from tests.bus.networks import RedisServer
from tests.deadlines import DEADLINE_S, PAGE_DEADLINE_MS

from .chat import greeting
from .markdown_page import MarkdownPage
from .programs import gunicorn, nginx
from .walk import Walk, file_name

ROOT = Path(__file__).resolve().parents[2]
HOWTO = ROOT / "docs" / "howto"
DOCKER = MarkdownPage(HOWTO / "docker.md")
NGINX = MarkdownPage(HOWTO / "nginx.md")
QUICK_START = MarkdownPage(ROOT / "docs" / "quickstart.md")


@pytest.fixture
def walk(tmp_path):
    """A reader who has installed what the tests have."""
    with contextlib.ExitStack() as stack:

        def walk(name, **options):
            return stack.enter_context(Walk(MarkdownPage(HOWTO / name), tmp_path, **options))

        yield walk


@pytest.fixture
def visit(browser):
    """Opens a page of a server and lets it load a script; it ends with the test.

    `before` is what the script finds on the page.
    """
    with contextlib.ExitStack() as stack:

        def visit(netloc, script, before=""):
            page = stack.enter_context(contextlib.closing(browser.new_page()))
            page.add_init_script(before)
            page.set_default_timeout(PAGE_DEADLINE_MS)
            page.goto(f"http://{netloc}{script}")
            page.add_script_tag(url=script)
            return page

        yield visit


#: What the quick start's environment has, by the names that programs import.
BROUGHT_ALONG = {"flask", "flask_wshandler", "itsdangerous", "pytest", "websockets", "werkzeug"}
#: Where the name of the distribution differs from that of its module.
INSTALLED_BY = {"sqlalchemy": "flask-sqlalchemy"}


def imported_by(page):
    """The packages that a page's programs import, without those that are its own files."""
    blocks = [block.code for block in page.blocks if block.language == "python"]
    found = set()
    for node in (node for code in blocks for node in ast.walk(ast.parse(code))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    names = [found_name["name"] for block in page.blocks if (found_name := file_name(block))]
    own = {name.partition("/")[0].removesuffix(".py") for name in names}
    return {name.partition(".")[0] for name in found} - own


@pytest.mark.parametrize("path", sorted(HOWTO.glob("*.md")), ids=lambda path: path.name)
def test_what_a_page_imports_it_installs(path):
    """Unless the environment of the quick start, which the index names, has it."""
    page = MarkdownPage(path)
    commands = re.findall(r"\bpip install ([^`\n]+)", page.text)
    installed = {
        word.strip("'").partition("[")[0] for command in commands for word in command.split()
    }
    needed = imported_by(page) - BROUGHT_ALONG - sys.stdlib_module_names
    assert {INSTALLED_BY.get(name, name.replace("_", "-")) for name in needed} <= installed


@pytest.fixture
def redis_server(tmp_path):
    running = RedisServer(tmp_path)
    yield running
    running.stop()


@pytest.mark.parametrize(
    "page",
    [
        "blueprints.md",
        "fallback.md",
        "from-aspnet.md",
        "from-flask-sock.md",
        "history.md",
        "json-messages.md",
        "from-signalr.md",
        "resume.md",
        "rooms.md",
        "tcp-gateway.md",
    ],
)
def test_the_page_works_as_printed(walk, page):
    """Its files, its server, its test: there is nothing else to see."""
    walk(page).read_on()


def test_the_flask_sock_program_echoes(walk):
    """Under a server, with the one import changed and nothing else."""
    reader = walk("from-flask-sock.md")
    reader.read_to("And then")
    reader.type_in("gunicorn --threads 4 sock_echo:app")
    with connect(f"ws://{reader.netloc}/echo") as client:
        client.send("hello")
        assert client.recv(DEADLINE_S) == "hello"


def test_authentication(walk, visit):
    """And a browser that has a token says so by the page's script."""
    reader = walk("authentication.md")
    reader.read_on()
    reader.type_in("python -c \"from tokens import tokens; print(tokens.dumps('ada'))\"")
    token = reader.printed.strip()
    reader.type_in("gunicorn --threads 4 tokens:app")
    page = visit(reader.netloc, "/static/greet.js")
    said = page.evaluate("(token) => new Promise((show) => greet(token, show))", token)
    assert said == "hello ada"


def test_files(walk, visit):
    """And a browser sends one up and gets it back, by the page's script."""
    reader = walk("files.md")
    reader.read_on()
    reader.type_in("gunicorn --threads 4 files:app")
    page = visit(reader.netloc, "/static/files.js")
    size, name, is_same = page.evaluate(
        """async () => {
            const bytes = new Uint8Array(300000).map((_, i) => i % 251);
            const shown = [];
            const name = await upload(new Blob([bytes]), (part) => shown.push(part));
            const back = new Uint8Array(await (await download(name)).arrayBuffer());
            return [shown.length, name, back.every((byte, i) => byte === bytes[i])];
        }"""
    )
    assert (size, is_same) == (5, True)
    assert (reader.directory / "uploads" / name).stat().st_size == 300_000


class Listening:
    """The Python program of the page on clients that come back; what it has printed."""

    def __init__(self, reader):
        self._path = reader.home / "heard.txt"
        url = f"ws://{reader.netloc}/lobby/Robot"
        with self._path.open("wb") as file:
            self._program = subprocess.Popen(
                [sys.executable, "listen.py", url], cwd=reader.directory, stdout=file
            )

    @property
    def lines(self):
        return self._path.read_text().splitlines()

    def wait_for(self, line, count=1):
        deadline_s = time.monotonic() + DEADLINE_S
        while self.lines.count(line) < count:
            assert time.monotonic() < deadline_s, self.lines
            time.sleep(0.02)

    def stop(self):
        self._program.kill()
        self._program.wait()


def test_clients_that_come_back(walk, browser):
    """A reload is nothing to a page and a program but a new handler; a kill is a gap."""
    reader = walk("resume.md")
    reader.read_on()
    with contextlib.closing(browser.new_page()) as page, contextlib.ExitStack() as stack:
        robot = Listening(reader)
        stack.callback(robot.stop)
        page.set_default_timeout(PAGE_DEADLINE_MS)

        def say(text):
            page.fill("input", text)
            page.press("input", "Enter")
            robot.wait_for(f"Ada: {text} (1)")
            page.get_by_text(f"Ada: {text} (1)").wait_for()

        robot.wait_for("Robot is here.")
        page.goto(f"http://{reader.netloc}/Ada")
        page.get_by_text("Ada is here.").wait_for()
        say("hello")
        reader.type_in("kill -HUP $(cat lobby.pid)")
        page.wait_for_function("document.body.innerText.split('Ada is here.').length == 3")
        robot.wait_for("Robot is here.", 2)
        say("hello again")
        assert "something is missing: MESSAGES" not in robot.lines
        page.evaluate("window.isTheSame = true")
        reader.type_in("pkill -KILL -P $(cat lobby.pid)")
        page.wait_for_function("!window.isTheSame && document.body.innerText.includes('is here.')")
        robot.wait_for("something is missing: MESSAGES")


def test_where_no_websocket_gets_through(walk, browser, tmp_path):
    """Behind nginx without the line that the page names, it is a stream."""
    executable = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if executable is None:
        pytest.skip("nginx is missing: apt install nginx")
    reader = walk("fallback.md")
    reader.read_on()
    [site] = NGINX.code("The site", "nginx")
    site = re.sub(r"^ *proxy_set_header Upgrade.*\n", "", site, flags=re.MULTILINE)
    with (
        nginx(executable, site, "", reader, tmp_path) as front,
        contextlib.closing(browser.new_page()) as page,
    ):
        page.set_default_timeout(PAGE_DEADLINE_MS)
        for netloc, transport in ((reader.netloc, "websocket"), (front.netloc, "stream")):
            page.goto(f"http://{netloc}/")
            page.fill("input", "hello")
            page.press("input", "Enter")
            page.get_by_text(f"hello, by {transport}").wait_for()


def test_sqlalchemy(walk):
    """And under two workers, one client hears of what another's worker has committed."""
    reader = walk("sqlalchemy.md")
    reader.read_on()
    url = f"ws://{reader.netloc}/notes/0"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(8)]
        # In the collection: its answer to a ping comes after `on_open`.
        for client in clients:
            assert client.ping().wait(DEADLINE_S)
        clients[0].send("hello")
        for client in clients:
            assert json.loads(client.recv(DEADLINE_S)) == {"id": 1, "text": "hello"}


def test_celery(walk, redis_server):
    """And with a broker, a worker and two processes of gunicorn, the progress is seen."""
    written = "127.0.0.1:6379/"
    [netloc] = [redis_server.url.removeprefix("redis://").partition("/")[0]]
    reader = walk("celery.md", instead={written: f"{netloc}/"})
    reader.read_on()
    with connect(f"ws://{reader.netloc}/reports/7") as client:
        assert json.loads(client.recv(DEADLINE_S)) == {"report": 7, "percent": 0}
        connection = http.client.HTTPConnection(reader.netloc, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("POST", "/reports/7")
            assert connection.getresponse().status == 202
        told = [json.loads(client.recv(DEADLINE_S))["percent"] for _ in range(4)]
    assert told == [25, 50, 75, 100]


def test_every_second(walk):
    """And clients of both workers get each tick once, none twice."""
    reader = walk("every-second.md")
    reader.read_on()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(f"ws://{reader.netloc}/ticks")) for _ in range(8)]
        for client in clients:
            first, *others = (json.loads(client.recv(DEADLINE_S))["tick"] for _ in range(3))
            assert others == [first + 1, first + 2]


BOTH = """
import after
import before
from flask_wshandler import WebSockets

app = before.app
WebSockets(app).route("/rooms/<room>/<name>")(after.Visitor)
"""


class TestFlaskSocketIO:
    def test_the_page_works_as_printed(self, walk, visit):
        """And the script that comes after, in a browser."""
        reader = walk("from-flask-socketio.md")
        reader.read_on()
        reader.type_in("gunicorn --threads 4 after:app")
        page = visit(
            reader.netloc,
            "/static/chat.js",
            before="window.said = []; window.show = (text) => said.push(text);",
        )
        page.wait_for_function("said.length == 1 && said[0] == 'hello'")

    def test_both_may_be_in_one_app(self, walk):
        """Socket.IO answers at its address, a handler at another."""
        reader = walk("from-flask-socketio.md")
        reader.read_to("The page")
        (reader.directory / "both.py").write_text(BOTH)
        reader.type_in("gunicorn --threads 8 both:app")
        connection = http.client.HTTPConnection(reader.netloc, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/socket.io/?EIO=4&transport=polling")
            response = connection.getresponse()
            assert (response.status, response.read(5)) == (200, b'0{"si')
        with connect(f"ws://{reader.netloc}/rooms/lobby/Ada") as client:
            assert json.loads(client.recv(DEADLINE_S)) == {"event": "joined", "data": "Ada"}


class TestDocker:
    [DOCKERFILE] = DOCKER.code("The image", "dockerfile")
    [COMPOSE] = DOCKER.code("Several containers", "yaml")

    def instructions(self):
        """Each line of the file: an instruction and its arguments."""
        lines = [line for line in self.DOCKERFILE.splitlines() if not line.startswith("#")]
        return [tuple(line.split(" ", 1)) for line in lines]

    def test_its_commands_make_a_chat_that_spans_containers(
        self, walk, tmp_path, redis_server, installed, monkeypatch
    ):
        """Without an engine: in a directory, with the environment that the quick start makes."""
        checkout = installed.home / "checkout"
        (tmp_path / "chat").mkdir()
        [program] = QUICK_START.code("The app", "python")
        [setting] = DOCKER.code("Several containers", "python")
        app = "app = Flask(__name__)\n"
        (tmp_path / "chat" / "chat.py").write_text(
            "import os\n" + program.replace(app, app + setting)
        )
        (tmp_path / "chat" / "templates").mkdir()
        reader = walk("docker.md", start=checkout)
        reader.read_to("The image")
        directory = reader.directory
        steps = self.instructions()
        for instruction, arguments in steps:
            if instruction == "COPY":
                assert (directory / arguments.split()[0]).exists(), arguments
        # useradd is for root, and would stay.
        [install] = [each for kind, each in steps if kind == "RUN" and "useradd" not in each]
        assert install.startswith("pip install ")
        # With what is installed here, which is what would be fetched.
        reader.type_in("python -m venv --without-pip --system-site-packages venv")
        reader.type_in(f"{install.replace('pip', 'pip -q --python venv/bin/python', 1)}")
        [command] = [json.loads(each) for kind, each in steps if kind == "CMD"]
        at = command.index("--bind")
        assert command[at + 1] == "0.0.0.0:8000"
        del command[at : at + 2]
        monkeypatch.setenv("BUS", redis_server.url)
        with contextlib.ExitStack() as stack:
            clients = []
            for container in ("one", "two"):
                # Where one does not find the other's run directory.
                run_directory = tmp_path / container
                run_directory.mkdir(mode=0o700)
                monkeypatch.setenv("XDG_RUNTIME_DIR", str(run_directory))
                server = stack.enter_context(gunicorn(" ".join(command), directory))
                assert greeting(f"ws://{server.netloc}", f"http://{server.netloc}")
                client = connect(f"ws://{server.netloc}/ws.ashx?name={container}")
                clients.append(stack.enter_context(client))
            one, two = clients
            assert two.recv(DEADLINE_S) == "two has connected."
            two.send("hello")
            while one.recv(DEADLINE_S) != "two said: hello":
                pass

    def test_a_stop_has_more_time_than_gunicorn_takes(self):
        """In both ways to start it."""
        [command] = [json.loads(each) for kind, each in self.instructions() if kind == "CMD"]
        graceful_s = int(command[command.index("--graceful-timeout") + 1])
        compose = yaml.safe_load(self.COMPOSE)["services"]["chat"]
        assert int(compose["stop_grace_period"].removesuffix("s")) > graceful_s
        [run] = [code for code in DOCKER.code("The image", "sh") if "docker run" in code]
        assert int(run.partition("--stop-timeout ")[2].split()[0]) > graceful_s

    def test_the_compose_file_names_what_there_is(self):
        """The service that the address names, the variable that the program reads."""
        services = yaml.safe_load(self.COMPOSE)["services"]
        [setting] = DOCKER.code("Several containers", "python")
        [(variable, address)] = services["chat"]["environment"].items()
        assert f'"{variable}"' in setting
        assert address == "redis://redis:6379/0"
        assert services["chat"]["depends_on"] == ["redis"]
        assert services["redis"]["image"].startswith("redis:")
