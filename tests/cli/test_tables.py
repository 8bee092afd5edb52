"""Tables: aligned text in a pipe, rich's on a terminal, and nothing that a terminal obeys."""

import re
import string
import subprocess
import sys

import pytest

from flask_wshandler.cli.tables import (
    Column,
    count,
    duration,
    print_paragraph,
    print_table,
    printable,
)
from tests.deadlines import DEADLINE_S

from .terminal import shown_by

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


def on_a_terminal(program, width=80):
    """What a program prints there."""
    return shown_by([sys.executable, "-c", program], width)


def test_a_terminal_gets_riches_table():
    """With a rule below the headings; a client's text is neither markup nor an escape."""
    shown = on_a_terminal(PRINT_TABLE)
    assert "─" in shown
    assert "[red]a\\x1b[31m" in shown
    assert "\x1b[31m" not in shown


ID = "0123456789abcdef"
PROCESS = "955456918b54:8832:7b7dd737"
USER = "user@example.org"
PATH = f"/{string.ascii_letters}"
LONG_COLUMNS = (
    Column("id", "ID", is_whole=True),
    Column("user", "User"),
    Column("path", "Path"),
    count("size", "Queued bytes"),
    Column("process", "Process", is_whole=True),
)
LONG_RECORD = {"id": ID, "user": USER, "path": PATH, "size": 65536, "process": PROCESS}
PRINT_LONG_TABLE = """
from tests.cli.test_tables import LONG_COLUMNS, LONG_RECORD, print_table
print_table(LONG_COLUMNS, [LONG_RECORD])
"""


@pytest.mark.parametrize("width", [160, 120, 100, 80, 60, 40])
def test_what_people_copy_is_never_broken(width):
    """Nor are numbers; what gives way to them is all there."""
    lines = on_a_terminal(PRINT_LONG_TABLE, width).splitlines()
    shown = "\n".join(lines)
    for whole in (ID, PROCESS, "65,536"):
        assert whole in shown
    assert set(PATH) <= set(shown)
    has_room = width >= 80  # for 16, 12, 12, 6 and 26, and two between each
    assert ("─" in shown) == has_room
    assert (PATH in shown) == (width == 160 or not has_room)
    longest = max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines)
    assert longest <= max(width, len(f"  {PATH}"))


def test_a_narrow_terminal_has_several_lines_of_a_record():
    """Broken between columns, those of the headings alike; what follows the first is indented."""
    assert on_a_terminal(PRINT_LONG_TABLE, 60).splitlines() == [
        "ID                USER",
        "  PATH",
        "  QUEUED BYTES  PROCESS",
        f"{ID}  {USER}",
        f"  {PATH}",
        f"        65,536  {PROCESS}",
    ]


def test_a_pipe_has_one_line_of_a_record(capsys):
    """However long: it is for programs."""
    print_table(LONG_COLUMNS, [LONG_RECORD])
    _, line = capsys.readouterr().out.splitlines()
    assert line.split() == [ID, USER, PATH, "65,536", PROCESS]


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


PRINT_NAMES = """
from tests.cli.test_tables import COLUMNS, print_paragraph, print_table
print_table(COLUMNS, [{"name": "räume/日本", "size": 1}, {"name": "räume", "size": 2}])
print_paragraph("…")
"""


@pytest.mark.parametrize(
    ("encoding", "first", "second"),
    [
        ("latin-1", "räume/\\u65e5\\u672c", "räume"),
        ("ascii", "r\\xe4ume/\\u65e5\\u672c", "r\\xe4ume"),
    ],
)
def test_what_the_output_can_not_have_is_escaped(monkeypatch, encoding, first, second):
    """Before it is aligned; on a terminal, too."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    command = [sys.executable, "-c", PRINT_NAMES]
    piped = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE_S).stdout
    size = len(first)
    assert piped.decode(encoding).splitlines()[1:] == [
        f"{first}     1",
        f"{second:{size}}     2",
        "  \\u2026",
    ]
    shown = shown_by(command, encoding=encoding)
    assert f"\n{first} " in shown and f"\n{second} " in shown
    assert shown.endswith("\n  \\u2026\r\n")


def test_durations_have_two_units():
    """Enough to know how old something is."""
    times = [4.24, 75, 3 * 3600 + 60, 50 * 3600]
    assert [duration(each) for each in times] == ["4.2s", "1m 15s", "3h 1m", "2d 2h"]
