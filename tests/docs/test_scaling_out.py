"""docs/scaling-out.md holds what it says."""

import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.bus.networks import RedisServer

from .markdown_page import MarkdownPage
from .programs import gunicorn

PAGE = MarkdownPage(Path(__file__).resolve().parents[2] / "docs" / "scaling-out.md")

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
