"""The game in a database, so that every worker process can serve every player.

Invariant: one `change` at a time, in all processes.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

from flask import Flask

from example_site.game import Game
from example_site.game_state import Player, SavedGame, Seat

#: How long one change waits for those before it; each takes less than a millisecond.
BUSY_TIMEOUT_S = 5.0


class GameStore:
    """One game, in a SQLite database at GAME_DATABASE. Any thread, any process."""

    def __init__(self) -> None:
        self._path = ""

    def init_app(self, app: Flask) -> None:
        """Take the database's path from the app's GAME_DATABASE; touches no file."""
        default = os.path.join(app.instance_path, "game.sqlite3")
        self._path = app.config.setdefault("GAME_DATABASE", default)

    @contextmanager
    def change(self) -> Iterator[Game]:
        """Give the game to be altered, and keep what has become of it unless the block raises.

        Until the block ends, all others wait. Raises sqlite3.OperationalError when it was not
        this one's turn within BUSY_TIMEOUT_S.
        """
        with closing(self._open()) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "CREATE TABLE IF NOT EXISTS game"
                " (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)"
            )
            row = database.execute("SELECT state FROM game").fetchone()
            game = Game(None if row is None else from_json(row[0]))
            # An exception leaves the transaction open, and closing rolls it back.
            yield game
            database.execute("REPLACE INTO game VALUES (1, ?)", (to_json(game.saved()),))
            database.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        """Open the database, for one thread and one change: 0.1 ms, and nothing to keep or fork."""
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        database = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        # A journal in a file, since one in memory is lost with a worker that is killed halfway.
        # Nothing waits for the disk: it's a game, and it may be gone after a power failure.
        database.execute("PRAGMA journal_mode = PERSIST")
        database.execute("PRAGMA synchronous = OFF")
        return database


def to_json(saved: SavedGame) -> str:
    return json.dumps(asdict(saved))


def from_json(text: str) -> SavedGame:
    state = json.loads(text)
    state["players"] = [Player(**player) for player in state["players"]]
    state["seats"] = [Seat(**seat) for seat in state["seats"]]
    return SavedGame(**state)
