"""Whatever the system refuses for a moment, and however often: after it everything works again."""

import contextlib
import re
import signal
import time

import pytest

from tests.deadlines import wait_for

from . import injection
from .peers import GIVEN_UP, Peer, check_all_works, one_of_each

ERRORS = ["EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EROFS", "EACCES", "EINTR", "ECONNRESET"]
SHORT_MOMENT_S = 0.02
MOMENT_S = 0.4

TOGETHER = {
    "all": injection.CALLS,
    "sockets": ["socket", "socketpair", *injection.OF_SOCKETS],
    "files": [*injection.OF_FILES, "file", "flock"],
    "descriptors": [
        "accept", "dup", "epoll", "eventfd", "file", "open", "pipe", "selector", "socket",
        "socketpair", "thread",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("server", "shift"),
    [*[("gthread, local", shift) for shift in range(4)], ("gevent, redis", 0)],
    indirect=["server"],
)
def test_one_call_after_the_other(server, shift):
    """Each by itself, for a moment, and each time for another reason."""
    errors = [ERRORS[(2 * index + shift) % len(ERRORS)] for index in range(len(injection.CALLS))]
    with one_of_each(server) as peers:
        for peer in peers:
            peer.tell("fail_in_turn", injection.CALLS, errors, SHORT_MOMENT_S)
        for peer in peers:
            with contextlib.suppress(*GIVEN_UP, EOFError):  # it may have been lost meanwhile
                peer.read(lambda text: text == "done")
    check_all_works(server)


@pytest.mark.parametrize(
    ("server", "error", "which"),
    [
        *[("gthread, local", error, "all") for error in ERRORS],
        *[("gthread, local", "EMFILE", which) for which in TOGETHER if which != "all"],
        *[("gevent, redis", *each) for each in [("ECONNRESET", "all"), ("EMFILE", "descriptors")]],
    ],
    indirect=["server"],
)
def test_several_calls_at_once(server, error, which):
    """As they do where a limit is reached, with clients that come and speak meanwhile."""
    calls = TOGETHER[which]
    scraped = [accepted(server)]
    with one_of_each(server) as peers:
        for peer in peers:
            peer.tell("fail", calls, error, MOMENT_S)
        until_s = time.monotonic() + MOMENT_S
        while time.monotonic() < until_s:
            scraped.append(accepted(server))
            for peer in peers:
                with contextlib.suppress(*GIVEN_UP):
                    peer.tell("echo", "meanwhile")
            with contextlib.suppress(*GIVEN_UP, EOFError, TimeoutError):
                Peer(server.url("/ws")).close()
    with one_of_each(server) as peers:
        assert any(peer.ask()["hits"] for peer in peers)
    check_all_works(server)
    # A gap is none; a counter that falls is a restart to Prometheus.
    scraped = [count for count in [*scraped, accepted(server)] if count is not None]
    assert len(scraped) > 1
    assert scraped == sorted(scraped)


def accepted(server):
    """How many connections there have been, as Prometheus sees it; None if it does not."""
    found = re.search(
        r"^flask_wshandler_accepted_total\S* (\S+)$", server.get("/metrics").body, re.M
    )
    return float(found[1]) if found else None


@pytest.mark.parametrize("error", ["EMFILE", "ENOMEM"])
def test_at_the_first_use_of_a_process(start, error):
    """What a process makes once is made later, or there was no first use."""
    server = start()
    server.get(f"/fail/{error}/1.0")
    until_s = time.monotonic() + 1
    while time.monotonic() < until_s:
        with contextlib.suppress(*GIVEN_UP, EOFError, TimeoutError):
            Peer(server.url("/ws")).close()
    check_all_is_made(server)


def check_all_is_made(server):
    """Answers, pings, a bus, and a stop that says good-bye."""
    found = []

    def connected():
        with contextlib.suppress(*GIVEN_UP, EOFError, TimeoutError):
            found.append(Peer(server.url("/ws")))
        return found

    wait_for(connected, "client")
    peer = found[0]
    wait_for(lambda: peer.ask()["has_timer"], "timer")
    wait_for(lambda: peer.ask()["bus"]["is_up"], "bus")
    assert peer.ask()["raised"] == []
    server.signal(signal.SIGTERM)
    assert peer.read_close() == 1012
    peer.close()
    server.wait_for_end()
    assert "Traceback" not in server.log.partition("Handling signal: term")[2]
