"""A message does not become dearer unnoticed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MARGIN = 1.5
ATTEMPTS = 20
"""A machine that is busy makes messages dearer, never cheaper: the cheapest attempt counts."""

# Medians of three or more runs of `python -m tests.core.cost`. A change that makes messages cheaper
# brings new figures, else the next one may waste what it has gained.
COST = {
    (3, 10): {"together": 2.56, "alone": 2.18},
    (3, 11): {"together": 2.15, "alone": 1.88},
    (3, 12): {"together": 2.11, "alone": 1.79},
    (3, 13): {"together": 2.12, "alone": 1.78},
}


def measured():
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.cost"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_a_message_costs_no_more_than_it_did():
    """In processor time, as a multiple of a fixed piece of Python: at most half more."""
    usual = COST.get(sys.version_info[:2], COST[max(COST)])
    found = [measured()]
    while len(found) < ATTEMPTS and not is_usual(cheapest(found), usual):
        found.append(measured())
    assert is_usual(cheapest(found), usual), (found, usual)


def cheapest(found):
    return {name: min(each[name] for each in found) for name in found[0]}


def is_usual(cost, usual):
    return all(cost[name] <= MARGIN * usual[name] for name in usual)
