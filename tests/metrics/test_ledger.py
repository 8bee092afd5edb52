"""Who joins a ledger is always let go."""

import tempfile
import threading
import time

import pytest

from flask_wshandler.monitoring.server_totals import Ledger
from tests.deadlines import DEADLINE_S


def figures_threads():
    return [each for each in threading.enumerate() if each.name == "wshandler-figures"]


@pytest.fixture
def runtime(monkeypatch):
    """Not pytest's: the path of a Unix socket is short."""
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield


def test_an_app_may_end_while_its_figures_are_begun(runtime):
    """Garbage may be collected anywhere, and an app that is found in it leaves its ledger.

    Here it is found when the first figures are told. Nobody is left waiting, and no thread.
    """
    before, left = figures_threads(), []

    def tell():
        left.append(ledger.leave())
        return {}

    ledger = Ledger("app", tell)
    joining = threading.Thread(target=ledger.join, daemon=True)
    joining.start()
    joining.join(DEADLINE_S)
    assert not joining.is_alive()
    assert left
    deadline_s = time.monotonic() + DEADLINE_S
    while figures_threads() != before:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
