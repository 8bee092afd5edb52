"""What the commands print: tables for people, JSON for programs.

Invariant: what comes from clients is shown, never obeyed: neither a terminal's control characters
nor markup get through, and what the output's encoding lacks is escaped.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import click

from ..runtime.redaction import one_line

Record = Mapping[str, Any]
"""One line of a table, by the names that JSON has."""

_GAP = "  "
_MAX_PRINTED_CHARS = 10_000
"""Of a cell or a sentence."""
_LEAST_CHARS = 12
"""Of a broken cell: with fewer a path is a column of letters."""


def _as_text(value: Any) -> str:
    return "-" if value is None else str(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column: the record's field, the heading, how the value looks."""

    field: str
    heading: str
    show: Callable[[Any], str] = _as_text
    is_number: bool = False
    #: Not to be broken, since people copy it. Nor are numbers.
    is_whole: bool = False


def count(field: str, heading: str) -> Column:
    """A column of whole numbers, with their thousands apart."""
    return Column(field, heading, lambda value: "-" if value is None else f"{value:,}", True)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The same for all commands that have it."""


def warn(*texts: str) -> None:
    """Say something beside the output: on standard error, which programs don't read."""
    for text in texts:
        click.echo(printable(text), err=True)


def print_json(value: object) -> None:
    """Print for programs: one document, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[Column], records: Sequence[Record]) -> None:
    """Print for people: by `rich` on a terminal if it is installed, else aligned text.

    On a terminal that is too narrow for rich's table a record has several lines of such text.
    """
    lines = [
        [printable(each.show(record.get(each.field))) for each in columns] for record in records
    ]
    if not _is_terminal():
        _print_plain(columns, lines, sys.maxsize)
        return
    width = shutil.get_terminal_size().columns
    if not _print_rich(columns, lines, width):
        _print_plain(columns, lines, width)


def print_paragraph(text: str, indent: str = "  ") -> None:
    """Print, as below a heading: one line, which on a terminal is broken between words."""
    line = indent + printable(text)
    if _is_terminal():
        width = shutil.get_terminal_size().columns
        line = textwrap.fill(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    click.echo(line)


def printable(text: str) -> str:
    """`text` on one line, with escapes for what a terminal would obey, or the output can't have."""
    text = one_line(text, _MAX_PRINTED_CHARS)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # there may be no output at all
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _print_plain(columns: Sequence[Column], lines: list[list[str]], most_chars: int) -> None:
    table = [[each.heading.upper() for each in columns], *lines]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    parts = _parts(widths, most_chars)
    for line in table:
        cells = [
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ]
        for part in parts:
            indent = _GAP if part.start else ""
            click.echo(indent + _GAP.join(cells[part]).rstrip())


def _parts(widths: list[int], most_chars: int) -> list[slice]:
    """Which columns share a line: as many as it has room for, and one at the least."""
    starts = [0]
    used = -len(_GAP)
    for number, width in enumerate(widths):
        used += len(_GAP) + width
        if used > most_chars and number:
            starts.append(number)
            used = len(_GAP) + width
    return [slice(*ends) for ends in zip(starts, [*starts[1:], len(widths)], strict=True)]


def _print_rich(columns: Sequence[Column], lines: list[list[str]], most_chars: int) -> bool:
    """Whether there is rich to print by, and room for its table."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    widths = _widths(columns, [[cell_len(cell) for cell in line] for line in lines], most_chars)
    if widths is None:
        return False
    # With the one space of the box between two columns that is _GAP.
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        table.add_column(column.heading, justify=justify, overflow="fold", width=width)
    for line in lines:
        table.add_row(*map(Text, line))  # else "[red]" in a path would be markup
    Console(width=most_chars).print(table)
    return True


def _widths(columns: Sequence[Column], sizes: list[list[int]], most_chars: int) -> list[int] | None:
    """Those of a table whose cells have these `sizes`, the widest broken until all is within
    `most_chars`; None if it can't be."""
    widths, least = [], []
    for column, column_sizes in zip(columns, zip(*sizes, strict=True), strict=True):
        size = max(column_sizes)
        is_whole = column.is_whole or column.is_number
        widths.append(max(size, len(column.heading)))
        least.append(
            max(
                size if is_whole else min(size, _LEAST_CHARS),
                *map(len, column.heading.split()),
            )
        )
    room = most_chars - len(_GAP) * (len(columns) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        breakable = [number for number, width in enumerate(widths) if width > least[number]]
        widths[max(breakable, key=widths.__getitem__)] -= 1
    return widths


def duration(seconds: float) -> str:
    """Seconds as people read them: 4.2s, 3m 20s, 5h 12m, 2d 3h."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h"
