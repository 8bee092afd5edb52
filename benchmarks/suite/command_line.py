"""`benchmarks/run`: what is asked for, from the command line to the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import report
from .environment import ROOT, Environment
from .facts import OtherPrograms, facts_of
from .failure import SuiteError
from .peers import BY_KEY, PEERS, Peer
from .results import Results
from .runner import Runner
from .scenarios import SCENARIOS, Case, Scenario

REPORT = ROOT / "docs" / "benchmarks"
QUICK_ROUNDS, QUICK_SECONDS = 2, 1.0
FULL_ROUNDS, FULL_SECONDS = 5, 2.0

Selection = list[tuple[Scenario, Sequence[Case]]]


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    options = _parse(arguments)
    try:
        _run(options)
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run",
        description="Measure this package and its peers. The first run installs them.",
        epilog="With neither selection nor --quick, the report in docs/benchmarks is replaced; "
        "else it goes to standard output.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few peers, cases and rounds: 3 minutes"
    )
    parser.add_argument("--peers", type=_peers, metavar="A,B", help=", ".join(BY_KEY))
    parser.add_argument(
        "--scenarios",
        type=_scenarios,
        metavar="A,B",
        help=", ".join(scenario.key for scenario in SCENARIOS),
    )
    parser.add_argument("--rounds", type=int, help=f"of which the median counts ({FULL_ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"of a measurement ({FULL_SECONDS:g})")
    parser.add_argument("--output", type=Path, metavar="DIRECTORY", help="write the report there")
    parser.add_argument(
        "--again", type=Path, metavar="RESULTS.json", help="write the report of a run once more"
    )
    return parser.parse_args(arguments)


def _peers(names: str) -> list[Peer]:
    unknown = set(names.split(",")) - set(BY_KEY)
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return [BY_KEY[name] for name in names.split(",")]


def _scenarios(names: str) -> list[Scenario]:
    by_key = {scenario.key: scenario for scenario in SCENARIOS}
    unknown = set(names.split(",")) - set(by_key)
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return [by_key[name] for name in names.split(",")]


def _selection(scenarios: Sequence[Scenario], is_quick: bool) -> Selection:
    found: Selection = []
    for scenario in scenarios:
        cases = [case for case in scenario.cases if case.is_quick or not is_quick]
        if cases:
            found.append((scenario, cases))
    return found


def _run(options: argparse.Namespace) -> None:
    is_partial = options.quick or options.peers or options.scenarios
    output = options.output or (None if is_partial else REPORT)
    results = Results.load(options.again) if options.again else _measure(options)
    if output is None:
        print(report.page(results, with_plots=False))
    else:
        report.write(results, output)
        print(f"written: {output / 'results.md'}", file=sys.stderr)


def _measure(options: argparse.Namespace) -> Results:
    peers = options.peers or [peer for peer in PEERS if peer.is_quick or not options.quick]
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else FULL_SECONDS)
    environment = Environment()
    environment.set_up()
    facts = facts_of(environment, peers, rounds, seconds)
    selection = _selection(options.scenarios or SCENARIOS, options.quick)
    others = OtherPrograms()
    results = Runner(environment, seconds, rounds).run(selection, peers)
    results.facts = facts | {
        "other programs": f"took {others.share():.0%} of the processors' time meanwhile"
    }
    return results
