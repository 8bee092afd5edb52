"""gevent that patches the standard library after the app has been imported."""

import signal

import pytest

from .wire import text

WORKERS = 2
CLIENTS = 8


@pytest.fixture
def server(start):
    """One whose workers have all begun: gunicorn's take no signal before."""
    server = start("gevent", "--preload", "--workers", str(WORKERS))
    begun = set()
    server.wait_for(lambda: begun.add(server.worker_pid) or len(begun) == WORKERS, "all workers")
    return server


def test_a_preloaded_app_is_whole_in_each_worker(server):
    """Every client lives, whichever worker has it, and a broadcast of each reaches all."""
    clients = [server.connect(f"/chat?name=client-{number}") for number in range(CLIENTS)]
    for client in clients:
        client.send("hello")
    wanted = {f"client-{number} said: hello" for number in range(CLIENTS)}
    for client in clients:
        heard = set()
        while not wanted <= heard:
            heard.add(client.recv())
    for client in clients:
        client.ping("still there?")
        assert client.recv_data_frame(control_frame=True)[1].data == b"still there?"


@pytest.mark.parametrize("order", ["import, patch", "patch, import"])
def test_the_development_server_with_a_patched_standard_library(start, tmp_path, order):
    """Where an app calls `patch_all` itself, before or after its imports."""
    lines = {
        "import": "from tests.live.app import app\n",
        "patch": "from gevent import monkey; monkey.patch_all()\n",
    }
    source = "".join(lines[step] for step in order.split(", "))
    (tmp_path / "patching.py").write_text(source)
    server = start("werkzeug", app="patching:app", first_path=tmp_path)
    ann = server.connect("/chat?name=ann")
    assert ann.recv() == "ann has connected."
    bob = server.raw("/chat?name=bob", early=text("early"))
    assert [ann.recv(), ann.recv()] == ["bob has connected.", "bob said: early"]
    assert [bob.read_text(), bob.read_text()] == ["bob has connected.", "bob said: early"]
    assert server.get("/").body == "plain"
    bob.end()
    assert ann.recv() == "bob has gone away, 1 left."
    ann.shutdown()
    # With greenlets all run in the main thread: an interrupt may hit a request, and end that only.
    server.wait_for(
        lambda: server.signal_until_gone(server.process.pid, signal.SIGINT), "end of the server"
    )
