"""Every bus on what it runs on, and processes to meet there."""

import pytest

from .networks import NETWORKS, Member


@pytest.fixture(params=NETWORKS)
def network(request, tmp_path):
    network = NETWORKS[request.param](tmp_path)
    network.kind = request.param
    yield network
    network.stop()


@pytest.fixture
def join(network):
    """Start a process: `join(*topics)`; with topics it has subscribed to them."""
    members = []

    def join(*topics, **options):
        members.append(Member(network, **options))
        if topics:
            assert members[-1].subscribe(*topics)
        return members[-1]

    yield join
    for member in members:
        member.end()
