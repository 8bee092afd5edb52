"""A terminal for what a test starts."""

import contextlib
import os
import pty
import re
import subprocess

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def shown_by(command, width=80, environment=os.environ, encoding="utf-8", **options):
    """What a command prints on a terminal of so many columns, without the colours."""
    reading, writing = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        env={**environment, "TERM": "xterm", "COLUMNS": str(width)},
        **options,
    ):
        os.close(writing)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(reading, 65536):
                shown += data
    os.close(reading)
    return _COLOUR.sub("", shown.decode(encoding))
