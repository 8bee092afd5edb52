"""`flask websockets types` and `asyncapi`: what is written where, and what differs."""

from __future__ import annotations

import difflib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

_FILE = click.Path(dir_okay=False, path_type=Path)
_out = click.option("--out", type=_FILE, help="Write it to a file.")
_check = click.option(
    "--check", type=_FILE, help="Say what differs in a file; exit with 1 if it does."
)


@click.command("types")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--class",
    "paths",
    multiple=True,
    metavar="MODULE:NAME",
    help="A hub that no route shows; may be repeated.",
)
@_out
@_check
@click.option(
    "--import",
    "calls_module",
    metavar="MODULE",
    help="Import Stream from there, such as ./calls.js, rather than declare it.",
)
@with_appcontext
def types(
    names: tuple[str, ...],
    paths: tuple[str, ...],
    out: Path | None,
    check: Path | None,
    calls_module: str | None,
) -> None:
    """Declare in TypeScript what hubs and their pages can call of each other.

    All hubs of the app's routes, or those of these endpoints or classes.
    """
    _need_msgspec()
    from .hubs import hubs_of
    from .typescript import typescript

    _deliver(_made(lambda: typescript(hubs_of(_app(), names, paths), calls_module)), out, check)


@click.command("asyncapi")
@click.option("--title", help="Of the document; the app's name if not given.")
@click.option("--version", default="0.0.0", show_default=True, help="Of the app.")
@click.option("--server", metavar="URL", help="Where it is served, such as wss://example.org.")
@_out
@_check
@with_appcontext
def asyncapi(
    title: str | None, version: str, server: str | None, out: Path | None, check: Path | None
) -> None:
    """Describe the app's WebSockets as an AsyncAPI 3.0 document, in JSON."""
    _need_msgspec()
    from .asyncapi import asyncapi as described

    app = _app()

    def make() -> str:
        document = described(app, title=title or app.name, version=version, server=server)
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    _deliver(_made(make), out, check)


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]


def _need_msgspec() -> None:
    if importlib.util.find_spec("msgspec") is None:
        raise click.ClickException("typed calls need msgspec: pip install 'flask-wshandler[calls]'")


def _made(make: Callable[[], str]) -> str:
    """The text. What is wrong with the app's annotations is told without a traceback."""
    from .hubs import NotFound

    try:
        return make()
    except (NotFound, TypeError, NameError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except RecursionError:
        raise click.ClickException("an alias that names itself can't be told apart") from None


def _deliver(text: str, out: Path | None, check: Path | None) -> None:
    """Print it, write it, or compare it."""
    if check is not None:
        _compare(text, check)
    if out is not None:
        out.write_text(text, encoding="utf-8", newline="\n")
    if out is None and check is None:
        click.echo(text, nl=False)


def _compare(text: str, path: Path) -> None:
    try:
        there = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise click.ClickException(f"there is no {path}; --out writes it") from None
    if there == text:
        return
    lines = there.splitlines(keepends=True), text.splitlines(keepends=True)
    click.echo("".join(difflib.unified_diff(*lines, str(path), "the app")), nl=False)
    click.echo(f"{path} is not what the app has; --out writes it anew.", err=True)
    sys.exit(1)
