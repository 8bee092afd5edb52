"""A terminal for what a test starts."""

import os
import pty
import subprocess

from tests.deadlines import DEADLINE_S


def shown_by(command, width=80, environment=os.environ, encoding="utf-8", **options):
    """What a command prints on a terminal of so many columns: at most the 4 KiB that one holds."""
    reading, writing = pty.openpty()
    subprocess.run(
        command,
        stdout=writing,
        env={**environment, "TERM": "xterm", "COLUMNS": str(width)},
        check=True,
        timeout=DEADLINE_S,
        **options,
    )
    os.close(writing)
    shown = b""
    try:
        while data := os.read(reading, 65536):
            shown += data
    except OSError:
        pass  # the other end is closed
    os.close(reading)
    return shown.decode(encoding)
