"""Pages that are left, in a browser that nobody drives: what drives it turns its page cache off."""

import subprocess

import pytest

from tests.chromium import FLAGS, whole_chromium
from tests.deadlines import DEADLINE_S

from .conftest import hello_text
from .peer import Closed


@pytest.fixture
def connection(peer, tmp_path):
    """That of a page which goes where it is told."""
    command = [whole_chromium(), *FLAGS, "--headless", f"--user-data-dir={tmp_path}"]
    command += [f"http://{peer.netloc}/history.html"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection = peer.next()
        connection.accept()
        connection.send(hello_text())
        yield connection
    finally:
        browser.terminate()
        browser.wait(DEADLINE_S)


def test_a_page_in_the_back_forward_cache_says_so_and_returns(connection, peer):
    """Its connection goes on: what it was sent meanwhile comes, and nothing twice."""
    connection.send("m/back.html")
    assert connection.receive() == Closed(4000)
    again = peer.next()
    assert again.offer == ["wshandler.1", "r.first-session.1.0.1"]
    again.accept()
    again.send(hello_text(resumed=True))
    assert again.receive() == "mrestored"


def test_a_page_that_is_loaded_again_begins_anew(connection, peer):
    """The browser's own close frame ends the connection; and nothing was kept."""
    connection.send("mreload")
    assert connection.receive() == Closed(1001)
    assert peer.next().offer == ["wshandler.1"]
