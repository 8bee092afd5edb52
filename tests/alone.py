"""Tests side by side in several processes, but for those marked `alone`.

What measures, or counts what a machine has, is marked `alone`: it waits until no other test of
this checkout runs, and the others wait for it, in whatever process of pytest they are. Without
pytest-xdist or another run beside this one, nobody ever waits.
"""

import fcntl
from pathlib import Path

import pytest

from .groups import is_alone


class Turn:
    """A lock that any number of tests share, or one has. Of the main thread of one process.

    Locks on files that exist: they end with the process, however that ends.
    """

    def __init__(self):
        here = Path(__file__)
        self._door = here.open()  # for a moment by each who comes in; by whoever waits to be alone
        self._room = here.with_name("__init__.py").open()

    def share(self):
        fcntl.flock(self._door, fcntl.LOCK_SH)
        fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def have(self):
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX)

    def leave(self):
        fcntl.flock(self._room, fcntl.LOCK_UN)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def close(self):
        self._room.close()
        self._door.close()


TURN = pytest.StashKey[Turn]()


def pytest_configure(config):
    config.stash[TURN] = turn = Turn()
    config.add_cleanup(turn.close)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Run a test with its fixtures when it is its turn; those to be alone one after the other."""
    turn = item.config.stash[TURN]
    if is_alone(item):
        turn.have()
    else:
        turn.share()
    try:
        return (yield)
    finally:
        if not (is_alone(item) and nextitem is not None and is_alone(nextitem)):
            turn.leave()
