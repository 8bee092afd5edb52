"""The game in its database, shared by processes."""

import multiprocessing
import os
import random
import signal

import pytest
from flask import Flask

from example_site.game import Game
from example_site.game_state import Direction
from example_site.game_store import GameStore, from_json, to_json
from tests.deadlines import DEADLINE_S

STEPS = 200

processes = multiprocessing.get_context("spawn")


def store_at(path):
    app = Flask("test")
    app.config["GAME_DATABASE"] = str(path)
    store = GameStore()
    store.init_app(app)
    return store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "on demand" / "game.sqlite3"


def walk(path, name):
    """Join and walk up and down; what a worker process does for a player."""
    store = store_at(path)
    with store.change() as game:
        game.join(name, name)
    for number in range(STEPS):
        with store.change() as game:
            # Every step is taken: the pace is of no interest here.
            game._clock = lambda number=number: 1e9 + number
            game.step(name, (Direction.UP, Direction.DOWN)[number % 2])


def die_halfway(path):
    """Be killed within a change."""
    with store_at(path).change() as game:
        game.join("Grace", "Grace")
        os.kill(os.getpid(), signal.SIGKILL)


def test_json_is_complete():
    """Nothing is lost in the database."""
    game = Game(dice=random.Random(1))
    for name in ("Ada", "Grace"):
        game.join(name, name)
    game.step("Ada", Direction.DOWN)
    assert from_json(to_json(game.saved())) == game.saved()


def test_change_is_kept(path):
    """Another store on the same database has it; the directory was made."""
    with store_at(path).change() as game:
        game.join("Ada", "Ada")
        kept = game.saved()
    with store_at(path).change() as game:
        assert game.saved() == kept


def test_failed_change_is_undone(path):
    """An exception leaves the game as it was, and nobody waiting."""
    store = store_at(path)
    with pytest.raises(ZeroDivisionError), store.change() as game:
        game.join("Ada", "Ada")
        raise ZeroDivisionError
    with store.change() as game:
        assert game.slot_of("Ada") is None
        assert game.snapshot().number == 0


def test_path_is_the_apps(tmp_path):
    """Without a setting, the database is in the app's instance directory."""
    app = Flask("test", instance_path=str(tmp_path))
    GameStore().init_app(app)
    assert app.config["GAME_DATABASE"] == str(tmp_path / "game.sqlite3")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_change_one_game(path):
    """No change is lost or numbered twice, however they come in between each other."""
    walkers = [processes.Process(target=walk, args=(path, name)) for name in ("Ada", "Grace")]
    for walker in walkers:
        walker.start()
    for walker in walkers:
        walker.join(DEADLINE_S)
        assert walker.exitcode == 0
    with store_at(path).change() as game:
        snapshot = game.snapshot()
        assert {player.name for player in snapshot.players} == {"Ada", "Grace"}
        # All steps but those that a wall or the other one stood in the way of.
        assert STEPS < snapshot.number <= 2 * (1 + STEPS)


def test_killed_process_leaves_the_last_change(path):
    """A worker that dies within a change locks nobody out, and what it began is not there."""
    with store_at(path).change() as game:
        game.join("Ada", "Ada")
    process = processes.Process(target=die_halfway, args=(path,))
    process.start()
    process.join(DEADLINE_S)
    assert process.exitcode == -signal.SIGKILL
    with store_at(path).change() as game:
        assert [player.name for player in game.snapshot().players] == ["Ada"]
