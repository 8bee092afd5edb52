"""Losses at random points of every exchange, where no WebSocket gets through."""

import pytest

from .http_peer import HttpPeer
from .test_losses import test_every_message_arrives_once_and_in_order  # noqa: F401  # runs here, too


@pytest.fixture(scope="module")
def module_peer():
    with HttpPeer() as running:
        yield running
