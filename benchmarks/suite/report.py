"""The results as a page with tables and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .charts import Bar, Line, bar_chart, line_chart
from .peers import PEERS, Peer
from .results import Figure, Results, Summary
from .scenarios import GROWTH, GROWTH_COUNTS, SCENARIOS, Column, Scenario, Table
from .verdict import GOALS, Goal

_HEAD = """\
# Results

Written by `benchmarks/run`; how to read it is in [README.md](README.md). Cells are medians of the
rounds, with the lowest and the highest in brackets. Figures can be compared within this page only.
"""


def write(results: Results, directory: Path) -> None:
    """The page, its plots, and all samples as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    results.save(directory / "results.json")
    for name, plot in plots(results):
        (directory / f"{name}.svg").write_text(plot, encoding="utf-8")
    (directory / "results.md").write_text(page(results), encoding="utf-8")


def page(results: Results, with_plots: bool = True) -> str:
    """In Markdown."""
    parts = [_HEAD, _facts(results), "## Goals\n", verdict(results)]
    for scenario in SCENARIOS:
        parts += _section(scenario, results, with_plots)
    return "\n".join(parts)


def plots(results: Results) -> Iterator[tuple[str, str]]:
    """Names and SVG, of what has figures."""
    for table in (table for scenario in SCENARIOS for table in scenario.tables):
        bars = _bars(table, results)
        if table.plot and bars:
            yield table.plot.name, bar_chart(table.plot.title, bars, table.plot.is_more_better)
    if lines := _growth_lines(results):
        title = "CPU of the server in µs/message, by the number of clients (in turns)"
        yield GROWTH.key, line_chart(title, GROWTH_COUNTS, lines)


def verdict(results: Results) -> str:
    """A row for each goal."""
    rows = [_goal_row(goal, results) for goal in GOALS]
    return _table(["against", "what", "goal", "measured", "reached"], rows)


def _facts(results: Results) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in results.facts.items())


def _goal_row(goal: Goal, results: Results) -> list[str]:
    found = goal.find(results)
    bound = f"{'at least' if goal.is_least else 'at most'} {goal.bound:.3g}{goal.unit}"
    if found is None:
        return [goal.against, goal.what, bound, "not measured", ""]
    measured = f"{found.median:.3g}{goal.unit} ({found.lowest:.3g}–{found.highest:.3g})"  # noqa: RUF001
    return [goal.against, goal.what, bound, measured, _answer(goal, found)]


def _answer(goal: Goal, found: Summary) -> str:
    if not goal.is_reached_by(found.median):
        return "**no**"
    worst = found.lowest if goal.is_least else found.highest
    return "yes" if goal.is_reached_by(worst) else "yes, but not in every round"


def _section(scenario: Scenario, results: Results, with_plots: bool) -> list[str]:
    if not any(case.key in results.cases() for case in scenario.cases):
        return []
    parts = [f"\n## {scenario.title}\n", f"{scenario.text}\n"]
    for table in scenario.tables:
        if table.title:
            parts.append(f"**{table.title}**\n")
        parts.append(_results_table(table, results))
        if with_plots and table.plot and _bars(table, results):
            parts.append(f"![{table.plot.title}]({table.plot.name}.svg)\n")
    if with_plots and scenario is GROWTH and _growth_lines(results):
        parts.append(f"![{scenario.title}]({scenario.key}.svg)\n")
    return parts


def _results_table(table: Table, results: Results) -> str:
    columns = [column for column in table.columns if column.case in results.cases()]
    rows = [
        [_name(peer), *(_cell(column, peer, results) for column in columns)]
        for peer in PEERS
        if any(results.has(column.case, peer.key) for column in columns)
    ]
    return _table(["", *(column.title for column in columns)], rows)


def _name(peer: Peer) -> str:
    return f"**{peer.title}**" if peer.is_ours else peer.title


def _cell(column: Column, peer: Peer, results: Results) -> str:
    found = results.summary(Figure(column.case, peer.key, column.metric))
    if found is None:
        return results.reason(column.case, peer.key) or ""
    median, lowest, highest = (
        f"{value:,.{column.decimals}f}" for value in (found.median, found.lowest, found.highest)
    )
    return f"{median} ({lowest}–{highest})"  # noqa: RUF001


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _bars(table: Table, results: Results) -> list[Bar]:
    if table.plot is None:
        return []
    column = table.columns[table.plot.column]
    found = (
        (peer, results.summary(Figure(column.case, peer.key, column.metric))) for peer in PEERS
    )
    return [
        Bar(peer.title.replace("`", ""), value, peer.is_ours)
        for peer, value in found
        if value is not None
    ]


def _growth_lines(results: Results) -> list[Line]:
    lines = []
    for peer in PEERS:
        found = [
            results.summary(Figure(f"turns-{count}", peer.key, "cpu_us")) for count in GROWTH_COUNTS
        ]
        values = tuple(summary.median for summary in found if summary is not None)
        if len(values) == len(GROWTH_COUNTS):
            lines.append(Line(peer.title.replace("`", ""), values))
    return lines
