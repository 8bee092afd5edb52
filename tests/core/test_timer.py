"""Who is woken when, by a clock that the test moves."""

import pytest

from flask_wshandler.runtime import faults
from flask_wshandler.runtime.timer import Timer
from tests.deadlines import wait_for

from .rig import ManualClock


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


class Raiser:
    """Raises twice, and then comes back no more."""

    due_tick = None

    def __init__(self):
        self.count = 0

    def on_time(self, now_s):
        self.count += 1
        if self.count < 3:
            raise ValueError("as usual")


def test_who_raises_is_woken_again(timer, clock, caplog):
    """Later each time; the others are woken meanwhile, and it is counted."""
    before = faults.counts().get("timer", 0)
    raiser, sleeper = Raiser(), Sleeper(clock)
    timer.wake(raiser, 1)
    clock.advance(1)
    wait_for(lambda: raiser.count == 1)
    timer.wake(sleeper, 0)
    clock.advance(0.1)
    wait_for(lambda: sleeper.times_s)  # whose 15 seconds are more than the raiser's one and two
    clock.advance(1)
    wait_for(lambda: raiser.count == 2)
    clock.advance(3)
    wait_for(lambda: raiser.count == 3)
    assert faults.counts()["timer"] == before + 2


def test_time_that_passes_meanwhile_counts(timer, clock):
    """The answer counts from the time that was told, however late it is given."""
    start_s = clock.now_s()
    sleeper = Sleeper(clock)
    timer.wake(sleeper, 20)
    for count in range(1, 4):
        clock.advance(20 if count == 1 else 5)
        wait_for(lambda count=count: len(sleeper.times_s) == count)
    assert sleeper.times_s == [start_s + 20 * count for count in (1, 2, 3)]
