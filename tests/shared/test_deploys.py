"""Reloads under load: nobody is cut off, nothing that was taken is lost, HTTP goes on."""

import signal
import threading

import pytest

from tests.live.serving import starting

from .reloading import ReturningClients

LIVE_APP = "tests.live.app:app"


@pytest.fixture
def start(tmp_path):
    with starting(tmp_path, app=LIVE_APP) as start:
        yield start


class Visitors:
    """Plain requests, one after the other, until `end`."""

    def __init__(self, server):
        self._server = server
        self.statuses = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._is_over.is_set():
            try:
                self.statuses.append(self._server.get("/").status)
            except OSError as error:
                self.statuses.append(repr(error))

    def end(self):
        self._is_over.set()
        self._thread.join()


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_a_reload_under_load(start, kind):
    """SIGHUP three times: 1012 and nothing else, every answer right, no request failed."""
    server = start(kind, "--workers", "2", WSHANDLER_DRAIN_SECONDS=1.0)
    clients = ReturningClients(server.url("/echo"), 60, 0.2)
    visitors = Visitors(server)
    try:
        for _ in range(3):
            server.wait_for(lambda: clients.connected == 60, "60 clients")
            before = clients.close_codes[1012]
            server.signal(signal.SIGHUP)
            server.wait_for(
                lambda before=before: clients.close_codes[1012] >= before + 60, "60 closes"
            )
        server.wait_for(lambda: clients.connected == 60, "60 clients")
    finally:
        clients.end()
        visitors.end()
    assert set(clients.close_codes) == {1012}
    assert clients.failures == {}
    assert set(clients.refusals) <= {503}  # a worker that is about to end, and says when to return
    assert clients.unanswered == []
    assert clients.answers > 180
    assert set(visitors.statuses) == {200}


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_clients_do_not_wait_for_a_long_request(start, kind):
    """They are closed at the signal, not when the worker's last request is done."""
    server = start(kind, "--graceful-timeout", "20")
    client = server.raw("/record/recorder/waiting")
    server.wait_for_event("open", "waiting")
    request = threading.Thread(target=server.get, args=("/sleep/until-closed",))
    request.start()
    server.wait_for_event("sleeping", "until-closed")
    server.signal(signal.SIGTERM)
    assert client.read_close()[0] == 1012
    client.end()
    # The request ends when the handler has been closed.
    request.join()
    server.wait_for_end()


def test_a_second_signal_hurries(start):
    """A silent client and a long time for it; the worker that is told twice waits no more."""
    server = start("gthread", "--graceful-timeout", "60", WSHANDLER_CLOSE_TIMEOUT=50.0)
    client = server.raw("/record/recorder/silent")
    server.wait_for_event("open", "silent")
    (pid,) = server.workers
    server.signal_process(pid, signal.SIGTERM)
    assert client.read_close()[0] == 1012
    server.wait_for(lambda: server.signal_until_gone(pid, signal.SIGTERM), "end of the worker")
    assert server.wait_for_event("close", "silent")["code"] == 1012
    client.end()
    # A worker that is told to stop while it starts does not hear it, for 60 seconds.
    assert server.worker_pid != pid


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_a_quick_stop_closes_properly_too(start, number):
    """SIGQUIT and SIGINT: 1012, and `on_close`."""
    server = start("gthread")
    with server.raw("/record/recorder/quick") as client:
        server.wait_for_event("open", "quick")
        server.signal(number)
        assert client.read_close()[0] == 1012
    server.wait_for_end()
    assert server.wait_for_event("close", "quick")["code"] == 1012


def test_a_binary_upgrade(start):
    """SIGUSR2 starts a new master, SIGQUIT ends the old one: its clients are told to come back."""
    server = start("gthread", "--pid", "gunicorn.pid")
    old_pid = server.worker_pid
    with server.raw("/record/recorder/upgraded") as client:
        server.wait_for_event("open", "upgraded")
        server.signal(signal.SIGUSR2)
        server.wait_for(lambda: len(server.workers) == 2, "worker of the new master")
        new_master = int((server.directory / "gunicorn.pid.2").read_text())
        try:
            server.signal(signal.SIGQUIT)
            assert client.read_close()[0] == 1012
            client.end()
            server.wait_for_end()
            server.wait_for(lambda: server.worker_pid != old_pid, "answer of the new worker")
            with server.raw("/echo") as newcomer:
                assert newcomer.status == 101
        finally:
            server.signal_process(new_master, signal.SIGTERM)
            server.wait_for(lambda: not server.is_running(new_master), "end of the new master")


def test_a_stop_during_handshakes(start):
    """Whoever is let in is closed properly, whoever is not is refused properly."""
    server = start("gthread", "--workers", "2")
    clients = ReturningClients(server.url("/echo"), 40, 0.01)
    server.wait_for(lambda: clients.connected == 40, "40 clients")
    server.signal(signal.SIGTERM)
    server.wait_for_end()
    clients.end()
    assert set(clients.close_codes) == {1012}
    assert set(clients.refusals) <= {503}
    refused = ("ConnectionRefused", "ConnectionReset", "did not receive a valid HTTP response")
    assert all(any(name in failure for name in refused) for failure in clients.failures)
