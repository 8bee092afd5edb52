"""A real browser, and pages in it that connect to what the test says."""

import contextlib
import json
import queue
import time

import pytest

from tests.chromium import chromium
from tests.deadlines import DEADLINE_S, PAGE_DEADLINE_MS

from .peer import Peer

#: What passes at once while a page waits for its next try.
STEP_MS = 500


# Not for the session: there can be one Playwright at a time in a process, and others have theirs.
@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


class Page:
    """A page with one connection. Its clock stands still until the test moves it."""

    def __init__(self, page, peer):
        self.playwright = page
        self._peer = peer

    def run(self, script, argument=None):
        """Evaluate a function of JavaScript, or an expression."""
        return self.playwright.evaluate(script, argument)

    def open(self, **options):
        """Make the connection. Over HTTP only if the test is about that."""
        options = {"fallback": self._peer.is_over_http} | options
        self.run("(options) => page.open(options)", options)

    def send(self, message):
        """Send a text, or bytes as {"hex": …}; what `send` returns."""
        return self.run("(message) => page.send(message)", message)

    def close(self, *arguments):
        """Call `close`."""
        self.run("(all) => page.connection.close(...all)", list(arguments))

    def get(self, name):
        """A property of the connection."""
        return self.run("(name) => page.connection[name]", name)

    @property
    def taken(self):
        return self.run("page.taken")

    @property
    def events(self):
        """Those that are no messages and no states."""
        return self.run("page.events")

    def wait_until(self, is_true):
        """Ask again and again, for no longer than the deadline."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_true():
            assert time.monotonic() < deadline_s, self.run("({ ...page, ...page.connection })")
            time.sleep(0.002)

    def wait_for_state(self, *states):
        """Until the connection is in one of them."""
        self.wait_until(lambda: self.get("state") in states)

    def passes_s(self, seconds):
        """Time passes, with all that it brings."""
        self.playwright.clock.run_for(round(seconds * 1000))

    def come_back(self):
        """The next network connection that the page asks for, whatever it waits before."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(queue.Empty):
                return self._peer.next(timeout_s=0.005)
            if self.get("state") == "waiting":
                self.playwright.clock.run_for(STEP_MS)
        pytest.fail(f"it does not come back: {self.run('({ ...page.connection })')}")

    def connect(self, hello=None, **options):
        """Make the connection and have it accepted; its network connection."""
        self.open(**options)
        network_connection = self._peer.next()
        network_connection.accept()
        network_connection.send(hello or hello_text())
        self.wait_for_state("open")
        return network_connection


def hello_text(**values):
    """A server's first message."""
    known = {"session": "first-session", "received": 0, "resumed": False, "ping": 20} | values
    return "h" + json.dumps(known)


@pytest.fixture(scope="module")
def module_peer():
    with Peer() as running:
        yield running


@pytest.fixture(scope="module")
def module_page(browser, module_peer):
    """One for all tests of a module: to open it takes longer than most of them."""
    with contextlib.closing(browser.new_context()) as context:
        context.set_default_timeout(PAGE_DEADLINE_MS)
        page = context.new_page()
        page.clock.install(time=0)
        page.goto(f"http://{module_peer.netloc}/page.html")
        page.clock.pause_at(1_000)
        yield page


@pytest.fixture
def peer(module_peer):
    """The server of the test's page."""
    yield module_peer
    module_peer.forget()


@pytest.fixture
def page(module_page, peer):
    """A page that knows nothing of earlier tests. Nothing in it may fail."""
    faults = []

    def note(error):
        faults.append(str(error))

    module_page.on("pageerror", note)
    yield Page(module_page, peer)
    module_page.evaluate("page.end()")
    module_page.remove_listener("pageerror", note)
    assert faults == []
