"""A message does not become dearer unnoticed."""

import sys

import pytest

from .cost import measure

MARGIN = 1.1

# A change that makes messages cheaper brings new figures, else the next one may waste what it has
# gained.
COST = {
    (3, 10): {"together": 2.69, "alone": 2.33},
    (3, 11): {"together": 2.50, "alone": 2.19},
    (3, 12): {"together": 2.46, "alone": 2.15},
    (3, 13): {"together": 2.50, "alone": 2.21},
}


@pytest.fixture(scope="module")
def cost():
    return measure()


@pytest.mark.parametrize("how", ["together", "alone"])
def test_a_message_costs_no_more_than_it_did(cost, how):
    """In instructions of Python, as a multiple of a fixed piece of it: at most a tenth more."""
    usual = COST.get(sys.version_info[:2], COST[max(COST)])[how]
    assert cost[how] <= MARGIN * usual
