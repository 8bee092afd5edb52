"""Prometheus under gunicorn: whichever worker answers, it does for all; no counter goes back."""

import collections
import concurrent.futures
import contextlib
import http.client
import json
import signal
import tempfile
import threading
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S
from tests.live.serving import KINDS

from .scrape import scrape

CONNECTIONS = "flask_wshandler_connections"
ACCEPTED = "flask_wshandler_accepted_total"
CALLBACKS = "flask_wshandler_callback_seconds_count"
RECEIVED = "flask_wshandler_messages_received_total"


def connected_to_all(server, count, least=1):
    """Clients by worker, at least `least` of each of `count` workers."""
    clients = collections.defaultdict(list)

    def connect():
        client = server.connect("/echo")
        client.send("pid")
        clients[int(client.recv())].append(client)
        return len(clients) == count and all(len(each) >= least for each in clients.values())

    server.wait_for(connect, f"client of each of {count} workers", DEADLINE_S)
    return clients


def number_of(clients):
    return sum(map(len, clients.values()))


def scrapes_of_all(server, count=20):
    """Scrapes that several workers have answered, by chance and by being asked at once."""
    return [scrape(server) for _ in range(count)]


def assert_never_less(before, after):
    for key, value in before.counters.items():
        assert after.counters.get(key, 0) >= value, key


def test_every_worker_answers_for_all(start):
    """With four of them, and nothing set up but the one call."""
    server = start("gthread", "--workers", "4")
    clients = connected_to_all(server, 4)
    total = number_of(clients)
    # A callback's time is known when it is over, after its answer has arrived.
    server.wait_for(
        lambda: scrape(server).value(CALLBACKS, callback="on_message") == total, "all durations"
    )
    for now in scrapes_of_all(server):
        assert now.value(CONNECTIONS) == total
        assert now.value(ACCEPTED) == total
        assert now.value(RECEIVED) == total
        assert now.value("flask_wshandler_processes") == 4
        assert now.value("flask_wshandler_connections_max") == 4 * 10_000
        assert now.value(CALLBACKS, callback="on_message") == total
        assert now.value("flask_wshandler_bus_down_processes") == 0
        assert now.labels(CONNECTIONS, "app") == {"tests.metrics.app"}
        assert now.labels(CALLBACKS, "handler") == {"Echo"}


def test_the_log_is_one_for_all_workers(start):
    """What each has numbered adds up; what the log holds is counted once, whoever has looked."""
    server = start("gthread", "--workers", "3")
    for number, clients in enumerate(connected_to_all(server, 3).values(), 1):
        for client in clients[:1] * number:
            client.send("keep")
            assert client.recv() == "keep"

    def all_have_looked():
        now = scrape(server)
        return now.value("flask_wshandler_history_log_messages") == 6 and now

    now = server.wait_for(all_have_looked, "the size of the log", DEADLINE_S)
    assert now.value("flask_wshandler_history_logged_total") == 6
    assert now.value("flask_wshandler_history_log_bytes") == 6 * (64 + 4)
    assert now.value("flask_wshandler_history_down_processes") == 0
    assert now.value("flask_wshandler_history_wait_seconds_total") > 0
    for now in scrapes_of_all(server):
        assert now.value("flask_wshandler_history_log_messages") == 6


def test_what_clients_do_is_in_the_next_scrape(start):
    """Closes by code, refusals by reason, bytes, failures: at once, not after some seconds."""
    server = start("gthread", "--workers", "2")
    for code in (1000, 1001, 4000, 3999, 3998):
        client = server.connect("/echo")
        client.send("hello")
        assert client.recv() == "hello"
        client.close(code, timeout=10)
    failing = server.connect("/echo")
    failing.send("fail")
    assert failing.recv_frame().data[:2] == (1011).to_bytes(2, "big")
    refused = server.raw("/echo", headers=[("Origin", "https://elsewhere.example")])
    assert refused.status == 403

    def closed():
        now = scrape(server)
        return now.value("flask_wshandler_closes_total") == 6 and now

    now = server.wait_for(closed, "six closes")
    closes = "flask_wshandler_closes_total"
    assert now.labels(closes, "code") == {"1000", "1001", "1011", "3xxx", "4xxx"}
    assert now.value(closes, code="3xxx") == 2
    assert now.value("flask_wshandler_refusals_total", reason="origin") == 1
    assert now.value("flask_wshandler_failures_total", callback="on_message") == 1
    assert now.value("flask_wshandler_received_bytes_total") >= 5 * (2 + 4 + 5)
    assert now.value("flask_wshandler_sent_bytes_total") >= 5 * (2 + 5)


def test_a_worker_that_was_only_posted_to_has_something_to_tell(start):
    """Whoever has had a WebSocket is asked, and so is who has had but posts of other workers'."""
    server = start("gthread", "--workers", "2")
    headers = {"X-WSHandler-Session": "of-nobody", "Content-Type": "application/json"}
    posts = collections.Counter()
    with contextlib.ExitStack() as open_ones:

        def post():
            connection = http.client.HTTPConnection(server.host)
            open_ones.enter_context(contextlib.closing(connection))
            connection.request("GET", "/page")
            pid = json.load(connection.getresponse())["pid"]
            connection.request("POST", "/wshandler/send", "[]", headers)
            assert connection.getresponse().status == 404
            posts[pid] += 1
            return len(posts) == 2

        server.wait_for(post, "a post to each worker", DEADLINE_S)
    posted = scrape(server).value("flask_wshandler_posts_total", outcome="unknown")
    assert posted == posts.total()


def test_a_killed_worker_takes_its_gauges_and_leaves_its_counters(start):
    """kill -9, after which nobody of the process says a word."""
    server = start("gthread", "--workers", "3")
    clients = connected_to_all(server, 3)
    before = scrape(server)
    victim, lost = next(iter(clients.items()))
    server.signal_process(victim, signal.SIGKILL)
    left = number_of(clients) - len(lost)
    # Its threads end one after the other, and the last one closes its sockets.
    server.wait_for(
        lambda: scrape(server).value(CONNECTIONS) == left, "end of the worker", DEADLINE_S
    )
    for now in scrapes_of_all(server):
        assert_never_less(before, now)
        assert now.value(CONNECTIONS) == left
        before = now
    assert before.value(ACCEPTED) == number_of(clients)
    server.wait_for(lambda: len(server.workers) == 3, "new worker", DEADLINE_S)
    connected_to_all(server, 3)
    after = scrape(server)
    assert_never_less(before, after)
    assert after.value("flask_wshandler_processes") == 3


def test_workers_killed_one_after_the_other_while_scrapes_go_on(start):
    """At no moment is a dead one counted twice, or not at all."""
    server = start("gthread", "--workers", "3")
    before = scrape(server)
    expected = 0
    for _ in range(6):
        clients = connected_to_all(server, 3)
        expected += number_of(clients)
        now = scrape(server)
        assert now.value(ACCEPTED) == expected
        assert_never_less(before, now)
        victim = next(iter(clients))
        server.signal_process(victim, signal.SIGKILL)
        for _ in range(10):
            before, now = now, scrape(server)
            assert_never_less(before, now)
            assert now.value(ACCEPTED) == expected
        server.wait_for(lambda: len(server.workers) == 3, "new worker", DEADLINE_S)
        server.end_clients()
        before = now


def test_no_counter_goes_back_for_anybody_who_scrapes_at_the_same_time(start):
    """Several ask, several enter the dead, and workers are killed in the middle of it."""
    server = start("gthread", "--workers", "3")
    is_over = threading.Event()

    def scrape_on():
        count, before = 0, scrape(server)
        while not is_over.is_set():
            try:
                now = scrape(server)
            except (OSError, http.client.HTTPException):
                continue  # asked one that was killed
            assert_never_less(before, now)
            before, count = now, count + 1
        return count

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        scraping = [pool.submit(scrape_on) for _ in range(4)]
        try:
            for _ in range(5):
                clients = connected_to_all(server, 3)
                server.signal_process(next(iter(clients)), signal.SIGKILL)
                server.wait_for(lambda: len(server.workers) == 3, "new worker", DEADLINE_S)
                server.end_clients()
        finally:
            is_over.set()
        assert all(each.result() > 5 for each in scraping)
    connected_to_all(server, 3)  # also to the last one: while it starts it would not hear the end


def test_a_stopped_worker_is_counted_as_it_was_and_holds_up_for_a_second(start):
    """SIGSTOP: it can't answer, but others can."""
    server = start("gthread", "--workers", "2")
    clients = connected_to_all(server, 2)
    before = scrape(server)
    victim = next(iter(clients))
    server.signal_process(victim, signal.SIGSTOP)
    try:
        # The kernel may still give a request to the one that is stopped.
        answered = []
        for _ in range(10):
            with contextlib.suppress(OSError):
                answered.append(scrape(server))
            if len(answered) == 2:
                break
    finally:
        server.signal_process(victim, signal.SIGCONT)
    for now in answered:
        assert_never_less(before, now)
        assert now.value(CONNECTIONS) == number_of(clients)
    assert answered


def test_a_reload_keeps_the_counters(start):
    """SIGHUP: all workers are replaced, each tells its last figures before it goes."""
    server = start("gthread", "--workers", "2", WSHANDLER_DRAIN_SECONDS=0)
    clients = connected_to_all(server, 2)
    total, old = number_of(clients), set(server.workers)
    before = scrape(server)
    server.signal(signal.SIGHUP)
    server.wait_for(lambda: not old & set(server.workers), "end of the old workers", DEADLINE_S)
    server.end_clients()
    after = scrape(server)
    assert_never_less(before, after)
    assert after.value(ACCEPTED) == total
    assert after.value(CONNECTIONS) == 0
    assert after.value("flask_wshandler_closes_total", code="1012") == total


@pytest.fixture
def runtime():
    """A run directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        yield Path(directory)


def test_two_servers_of_one_app_are_two(start, runtime):
    """On two ports, and each is scraped: what is one's is not the other's."""
    first = start("gthread", "--workers", "2", runtime=runtime)
    second = start("gthread", "--workers", "2", runtime=runtime)
    of_first = number_of(connected_to_all(first, 2))
    of_second = number_of(connected_to_all(second, 2, least=3))
    assert of_second >= 6
    for server, count in ((first, of_first), (second, of_second)):
        assert {now.value(ACCEPTED) for now in scrapes_of_all(server, 5)} == {count}


def test_a_restart_begins_anew_and_clears_up(start, runtime):
    """What an earlier server has left is removed by the next."""
    first = start("gthread", "--workers", "2", runtime=runtime)
    connected_to_all(first, 2)
    first.stop()
    left = set(runtime.rglob("*.figures"))
    assert len(left) == 2
    second = start("gthread", "--workers", "2", runtime=runtime)
    assert scrape(second).value(ACCEPTED) == 0
    assert not left & set(runtime.rglob("*.figures"))


def test_files_are_as_many_as_processes(start, runtime):
    """However many workers come and go, and if nobody scrapes."""
    server = start("gthread", "--workers", "2", runtime=runtime)
    for _ in range(4):
        old = set(server.workers)
        connected_to_all(server, 2)
        server.end_clients()
        server.signal(signal.SIGHUP)
        server.wait_for(lambda old=old: not old & set(server.workers), "new workers", DEADLINE_S)
    connected_to_all(server, 2)
    # A worker clears up once, at its first handshake: who ends after that is left to the next one.
    assert len(list(runtime.rglob("*.figures"))) <= 4


def test_beside_metrics_of_the_app_that_are_in_files(start, tmp_path, monkeypatch):
    """Where PROMETHEUS_MULTIPROC_DIR is in use already, the sums of both are in one answer."""
    files = tmp_path / "multiprocess"
    files.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(files))
    server = start("gthread", "--workers", "2")
    clients = connected_to_all(server, 2)
    pids, asked = set(), 0
    while len(pids) < 2:
        pids.add(server.get("/page").json()["pid"])
        asked += 1
        assert asked < 1000
    for now in scrapes_of_all(server, 10):
        assert now.value("pages_total") == asked
        assert now.value(CONNECTIONS) == number_of(clients)


def test_metrics_of_the_app_are_in_the_same_answer(start):
    """In a registry that has ours, too; each name once."""
    server = start("gthread")
    server.get("/page")
    response = server.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "\npages_total 1.0\n" in response.body
    assert response.body.count("# TYPE flask_wshandler_connections gauge") == 1
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert server.get("/metrics", accept).body.endswith("# EOF\n")


def test_preloaded(start):
    """The master imports the app, and has no part in it."""
    server = start("gthread", "--workers", "2", "--preload")
    clients = connected_to_all(server, 2)
    assert {scrape(server).value(CONNECTIONS) for _ in range(10)} == {number_of(clients)}


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_counted_on_every_server(start, kind):
    """Also where a request's own thread serves the client; inside TLS."""
    server = start(kind)
    client = server.connect("/echo")
    client.send("hello")
    assert client.recv() == "hello"
    # The answer may be read before the thread that has sent it counts it.
    server.wait_for(
        lambda: scrape(server).value("flask_wshandler_sent_bytes_total") == 2 + 5, "sent bytes"
    )
    assert scrape(server).value("flask_wshandler_received_bytes_total") == 2 + 4 + 5


def test_sync_and_gevent_workers(start):
    """Other workers, the same sums."""
    for kind in ("sync", "gevent"):
        server = start(kind, "--workers", "2")
        clients = connected_to_all(server, 2)
        assert {scrape(server).value(CONNECTIONS) for _ in range(10)} == {number_of(clients)}


def test_a_change_of_master_keeps_the_counters(start):
    """SIGUSR2, then SIGQUIT: both masters' workers are one server while there are both."""
    server = start("gthread", "--pid", "gunicorn.pid", WSHANDLER_DRAIN_SECONDS=0)
    connected_to_all(server, 1)
    before = scrape(server)
    server.signal(signal.SIGUSR2)
    server.wait_for(lambda: len(server.workers) == 2, "worker of the new master", DEADLINE_S)
    new_master = int((server.directory / "gunicorn.pid.2").read_text())
    try:
        total = number_of(connected_to_all(server, 2)) + before.value(ACCEPTED)
        for now in scrapes_of_all(server):
            assert now.value(ACCEPTED) == total
        server.end_clients()
        server.signal(signal.SIGQUIT)
        server.wait_for_end()
        assert scrape(server).value(ACCEPTED) == total
    finally:
        server.signal_process(new_master, signal.SIGTERM)
        server.wait_for(
            lambda: not server.is_running(new_master), "end of the new master", DEADLINE_S
        )
