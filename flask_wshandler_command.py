"""`flask websockets` before the app is known: Flask finds it by its entry point `flask.commands`.

Not in the package, and imports nothing of it: every `flask` command in the environment imports this
module, whatever the app is, and before the app's own first line.
"""

from __future__ import annotations

from typing import Any

import click
from flask import current_app
from flask.cli import NoAppException, ScriptInfo


class _OfTheApp(click.Command):
    """Stands for what the app has registered by its name: `WebSockets`, or a command of its own.

    Without it an app that can't be loaded has no such command, which is then all that one reads.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # click's
    ) -> click.Context:
        """The context of the app's command, which runs by it. Raises what loading the app does.

        Help is there without an app.
        """
        assert parent is not None  # it is one of Flask's commands
        try:
            app = parent.ensure_object(ScriptInfo).load_app()
        except NoAppException:
            if "--help" not in args:
                raise
            from flask_wshandler.extension import CommandGroup

            return CommandGroup().make_context(info_name, args, parent, **extra)
        command = app.cli.get_command(parent, self.name or "")
        if command is None:
            raise click.UsageError(f"the app {app.name!r} has no WebSockets: call WebSockets(app)")
        if not current_app:  # as Flask has it for an app's commands
            parent.with_resource(app.app_context())
        return command.make_context(info_name, args, parent, **extra)


websockets = _OfTheApp("websockets", short_help="Routes, connections, and what is wrong.")
