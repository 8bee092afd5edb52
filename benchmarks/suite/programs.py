"""The load generator and the limit, in C, compiled at first use."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .failure import SuiteError

SOURCES = Path(__file__).resolve().parents[1] / "load"

_COMMON = ("websocket.c", "failure.c")
_PARTS = {
    "load": (
        "load.c",
        "options.c",
        "crowd.c",
        "clocks.c",
        "meter.c",
        "histogram.c",
        "echo.c",
        "stay.c",
        "broadcast.c",
        "connect.c",
        "http.c",
        *_COMMON,
    ),
    "echo_server": ("echo_server.c", "handshake.c", *_COMMON),
}
_FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra")


class Programs:
    """Both, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.load = directory / "load"
        self.echo_server = directory / "echo_server"

    def compile(self) -> None:
        """Unless they are newer than all of their sources."""
        changed_s = max(path.stat().st_mtime for path in SOURCES.iterdir())
        for name, parts in _PARTS.items():
            program = self.directory / name
            if not program.exists() or program.stat().st_mtime < changed_s:
                self._compile(program, parts)

    def _compile(self, program: Path, parts: tuple[str, ...]) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise SuiteError("There is no C compiler (cc). On Debian: apt install gcc libc6-dev")
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [compiler, *_FLAGS, "-o", str(program), *parts, "-lm"]
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SuiteError(f"{' '.join(command)} failed:\n{done.stderr}")
