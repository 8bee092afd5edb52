"""docs/topics/scaling-out.md holds what it says."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from websockets.sync.client import connect

from tests.bus.networks import RedisServer

from .chat import NGINX_PAGE, chat_program, greeting
from .markdown_page import MarkdownPage
from .programs import gunicorn, nginx

PAGE = MarkdownPage(Path(__file__).resolve().parents[2] / "docs" / "topics" / "scaling-out.md")

SHOP = """
from flask import Flask
from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

app = Flask(__name__)
{setting}
sockets = WebSockets(app)
orders = WebSocketCollection("orders")

@sockets.route("/orders")
class Orders(WebSocketHandler):
    def on_open(self):
        orders.add(self)
        self.send("ready")
"""


@pytest.fixture
def redis_server(tmp_path):
    running = RedisServer(tmp_path)
    yield running
    running.stop()


def test_a_program_without_the_app_broadcasts(tmp_path, redis_server):
    """With the page's setting, command and program, but for the address of Redis."""
    [setting] = PAGE.code("Several machines", "python")
    [program] = PAGE.code("From other programs", "python")
    [command] = PAGE.code("Several workers", "sh")
    setting = setting.replace("redis://:password@redis.example.org:6379/0", redis_server.url)
    program = program.replace("redis://127.0.0.1:6379/0", redis_server.url)
    assert redis_server.url in setting
    assert redis_server.url in program
    (tmp_path / "shop.py").write_text(SHOP.format(setting=setting))
    with (
        gunicorn(command, tmp_path) as server,
        connect(f"ws://{server.netloc}/orders") as first,
        connect(f"ws://{server.netloc}/orders") as second,
    ):
        assert first.recv(10) == second.recv(10) == "ready"
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
        assert first.recv(10) == second.recv(10) == '{"id": 7, "state": "paid"}'


def test_one_nginx_serves_several_machines(tmp_path):
    """The site of the how-to with the page's upstream before it: each of the two gets clients."""
    executable = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    if executable is None:
        pytest.skip("nginx is missing: apt install nginx")
    [upstream] = PAGE.code("nginx, and no sticky sessions", "nginx")
    [site] = NGINX_PAGE.code("The site", "nginx")
    (tmp_path / "chat.py").write_text(chat_program())
    with contextlib.ExitStack() as stack:
        command = "gunicorn --threads 4 --access-logfile - chat:app"
        machines = [stack.enter_context(gunicorn(command, tmp_path)) for _ in range(2)]
        for written, machine in zip(("10.0.0.1:8000", "10.0.0.2:8000"), machines, strict=True):
            assert written in upstream
            upstream = upstream.replace(written, machine.netloc)
        shop = SimpleNamespace(netloc="shop")
        front = stack.enter_context(nginx(executable, upstream + site, "", shop, tmp_path))
        for _ in range(4):
            greeting(f"ws://{front.netloc}", f"http://{front.netloc}")
        for machine in machines:
            assert '" 101 ' in machine.log
