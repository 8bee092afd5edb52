"""What the commands learn of the running workers, and have them do: by inquiries over the bus.

Invariant: whatever a process answers is checked before it is used; what makes no sense is left
out, and counts as no answer.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection
from typing import Any, TypeGuard

from ..bus import NoBus
from ..bus.node import BusNode
from ..bus.rpc import Answer, Replies
from ..monitoring.process_report import ProcessFacts, Row
from .json_shape import has_shape

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """What the processes of an app have answered."""

    #: One for each connection or process, with the process's name as `process`.
    records: list[Record]
    #: How many processes have answered, apart from this one.
    process_count: int
    #: How many are there and have not answered in time.
    silent_count: int


_SAYS_NOTHING = logging.NullHandler()


def hush_the_log() -> None:
    """Have troubles of the bus not logged to the terminal: the commands say what there is to say.

    Where the app has configured its logging, they are logged there.
    """
    logging.getLogger("flask_wshandler").addHandler(_SAYS_NOTHING)


class Workers:
    """The processes of one app; this one, too, in case it serves somebody."""

    def __init__(self, node: BusNode, timeout_s: float) -> None:
        """`timeout_s` is for each question."""
        self._node = node
        self._timeout_s = timeout_s
        # Of the thread that asks.
        self._has_waited_in_vain = False  # for the bus
        self._has_heard_others = False

    @property
    def are_visible(self) -> bool:
        """Whether other processes can be asked at all."""
        return not isinstance(self._node.bus, NoBus)

    @property
    def bus_trouble(self) -> str:
        """Why they could not be asked, as far as is known; empty if all is well."""
        trouble = self._node.bus.trouble
        if not trouble and self._has_waited_in_vain:
            return f"no answer of {self._node.bus} in {self._timeout_s:g} seconds"
        return trouble

    def what_is_missing(self, silent_count: int = 0) -> str:
        """Why what was heard of them may not be all, in a sentence; empty if it is."""
        bus = self._node.bus
        if isinstance(bus, NoBus):
            return f"{bus.reason}: only this process can be seen, and the running workers can't."
        if self.bus_trouble:
            return f"The workers can't be asked: {self.bus_trouble}"
        if silent_count:
            return f"Processes that have not answered in time: {silent_count}. See --timeout."
        return ""

    @property
    def are_found(self) -> bool:
        """Whether any other process has answered so far."""
        return self._has_heard_others

    def why_nobody(self) -> list[str]:
        """Where they were looked for, and why they may be elsewhere: sentences."""
        return [
            "Workers can be asked from their first WebSocket on, by processes of the same user "
            "with the same XDG_RUNTIME_DIR and WSHANDLER_BUS_NAME, or on the same Redis.",
            *self._node.bus.whereabouts(),
        ]

    def look_for_others(self) -> None:
        """Ask whether anybody is there."""
        self._ask_others("stats", {})

    def reach(self) -> None:
        """Have what they say come here, for questions that are not asked by this object."""
        self._has_waited_in_vain |= not self._node.listen(self._timeout_s)

    def connections(self) -> Heard:
        """All open connections, those of one process together, the oldest first."""
        found: dict[str, Record] = {}
        processes: set[str] = set()
        silent_count = 0
        after: str | None = ""
        while after is not None:
            # Everybody is asked for what comes behind one id, so some tell a row twice.
            known = processes - {self._node.process}
            answers, silent = self._ask("connections", {"after": after}, known)
            silent_count = max(silent_count, silent)
            lasts = []
            for process, answer in answers.items():
                rows = _rows(answer)
                processes.add(process)
                found.update({row["id"]: {"process": process, **row} for row in rows})
                if answer.get("has_more") is True and rows:
                    lasts.append(rows[-1]["id"])
            after = min((last for last in lasts if last > after), default=None)
        records = sorted(found.values(), key=lambda row: (row["process"], -row["age_s"]))
        return Heard(records, self._count_others(processes), silent_count)

    def stats(self) -> Heard:
        """The figures of each process that has ever served somebody."""
        answers, silent = self._ask("stats", {})
        records = []
        for process, answer in sorted(answers.items()):
            engine, bus = _figures(answer.get("engine")), _figures(answer.get("bus"))
            history = _figures(answer.get("history"))
            if engine.get("accepted"):
                facts = answer.get("process")
                is_told = has_shape(facts, ProcessFacts)
                records.append(
                    {
                        "process": process,
                        **engine,
                        "bus": bus,
                        "history": history,
                        "facts": facts if is_told else None,
                    }
                )
        return Heard(records, self._count_others(set(answers)), silent)

    def process_facts(self) -> tuple[list[ProcessFacts], int]:
        """Of each other process that a WebSocket has come to, and how many have not answered."""
        answers, silent_count = self._ask("stats", {})
        others = sorted(answers.keys() - {self._node.process})
        told = [answers[name].get("process") for name in others]
        return [facts for facts in told if _are_of_a_server(facts)], silent_count

    def close(self, connection_id: str, code: int, reason: str) -> tuple[str | None, int]:
        """Close a connection: the process that had it, if any, and how many have not answered."""
        arguments = {"id": connection_id, "code": code, "reason": reason}
        if _has_closed(self._node.answer("close", arguments)):
            return self._node.process, 0
        heard = self._ask_others("close", arguments, is_enough=_has_closed)
        had = [name for name, answer in heard.by_process.items() if _has_closed(answer)]
        return (had[0] if had else None), heard.silent_count

    def _ask(
        self, verb: str, arguments: dict[str, Any], known: Collection[str] = ()
    ) -> tuple[dict[str, Answer], int]:
        heard = self._ask_others(verb, arguments, known=known)
        own = self._node.answer(verb, arguments)
        return {self._node.process: own, **heard.by_process}, heard.silent_count

    def _ask_others(
        self,
        verb: str,
        arguments: dict[str, Any],
        *,
        is_enough: Callable[[Answer], bool] | None = None,
        known: Collection[str] = (),
    ) -> Replies:
        heard = self._node.ask(
            verb, arguments, timeout_s=self._timeout_s, is_enough=is_enough, known=known
        )
        self._has_waited_in_vain |= not heard.was_asked
        self._has_heard_others |= bool(heard.by_process)
        return heard

    def _count_others(self, processes: set[str]) -> int:
        return len(processes - {self._node.process})


def _has_closed(answer: Answer) -> bool:
    return answer.get("has_closed") is True


def _are_of_a_server(facts: object) -> TypeGuard[ProcessFacts]:
    return has_shape(facts, ProcessFacts) and facts["has_served"]  # type: ignore[index]  # it has the shape


def _rows(answer: Answer) -> list[Row]:
    rows = answer.get("connections")
    return [row for row in rows if has_shape(row, Row)] if isinstance(rows, list) else []


def _figures(found: object) -> Record:
    """What counts, by name; and what is so or not, such as `is_up` of a bus."""
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if has_shape(value, int | float | bool)}
