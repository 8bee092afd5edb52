"""Tables: aligned text in a pipe, rich's on a terminal, and nothing that a terminal obeys."""

import os
import pty
import subprocess
import sys

from flask_wshandler.cli.tables import (
    Column,
    count,
    duration,
    print_paragraph,
    print_table,
    printable,
)

COLUMNS = (Column("name", "Name"), count("size", "Size"))
RECORDS = [{"name": "[red]a\x1b[31m", "size": 12345}, {"name": "b", "size": None}]


def test_plain_text_is_aligned(capsys):
    """Text to the left, numbers to the right, headings in capitals."""
    print_table(COLUMNS, RECORDS)
    assert capsys.readouterr().out.splitlines() == [
        "NAME              SIZE",
        "[red]a\\x1b[31m  12,345",
        "b                    -",
    ]


PRINT_TABLE = """
from tests.cli.test_tables import COLUMNS, RECORDS, print_table
print_table(COLUMNS, RECORDS)
"""
PRINT_PARAGRAPH = """
from tests.cli.test_tables import print_paragraph
print_paragraph(10 * "0123456789 and so-on ")
"""


def on_a_terminal(program):
    """What a program prints there."""
    reading, writing = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writing, env=environment, check=True, timeout=60
    )
    os.close(writing)
    assert done.returncode == 0
    shown = b""
    try:
        while data := os.read(reading, 65536):
            shown += data
    except OSError:
        pass  # the other end is closed
    os.close(reading)
    return shown.decode()


def test_a_terminal_gets_riches_table():
    """With a rule below the headings; a client's text is neither markup nor an escape."""
    shown = on_a_terminal(PRINT_TABLE)
    assert "─" in shown
    assert "[red]a\\x1b[31m" in shown
    assert "\x1b[31m" not in shown


def test_without_rich_it_is_plain():
    """It is an extra."""
    shown = on_a_terminal("import sys; sys.modules['rich.table'] = None\n" + PRINT_TABLE)
    assert "NAME" in shown
    assert "─" not in shown


def test_paragraphs_are_broken_on_a_terminal_only(capsys):
    """Between words; for programs a line is a line."""
    text = 10 * "0123456789 and so-on "
    lines = on_a_terminal(PRINT_PARAGRAPH).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("  ") and len(line) <= 80 for line in lines)
    assert " ".join(line.strip() for line in lines) == text.strip()
    print_paragraph(text)
    assert capsys.readouterr().out == f"  {text}\n"


def test_what_a_terminal_would_obey_is_escaped():
    """Control characters, other directions of writing, halves of characters."""
    assert printable("a\nb\x1b[2J\u202e\ud800") == "a\\nb\\x1b[2J\\u202e\\ud800"
    assert printable("/räume/1") == "/räume/1"


def test_durations_have_two_units():
    """Enough to know how old something is."""
    times = [4.24, 75, 3 * 3600 + 60, 50 * 3600]
    assert [duration(each) for each in times] == ["4.2s", "1m 15s", "3h 1m", "2d 2h"]
