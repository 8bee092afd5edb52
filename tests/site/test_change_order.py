"""The order in which the game's page applies changes: `static/sequence.js`, in a browser."""

import datetime

import pytest

SETUP = """async () => {
    const { Sequence } = await import("/static/sequence.js");
    window.applied = [];
    window.asked = 0;
    window.sequence = new Sequence(
        ({ number }) => applied.push(number),
        () => (asked += 1),
    );
}"""


class Page:
    """A page with a sequence, whose clock is the test's."""

    def __init__(self, page):
        page.clock.install(time=datetime.datetime(2026, 1, 1))
        page.clock.pause_at(datetime.datetime(2026, 1, 2))  # else it goes on by itself, too
        page.evaluate(SETUP)
        self._page = page

    def restart(self, number):
        self._page.evaluate("(number) => sequence.restart(number)", number)

    def take(self, *numbers):
        self._page.evaluate(
            "(numbers) => numbers.forEach((number) => sequence.take({ number }))", numbers
        )

    def wait(self, milliseconds):
        self._page.clock.run_for(milliseconds)

    @property
    def applied(self):
        return self._page.evaluate("applied")

    @property
    def asked(self):
        return self._page.evaluate("asked")


@pytest.fixture
def page(visit):
    return Page(visit("/"))


def test_early_changes_wait_for_their_turn(page):
    """Whatever order changes come in, they are applied in that of their numbers, and once."""
    page.restart(10)
    page.take(12, 13, 11, 11, 12, 15)
    assert page.applied == [11, 12, 13]
    page.take(14)
    assert page.applied == [11, 12, 13, 14, 15]
    page.wait(5_000)
    assert page.asked == 0


def test_changes_in_the_snapshot_are_ignored(page):
    """What the whole state has in it is not applied again."""
    page.take(9, 11)
    page.restart(10)
    page.take(10, 8)
    assert page.applied == [11]
    page.restart(20)
    page.take(12, 21)
    assert page.applied == [11, 21]
    assert page.asked == 0


def test_missing_change_is_asked_for(page):
    """After a second, and again after another, until the whole state comes."""
    page.restart(10)
    page.take(12)
    page.wait(900)
    assert page.asked == 0
    page.wait(200)
    assert page.asked == 1
    page.take(13)
    page.wait(1_100)
    assert page.asked == 2
    page.restart(13)
    page.take(14)
    assert page.applied == [14]
    page.wait(5_000)
    assert page.asked == 2


def test_held_changes_are_bounded(page):
    """When too many wait for one, the page does not."""
    page.restart(0)
    page.take(*range(2, 2 + 64))
    assert page.asked == 0
    page.take(2 + 64)
    assert page.asked == 1
    assert page.applied == []
