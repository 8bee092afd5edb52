"""The hand-off on the gunicorns that close their sockets differently."""

import signal
import subprocess
import sys

import pytest

from .wire import close, text

VERSIONS = ["23.0.0", "26.0.0"]


@pytest.fixture(scope="session", params=VERSIONS)
def gunicorn_path(request):
    """Where this version is installed, in pytest's cache."""
    directory = request.config.cache.mkdir(f"gunicorn-{request.param}")
    if not (directory / "gunicorn" / "__init__.py").exists():
        command = ["pip", "install", "--quiet", "--no-deps", "--target", str(directory)]
        subprocess.run([sys.executable, "-m", *command, f"gunicorn=={request.param}"], check=True)
    return directory


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_sockets_leave_and_the_worker_stays_whole(start, gunicorn_path, kind):
    """Echo, early bytes, clients that come and go, a stop with 1012."""
    server = start(kind, first_path=gunicorn_path)
    assert f"Starting gunicorn {gunicorn_path.name.removeprefix('gunicorn-')}" in server.log
    with server.raw("/echo", early=text("early")) as client:
        assert client.read_text() == "early"
    clients = [server.raw("/echo") for _ in range(50)]
    pid = server.worker_pid
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 50, "fifty")
    before = server.descriptors_of(pid)
    for _ in range(200):
        client = server.raw("/echo")
        client.send(text("x") + close())
        assert client.read_text() == "x"
        assert client.read_close()[0] == 1000
        client.end()
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 50, "fifty again")
    server.wait_for(lambda: server.descriptors_of(pid) <= before + 2, "closing of descriptors")
    assert server.worker_pid == pid
    server.signal(signal.SIGTERM)
    for client in clients:
        assert client.read_close()[0] == 1012
        client.end()
    server.wait_for_end()
