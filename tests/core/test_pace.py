"""When threads for callbacks come and go: a matter of counting looks, so there is no time here."""

import itertools

from flask_wshandler.transports.pace import Pace


def looks_until_some_go(pace):
    """Of looks that find nothing wrong."""
    for look in range(1, 100_000):
        if pace.went_on():
            return look
    raise AssertionError("nobody ever goes")


def test_a_jam_that_goes_on_brings_twice_as_many_each_time():
    """Who has come is stuck, too."""
    pace = Pace()
    came = [pace.jammed() for _ in range(4)]
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(came))


def test_a_new_jam_begins_with_one():
    """After some looks without."""
    pace = Pace()
    pace.jammed()
    pace.jammed()
    for _ in range(5):
        assert not pace.went_on()
    assert pace.jammed() == 1


def test_some_go_again_and_again_while_nothing_is_wrong():
    """At the same distance."""
    pace = Pace()
    pace.jammed()
    distances = {looks_until_some_go(pace) for _ in range(5)}
    assert len(distances) == 1


def test_who_is_missed_at_once_goes_later_the_next_time():
    """Twice as late each time, within a bound; soon again when nobody was missed."""
    pace = Pace()
    pace.jammed()
    first = looks_until_some_go(pace)
    later = []
    for _ in range(20):
        pace.jammed()
        later.append(looks_until_some_go(pace))
    assert later[:3] == [2 * first, 4 * first, 8 * first]
    assert later[-1] == later[-2] <= 32 * first
    looks_until_some_go(pace)
    assert looks_until_some_go(pace) == first
