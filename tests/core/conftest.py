"""Both ways of serving a connection."""

import pytest

from .rig import ManualClock, Rig


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=["epoll", "blocking"])
def rig(request, clock):
    rig = Rig(request.param, clock)
    yield rig
    rig.stop()
