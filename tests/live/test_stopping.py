"""Promise 8: nobody is cut off when a server stops."""

import contextlib
import http.client
import select
import signal
import time

import pytest

from .serving import KINDS
from .wire import close, text

RESTART, GOING_AWAY = 1012, 1001


@pytest.mark.parametrize("kind", KINDS)
def test_clients_are_told_and_callbacks_run(start, kind):
    """SIGTERM (SIGINT for `flask run`): queued messages, the close frame, `on_close`, the end."""
    server = start(kind)
    client = server.raw("/record/recorder/stopped")
    client.send(text("burst 3"))
    server.wait_for_event("message", "stopped")
    server.signal(signal.SIGINT if kind == "werkzeug" else signal.SIGTERM)
    assert [client.read_text() for _ in range(3)] == ["burst 0", "burst 1", "burst 2"]
    code = GOING_AWAY if kind == "werkzeug" else RESTART
    assert client.read_close()[0] == code
    client.send(close(code))
    assert client.read_to_end()
    client.end()
    server.wait_for_end()
    assert server.wait_for_event("close", "stopped")["code"] == code


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_a_reload_tells_clients_to_come_back(start, kind):
    """SIGHUP: the old worker closes with 1012, the new one serves."""
    server = start(kind)
    old_pid = server.worker_pid
    with server.raw("/record/recorder/reloaded") as client:
        server.signal(signal.SIGHUP)
        assert client.read_close()[0] == RESTART
    server.wait_for(lambda: server.worker_pid != old_pid, "new worker")
    # The old one may still be answering: upgrades with 503.
    server.wait_for(lambda: server.raw("/echo").status == 101, "upgrade")


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_max_requests_does_not_cut_off(start, kind):
    """`--max-requests`: the worker that has served its share closes with 1012."""
    server = start(kind, "--max-requests", "6")
    with server.raw("/record/recorder/max-requests") as client:
        for _ in range(8):
            server.get("/")
        assert client.read_close()[0] == RESTART
    server.wait_for_event("close", "max-requests")


def test_a_silent_client_does_not_hold_up_a_stop(start):
    """Who does not answer the close is left after `WSHANDLER_CLOSE_TIMEOUT`."""
    server = start("gthread", WSHANDLER_CLOSE_TIMEOUT=0.5)
    client = server.raw("/record/recorder/silent")
    server.wait_for_event("open", "silent")
    server.signal(signal.SIGTERM)
    server.wait_for_end()
    assert server.wait_for_event("close", "silent")["code"] == RESTART
    client.end()


def test_many_clients_are_closed_over_the_drain_time(start):
    """`WSHANDLER_DRAIN_SECONDS`, so that they do not all come back at once."""
    server = start("gthread", WSHANDLER_DRAIN_SECONDS=1)
    clients = [server.raw("/echo") for _ in range(200)]
    server.signal(signal.SIGTERM)
    times_s = []
    waiting = {client.socket: client for client in clients}
    while waiting:
        for sock in select.select(list(waiting), [], [], 10)[0]:
            times_s.append(time.monotonic())
            assert waiting.pop(sock).read_close()[0] == RESTART
            sock.close()
    server.wait_for_end()
    assert max(times_s) - min(times_s) > 0.5


@pytest.mark.parametrize("arguments", [["--preload"], ["--reload"]])
def test_other_ways_of_starting(start, arguments):
    """Nothing is made before the fork; the end is that of an ordinary worker."""
    server = start("gthread", *arguments)
    with server.raw("/record/recorder/other") as client:
        server.wait_for_event("open", "other")
        server.signal(signal.SIGTERM)
        assert client.read_close()[0] == RESTART
    server.wait_for_end()
    assert server.wait_for_event("close", "other")["code"] == RESTART


def test_a_worker_class_of_ones_own(start, tmp_path):
    """What is derived from one of gunicorn's is one: the end is noticed, and closes with 1012."""
    module = "from gunicorn.workers.gthread import ThreadWorker\n\nclass Worker(ThreadWorker):\n"
    (tmp_path / "own_worker.py").write_text(module + "    pass\n")
    server = start("gthread", "--worker-class", "own_worker.Worker", first_path=tmp_path)
    with server.raw("/record/recorder/own") as client:
        server.wait_for_event("open", "own")
        server.signal(signal.SIGTERM)
        assert client.read_close()[0] == RESTART
    server.wait_for_end()


def test_a_change_of_the_code_restarts_the_development_server(start, tmp_path):
    """`flask run --debug`: clients are told to come back, callbacks run, the new code serves."""
    module = tmp_path / "changing.py"
    module.write_text("from tests.live.app import app\n")
    server = start("werkzeug", "--debug", app="changing:app", first_path=tmp_path)
    with server.raw("/record/recorder/changed") as client:
        server.wait_for_event("open", "changed")
        module.write_text("from tests.live.app import app\n\napp.get('/new')(lambda: 'new')\n")
        assert client.read_close()[0] == RESTART
    assert server.wait_for_event("close", "changed")["code"] == RESTART
    server.wait_for(lambda: answers(server, "/new"), "new code")
    with server.raw("/echo") as client:
        assert client.status == 101


def answers(server, path):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return server.get(path).status == 200
    return False
