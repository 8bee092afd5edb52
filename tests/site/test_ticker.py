"""The thread that ticks while it is wanted."""

import threading
import time

from example_site.ticker import Ticker
from tests.deadlines import DEADLINE_S


def wait_until(is_true):
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "ticker"]


def test_ticks_while_it_is_wanted():
    """No thread before the first start, one for all of them, none after the stop."""
    ticker = Ticker(interval_s=0.01)
    ticked = threading.Event()
    begun = []

    def begin():
        begun.append(1)
        return ticked.set

    assert not ticker.is_running
    ticker.start(begin)
    ticker.start(begin)
    for _ in range(3):
        assert ticked.wait(DEADLINE_S)
        ticked.clear()
    assert len(threads()) == len(begun) == 1
    assert threads()[0].daemon
    ticker.stop()
    wait_until(lambda: not ticker.is_running and not threads())


def test_starts_again():
    """Who starts it after a stop gets a thread, and a beginning, of their own."""
    ticker = Ticker(interval_s=0.01)
    for _ in range(3):
        ticked = threading.Event()
        ticker.start(lambda ticked=ticked: ticked.set)
        assert ticked.wait(DEADLINE_S)
        ticker.stop()
        wait_until(lambda: not ticker.is_running)


def test_stop_does_not_wait_for_a_tick():
    """However long the interval, the thread ends at once."""
    ticker = Ticker(interval_s=3600)
    ticker.start(lambda: lambda: None)
    ticker.stop()
    wait_until(lambda: not threads())


def test_start_right_after_a_stop_ticks():
    """Whether or not the thread has noticed the stop."""
    ticker = Ticker(interval_s=0.01)
    ticked = threading.Event()
    for _ in range(100):
        ticker.start(lambda: ticked.set)
        ticker.stop()
    ticker.start(lambda: ticked.set)
    ticked.clear()
    assert ticked.wait(DEADLINE_S)
    ticker.stop()
    wait_until(lambda: not threads())


def test_failed_tick_is_logged_and_ends_the_thread(caplog):
    """The next start begins again."""
    ticker = Ticker(interval_s=0.01)

    def fail():
        raise ZeroDivisionError

    ticker.start(lambda: fail)
    wait_until(lambda: not ticker.is_running)
    assert "The ticker has failed" in caplog.text
    ticked = threading.Event()
    ticker.start(lambda: ticked.set)
    assert ticked.wait(DEADLINE_S)
    ticker.stop()
    wait_until(lambda: not threads())


def test_stopping_twice_is_harmless():
    """The second time there is nothing to do."""
    ticker = Ticker(interval_s=0.01)
    ticker.stop()
    ticker.stop()
    assert not ticker.is_running
