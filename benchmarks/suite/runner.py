"""Has the peers measured in turns, each time with a server that has just been started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .environment import Environment
from .failure import MeasurementError
from .load import Load
from .measurements import Bench
from .peers import Peer
from .results import Results, Sample
from .scenarios import Case, Scenario, obstacle
from .server import running


@dataclass(frozen=True, slots=True)
class Cores:
    """Of this process; the last one is the load's."""

    all: tuple[int, ...]

    @classmethod
    def of_this_process(cls) -> Cores:
        """Those it may run on."""
        return cls(tuple(sorted(os.sched_getaffinity(0))))

    @property
    def load(self) -> int:
        """For the load generator."""
        return self.all[-1]

    def server(self, workers: int) -> set[int]:
        """One for each worker; not the load's, where there are enough."""
        return set(self.all[:workers])


class Runner:
    """Measures cases into results."""

    def __init__(self, environment: Environment, seconds: float, rounds: int) -> None:
        self._environment = environment
        self._seconds = seconds
        self._rounds = rounds
        self._cores = Cores.of_this_process()

    def run(
        self, scenarios: Iterable[tuple[Scenario, Sequence[Case]]], peers: Sequence[Peer]
    ) -> Results:
        """All of it. One round of a scenario has every peer once in every case."""
        results = Results()
        for scenario, cases in scenarios:
            taking_part = [peer for peer in peers if scenario.is_for(peer)]
            for round_number in range(self._rounds):
                for case in cases:
                    for peer in taking_part:
                        self._measure(results, case, peer, round_number)
        return results

    def _measure(self, results: Results, case: Case, peer: Peer, round_number: int) -> None:
        if reason := obstacle(case, peer):
            results.excuse(case.key, peer.key, reason)
            return
        if round_number and not results.has_samples(case.key, peer.key):
            return  # it takes minutes to find out again that it does not work
        started_s = time.monotonic()
        try:
            sample = self._sample(case, peer)
            results.add(case.key, peer.key, round_number, sample)
            outcome = ", ".join(f"{name} {value:,.4g}" for name, value in sample.items())
        except MeasurementError as error:
            outcome = str(error)
            results.excuse(case.key, peer.key, outcome.splitlines()[0])
        took_s = time.monotonic() - started_s
        print(
            f"{round_number + 1}/{self._rounds} {case.key:24} {peer.key:24} {took_s:5.1f} s: "
            f"{outcome}",
            file=sys.stderr,
            flush=True,
        )

    def _sample(self, case: Case, peer: Peer) -> Sample:
        cores = self._cores.server(case.demands.workers)
        with running(peer, case.demands, self._environment, cores) as server:
            load = Load(self._environment.programs, server, peer, self._cores.load)
            return case.measure(Bench(peer, server, load, self._environment, self._seconds))
