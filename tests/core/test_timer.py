"""Who is woken when, by a clock that the test moves."""

import pytest

from flask_wshandler.timer import Timer

from .rig import ManualClock, wait_for


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def timer(clock):
    timer = Timer(clock)
    yield timer
    timer.stop()


class Sleeper:
    """Comes back after 20 seconds each time; time goes on while it is told."""

    due_tick = None

    def __init__(self, clock):
        self._clock = clock
        self.times_s = []

    def on_time(self, now_s):
        self.times_s.append(now_s)
        self._clock.advance(15)
        return 20


def test_time_that_passes_meanwhile_counts(timer, clock):
    """The answer counts from the time that was told, however late it is given."""
    start_s = clock.now_s()
    sleeper = Sleeper(clock)
    timer.wake(sleeper, 20)
    for count in range(1, 4):
        clock.advance(20 if count == 1 else 5)
        wait_for(lambda count=count: len(sleeper.times_s) == count)
    assert sleeper.times_s == [start_s + 20 * count for count in (1, 2, 3)]
