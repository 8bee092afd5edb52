"""`flask websockets …`: what an operator asks an app, and its running workers.

Invariant: nothing of it is imported before the first of its commands is looked up, so an app pays
for the group's name only.
"""

from __future__ import annotations

import click
from flask.cli import AppGroup

GROUP_NAME = "websockets"


class CommandGroup(AppGroup):
    """The commands, imported when they are asked for."""

    def __init__(self) -> None:
        super().__init__(GROUP_NAME, short_help="Routes, connections, and what is wrong.")
        self.help = "Look at the WebSockets of this app, and of its running workers."

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the documentation."""
        del ctx
        from .commands import COMMANDS

        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, None if there is none."""
        del ctx
        from .commands import COMMANDS

        return COMMANDS.get(cmd_name)
