"""A message does not become dearer unnoticed."""

import sys

import pytest

from .cost import USES, measure, measure_uses

MARGIN = 1.1

# A change that makes messages cheaper brings new figures, else the next one may waste what it has
# gained.
COST = {
    (3, 10): {"together": 2.69, "alone": 2.33},
    (3, 11): {"together": 2.50, "alone": 2.19},
    (3, 12): {"together": 2.46, "alone": 2.15},
    (3, 13): {"together": 2.50, "alone": 2.21},
}

# With Flask 3.1. Before requests were kept for the next message, 1.5, 3.5, 3.1, 0.2 and 6.0.
MOST_FOR_USE = {
    "request.path": 0.65,
    "request.args": 0.8,
    "context.query_string": 0.35,
    "session": 0.35,
    "url_for": 1.6,
}


@pytest.fixture(scope="module")
def cost():
    return measure()


@pytest.mark.parametrize("how", ["together", "alone"])
def test_a_message_costs_no_more_than_it_did(cost, how):
    """In instructions of Python, as a multiple of a fixed piece of it: at most a tenth more."""
    usual = COST.get(sys.version_info[:2], COST[max(COST)])[how]
    assert cost[how] <= MARGIN * usual


@pytest.fixture(scope="module")
def use_cost():
    return measure_uses()


@pytest.mark.parametrize("use", USES)
def test_what_a_callback_looks_at_costs_less_than_the_message(use_cost, use):
    """Its request is not made anew for each message, nor are its query and URLs."""
    assert use_cost[use] <= MOST_FOR_USE[use]
