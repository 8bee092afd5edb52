"""A clean stop where the app has put signal handlers of its own over gunicorn's."""

import signal

import pytest

RESTART = 1012
CASES = {
    "gthread": ["chain", "partial", "leave", "keep", "ignore", "all: chain", "all: keep"],
    "gevent": ["chain", "leave", "all: keep"],
}


@pytest.mark.parametrize(
    ("kind", "handlers"), [(kind, each) for kind, cases in CASES.items() for each in cases]
)
def test_clients_are_told_before_slow_requests_end(start, kind, handlers):
    """Whatever the handlers do with the signal, also while a request does not come to its end."""
    server = start(kind, app="tests.live.signal_app:app", OWN_HANDLERS=handlers)
    pid = server.worker_pid
    client = server.raw("/record/recorder/stopped")
    slow = server.raw()
    slow.send(slow.request("/for-ever", leave_out=["Upgrade", "Connection"]))
    server.wait_for_event("open", "stopped")
    server.get("/stats")  # with greenlets, no callback runs any more that the signal could end
    server.signal(signal.SIGTERM)
    try:
        assert client.read_close()[0] == RESTART
        client.end()
        assert server.wait_for_event("close", "stopped")["code"] == RESTART
    finally:
        server.signal_until_gone(pid, signal.SIGKILL)


@pytest.mark.parametrize("handlers", ["chain", "leave", "all: chain"])
def test_a_sync_worker_ends_with_its_clients_told(start, handlers):
    """Its one thread is that of the signals."""
    server = start("sync", app="tests.live.signal_app:app", OWN_HANDLERS=handlers)
    with server.raw("/record/recorder/stopped") as client:
        server.wait_for_event("open", "stopped")
        server.signal(signal.SIGTERM)
        assert client.read_close()[0] == RESTART
    server.wait_for_end()
    assert server.wait_for_event("close", "stopped")["code"] == RESTART


def test_a_worker_that_leaves_by_itself_tells_its_clients_first(start):
    """A SIGTERM for one worker: `sys.exit` in the handler waits for requests in other threads."""
    server = start("gthread", app="tests.live.signal_app:app", OWN_HANDLERS="leave")
    pid = server.worker_pid
    client = server.raw("/record/recorder/left")
    slow = server.raw()
    slow.send(slow.request("/for-ever", leave_out=["Upgrade", "Connection"]))
    server.wait_for_event("open", "left")
    server.wait_for_event("waiting")
    server.signal_process(pid, signal.SIGTERM)
    try:
        assert client.read_close()[0] == RESTART
        client.end()
        assert server.wait_for_event("close", "left")["code"] == RESTART
    finally:
        server.signal_until_gone(pid, signal.SIGKILL)
