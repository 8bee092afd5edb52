"""How many workers gunicorn would be started with, from what lies about.

Nothing is run: of a configuration file only a plain `workers = <number>` is understood.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

_FILE = "gunicorn.conf.py"
_ARGUMENT = re.compile(r"(?:--workers[= ]|-w ?)(\d+)(?:\s|$)")


def configured_workers(
    environ: Mapping[str, str] = os.environ, directory: Path | None = None
) -> int | None:
    """The number of workers; None where nothing says so.

    GUNICORN_CMD_ARGS goes before the file, the file before WEB_CONCURRENCY, as in gunicorn.
    """
    of_arguments = _of_arguments(environ.get("GUNICORN_CMD_ARGS", ""))
    if of_arguments is not None:
        return of_arguments
    of_file = _of_file((directory or Path.cwd()) / _FILE)
    if of_file is not None:
        return of_file
    concurrency = environ.get("WEB_CONCURRENCY", "")
    return int(concurrency) if concurrency.isdecimal() else None


def _of_arguments(arguments: str) -> int | None:
    try:
        found = _ARGUMENT.findall(" ".join(shlex.split(arguments)))
    except ValueError:
        return None
    return int(found[-1]) if found else None


def _of_file(path: Path) -> int | None:
    try:
        statements = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError):
        return None
    found = None
    for statement in statements:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id="workers")], value=ast.Constant(value=int(number))
            ):
                found = number
            case ast.Assign(targets=[ast.Name(id="workers")]):
                found = None
    return found
