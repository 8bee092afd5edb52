"""A page behind real proxies that let no WebSocket through, with real workers behind those.

Some let streams of events through, others hold them back, or end what is silent for a while.
"""

import contextlib
import shutil
from types import SimpleNamespace

import pytest

from tests.deadlines import PAGE_DEADLINE_MS
from tests.docs.programs import haproxy, nginx, self_signed_certificate
from tests.live.serving import starting

from .conftest import Page

SITE = """
server {
    listen 80;
    location / {
        proxy_pass http://127.0.0.1:8000;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
        %s
    }
}
"""
OLD_SITE = SITE % "proxy_http_version 1.0;"
STREAMING_SITE = SITE % "proxy_http_version 1.1;"
HOLDING_SITE = SITE % "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;"
IMPATIENT_PROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 300ms
frontend front
    bind :80
    # It lets WebSockets through.
    http-request del-header Upgrade
    default_backend back
backend back
    server app 127.0.0.1:8000 maxconn 25000
"""
COUNT = 40
STREAM_HELLO_MS = 3_000
MOST_OF_HTTP_1 = 6
"""Connections of HTTP/1.1 that a browser has with one server."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two workers, for all of the module."""
    with starting(tmp_path_factory.mktemp("proxied")) as start:
        yield start(
            "gthread",
            "--workers",
            "2",
            app="tests.browser.proxied_app:app",
            # What a stop waits for who was lost just now, as is a stream that was held back.
            WSHANDLER_CLOSE_TIMEOUT=0.5,
        )


@pytest.fixture(scope="module")
def executable():
    """Where a program is, or the test is skipped."""

    def find(name):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        return found or pytest.skip(f"{name} is missing: apt install {name}")

    return find


@pytest.fixture
def front(server, executable, tmp_path):
    """Start nginx with a site, or HAProxy, before the server: its address."""
    backend = SimpleNamespace(netloc=server.host)
    with contextlib.ExitStack() as stack:

        def start(site, listen=""):
            if site is IMPATIENT_PROXY:
                running = haproxy(executable("haproxy"), site, listen, backend, tmp_path)
            else:
                running = nginx(executable("nginx"), site, listen, backend, tmp_path)
            return stack.enter_context(running).netloc

        yield start


@pytest.fixture
def open_page(browser):
    """Open a page behind an address, without its connection."""
    with contextlib.closing(browser.new_context(ignore_https_errors=True)) as context:
        context.set_default_timeout(PAGE_DEADLINE_MS)

        def open_page(netloc, scheme="http", *, has_clock=False):
            page = context.new_page()
            if has_clock:
                page.clock.install()
            page.goto(f"{scheme}://{netloc}/page.html")
            page.wait_for_function("() => globalThis.page")
            return Page(page, SimpleNamespace(is_over_http=True))

        yield open_page


def connect(page, transport):
    """Make the connection, which is open then by `transport`."""
    page.open()
    if transport == "poll":
        # What a stream is waited for, without waiting.
        page.wait_until(lambda: page.get("transport") == "stream")
        page.passes_s(STREAM_HELLO_MS / 1000)
    page.wait_for_state("open")
    assert page.get("transport") == transport


def exchange(page, server, name):
    """Messages both ways at once, and a broadcast, each once and in order."""
    page.run(
        """([name, count]) => {
            page.connection.send(`count ${count}`);
            for (let n = 0; n < count; n += 1) page.connection.send(`${name} ${n}`);
        }""",
        [name, COUNT],
    )
    page.wait_until(lambda: len(page.taken) >= 2 * COUNT)
    assert page.taken == [str(n) for n in range(COUNT)] + [f"{name} {n}" for n in range(COUNT)]
    assert server.get(f"/all/to-{name}").body == "told"
    page.wait_until(lambda: page.taken[2 * COUNT :] == [f"to-{name}"])


def close_both_ways(page, server, name, transport):
    """By the page, with a code that the handler gets; and by the handler of another."""
    page.close(3001, name)
    assert page.run("page.closed") == {"code": 3001, "reason": name, "wasClean": True}
    server.wait_for(lambda: [3001, name] in closes(server), "close")
    page.run("page.end()")
    page.open()
    page.wait_for_state("open")
    assert page.get("transport") == transport  # that is known now
    be_closed(page, server, name)


def be_closed(page, server, name):
    """By the handler, with a code that the page gets."""
    page.send(f"close by-{name}")
    page.wait_for_state("closed")
    assert page.run("page.closed") == {"code": 3002, "reason": f"by-{name}", "wasClean": True}
    server.wait_for(lambda: [3002, f"by-{name}"] in closes(server), "close")


def closes(server):
    return [[each["code"], each["reason"]] for each in server.events()]


@pytest.mark.parametrize(
    ("site", "transport"),
    [
        pytest.param(OLD_SITE, "stream", id="HTTP 1.0"),
        pytest.param(STREAMING_SITE, "stream", id="HTTP 1.1"),
        pytest.param(HOLDING_SITE, "poll", id="held back"),
    ],
)
def test_a_page_behind_nginx(server, front, open_page, request, site, transport):
    """All that is said arrives; of polls that come and go the page sees nothing."""
    name = request.node.callspec.id.replace(" ", "-")
    page = open_page(front(site), has_clock=transport == "poll")
    connect(page, transport)
    exchange(page, server, name)
    assert (page.run("page.states"), page.events) == (["open"], ["open"])
    close_both_ways(page, server, name, transport)


def test_what_ends_silent_responses_loses_nothing(server, front, open_page):
    """Streams end again and again, before there is a ping; nothing is told but states."""
    page = open_page(front(IMPATIENT_PROXY))
    connect(page, "stream")
    for number in range(3):
        page.send(f"before {number}")
        page.wait_for_state("waiting")
        page.send(f"while-away {number}")
        assert server.get(f"/all/all-{number}").body == "told"
        page.wait_until(lambda: len(page.taken) >= 3 * (number + 1))  # noqa: B023  # at once
    for kind in ("before ", "while-away ", "all-"):
        taken = [each for each in page.taken if each.startswith(kind)]
        assert taken == [f"{kind}{number}" for number in range(3)]
    assert page.events == ["open"]
    be_closed(page, server, "impatient")


def test_more_tabs_than_http_1_has_connections(server, front, open_page, tmp_path):
    """By HTTP/2 each tab has its stream, and there is room for the rest."""
    certificate, key = self_signed_certificate(tmp_path)
    listen = f" ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}"
    netloc = front(STREAMING_SITE, listen)
    pages = [open_page(netloc, "https") for _ in range(MOST_OF_HTTP_1 + 2)]
    for page in pages:
        connect(page, "stream")
    assert pages[0].run("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    for number, page in enumerate(pages):
        page.send(f"mine {number}")
    for number, page in enumerate(pages):
        page.wait_until(lambda: page.taken == [f"mine {number}"])  # noqa: B023  # at once
    said = pages[0].run("fetch('/all/everyone').then((response) => response.text())")
    assert said == "told"
    for page in pages:
        page.wait_until(lambda: page.taken[1:] == ["everyone"])  # noqa: B023  # at once
    close_both_ways(pages[0], server, "tab", "stream")
