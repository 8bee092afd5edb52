"""What has been measured: a sample per case, peer and round, or why there is none."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

Sample = dict[str, float]
"""Figures by the names of their metrics."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the rounds of a run."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Summary | None:
        """None if there are no values."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found)) if found else None


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one peer in one case."""

    case: str
    peer: str
    metric: str


class Results:
    """All samples of a run, and what it ran on."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        """Versions, machine, commit: what the report opens with."""
        self._samples: dict[str, dict[str, dict[int, Sample]]] = {}
        self._reasons: dict[str, dict[str, str]] = {}

    def add(self, case: str, peer: str, round_number: int, sample: Sample) -> None:
        """Keep a sample."""
        self._samples.setdefault(case, {}).setdefault(peer, {})[round_number] = sample

    def excuse(self, case: str, peer: str, reason: str) -> None:
        """Keep why there is none."""
        self._reasons.setdefault(case, {})[peer] = reason

    def cases(self) -> set[str]:
        """What there is something to say about."""
        return {*self._samples, *self._reasons}

    def has_samples(self, case: str, peer: str) -> bool:
        """Whether a peer has been measured in a case."""
        return bool(self._rounds(case, peer))

    def has(self, case: str, peer: str) -> bool:
        """Whether there is something to say about a peer in a case."""
        return self.has_samples(case, peer) or self.reason(case, peer) is not None

    def reason(self, case: str, peer: str) -> str | None:
        """Why there is no sample, or why there are fewer than rounds."""
        return self._reasons.get(case, {}).get(peer)

    def summary(self, figure: Figure) -> Summary | None:
        """Over the rounds."""
        return Summary.of(self._values(figure).values())

    def ratio(self, dividend: Figure, divisor: Figure) -> Summary | None:
        """Of what was measured in the same round: so the machine's mood is in both."""
        upper, lower = self._values(dividend), self._values(divisor)
        return Summary.of(upper[n] / lower[n] for n in upper if lower.get(n))

    def save(self, path: Path) -> None:
        """As JSON."""
        content = {"facts": self.facts, "samples": self._samples, "reasons": self._reasons}
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """What `save` has written."""
        content = json.loads(path.read_text())
        results = cls()
        results.facts = content["facts"]
        results._reasons = content["reasons"]
        for case, of_peers in content["samples"].items():
            for peer, rounds in of_peers.items():
                for number, sample in rounds.items():
                    results.add(case, peer, int(number), sample)
        return results

    def _rounds(self, case: str, peer: str) -> dict[int, Sample]:
        return self._samples.get(case, {}).get(peer, {})

    def _values(self, figure: Figure) -> dict[int, float]:
        rounds = self._rounds(figure.case, figure.peer)
        return {n: rounds[n][figure.metric] for n in rounds if figure.metric in rounds[n]}
