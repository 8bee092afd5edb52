"""What the commands print: tables for people, JSON for programs.

Invariant: what comes from clients is shown, never obeyed: neither a terminal's control characters
nor markup get through.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

Record = Mapping[str, Any]
"""One line of a table, by the names that JSON has."""


def _as_text(value: Any) -> str:
    return "-" if value is None else str(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column: the record's field, the heading, how the value looks."""

    field: str
    heading: str
    show: Callable[[Any], str] = _as_text
    is_number: bool = False


def count(field: str, heading: str) -> Column:
    """A column of whole numbers, with their thousands apart."""
    return Column(field, heading, lambda value: "-" if value is None else f"{value:,}", True)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The same for all commands that have it."""


def warn(text: str) -> None:
    """Say something beside the output: on standard error, which programs don't read."""
    click.echo(text, err=True)


def print_json(value: object) -> None:
    """Print for programs: one document, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[Column], records: Sequence[Record]) -> None:
    """Print for people: by `rich` on a terminal if it is installed, else aligned text."""
    lines = [
        [printable(each.show(record.get(each.field))) for each in columns] for record in records
    ]
    if not (_is_terminal() and _print_rich(columns, lines)):
        _print_plain(columns, lines)


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
    """`text` on one line, with escapes for what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _print_plain(columns: Sequence[Column], lines: list[list[str]]) -> None:
    table = [[each.heading.upper() for each in columns], *lines]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    for line in table:
        cells = [
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _print_rich(columns: Sequence[Column], lines: list[list[str]]) -> bool:
    """Whether there is rich to print by."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            column.heading, justify="right" if column.is_number else "left", overflow="fold"
        )
    for line in lines:
        table.add_row(*map(Text, line))  # else "[red]" in a path would be markup
    Console().print(table)
    return True


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
