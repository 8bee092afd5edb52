"""The game's rules, without any network."""

import itertools
import random
from dataclasses import replace

import pytest

from example_site import game as rules
from example_site.game import DROPS, HEIGHT, MAX_PLAYERS, NOBODY, WIDTH, Game, GameFull
from example_site.game_state import Direction, RoundResult


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def game(clock):
    """A game without drops, so that only steps paint."""
    made = Game(clock=clock, dice=random.Random(1))
    made._drops = []
    made._place_drops = lambda: None
    return made


_connection_ids = (f"connection {number}" for number in itertools.count())


def join(game, name):
    """Let somebody in; return their slot and the change."""
    connection_id = next(_connection_ids)
    change = game.join(connection_id, name)
    return game.slot_of(connection_id), change


def connection_id_of(game, slot):
    return next(seat.connection_id for seat in game.saved().seats if seat.slot == slot)


def put(game, slot, x, y):
    """Put a player somewhere, on a tile of their own."""
    player = game._players[slot]
    game._tiles[player.y * WIDTH + player.x] = NOBODY
    game._players[slot] = replace(player, x=x, y=y)
    game._tiles[y * WIDTH + x] = slot
    game._settle()


def walk(game, clock, slot, *directions):
    """Take steps at the greatest speed allowed; return the last change."""
    change = None
    for direction in directions:
        clock.now_s += rules.STEP_INTERVAL_S
        change = game.step(connection_id_of(game, slot), direction)
    return change


def player_of(game, slot):
    return next(player for player in game.snapshot().players if player.slot == slot)


def test_step_paints(game, clock):
    """A step moves the player and makes the tile theirs; the change says just that."""
    slot, _ = join(game, "Ada")
    put(game, slot, 5, 5)
    change = walk(game, clock, slot, Direction.RIGHT)
    assert change.tiles == [(5 * WIDTH + 6, slot)]
    (player,) = change.players
    assert (player.x, player.y, player.facing, player.score) == (6, 5, "right", 2)
    assert change.left == []


def test_repainting_moves_the_score(game, clock):
    """A tile has one owner: painting it over takes it from the other."""
    ada, _ = join(game, "Ada")
    grace, _ = join(game, "Grace")
    put(game, ada, 5, 5)
    put(game, grace, 6, 6)
    walk(game, clock, ada, Direction.RIGHT, Direction.LEFT)
    change = walk(game, clock, grace, Direction.UP)
    assert change.tiles == [(5 * WIDTH + 6, grace)]
    assert player_of(game, ada).score == 1
    assert player_of(game, grace).score == 2


@pytest.mark.parametrize(
    ("x", "y", "direction"),
    [
        (0, 3, Direction.LEFT),
        (WIDTH - 1, 3, Direction.RIGHT),
        (3, 0, Direction.UP),
        (3, HEIGHT - 1, Direction.DOWN),
    ],
)
def test_walls_stop(game, clock, x, y, direction):
    """Nobody leaves the board."""
    slot, _ = join(game, "Ada")
    put(game, slot, x, y)
    assert walk(game, clock, slot, direction) is None
    assert (player_of(game, slot).x, player_of(game, slot).y) == (x, y)


def test_players_stop_each_other(game, clock):
    """Two never stand on one tile."""
    ada, _ = join(game, "Ada")
    grace, _ = join(game, "Grace")
    put(game, ada, 5, 5)
    put(game, grace, 6, 5)
    assert walk(game, clock, ada, Direction.RIGHT) is None


def test_loop_takes_what_is_inside(game, clock):
    """A closed fence makes the tiles inside it the fence's, also those of others."""
    ada, _ = join(game, "Ada")
    grace, _ = join(game, "Grace")
    put(game, ada, 5, 5)
    put(game, grace, 6, 6)
    right, down, left, up = (Direction.RIGHT, Direction.DOWN, Direction.LEFT, Direction.UP)
    change = walk(game, clock, ada, right, right, down, down, left, left, up)
    assert (6 * WIDTH + 6, ada) in change.tiles
    assert player_of(game, ada).score == 9
    assert player_of(game, grace).score == 0


def test_walls_are_fences(game, clock):
    """A corner can be cut off with the board's walls."""
    slot, _ = join(game, "Ada")
    put(game, slot, 0, 2)
    walk(game, clock, slot, *[Direction.RIGHT] * 2, *[Direction.UP] * 2)
    assert player_of(game, slot).score == 9


def test_large_areas_stay(game, clock):
    """Halving the board is no way to take half of it."""
    slot, _ = join(game, "Ada")
    put(game, slot, 10, 0)
    walk(game, clock, slot, *[Direction.DOWN] * (HEIGHT - 1))
    assert player_of(game, slot).score == HEIGHT


def test_drop_splashes(game, clock):
    """A drop paints the tiles around it, those of others too, and is gone."""
    slot, _ = join(game, "Ada")
    put(game, slot, 5, 5)
    game._drops = [5 * WIDTH + 6]
    change = walk(game, clock, slot, Direction.RIGHT)
    assert player_of(game, slot).score == 9
    assert change.drops == []


def test_drops_are_replaced(clock):
    """There are always as many drops, on tiles where nobody stands."""
    game = Game(clock=clock, dice=random.Random(1))
    slot, _ = join(game, "Ada")
    for _ in range(200):
        walk(game, clock, slot, random.Random(clock.now_s).choice(list(Direction)))
        drops = game.snapshot().drops
        player = player_of(game, slot)
        assert len(set(drops)) == DROPS
        assert player.y * WIDTH + player.x not in drops


def test_speed_is_bounded(game, clock):
    """Steps that come in a bunch are taken, those that come too fast for long are not."""
    slot, _ = join(game, "Ada")
    put(game, slot, 0, 5)
    taken = [
        game.step(connection_id_of(game, slot), Direction.RIGHT) is not None for _ in range(10)
    ]
    assert taken == [True] * 3 + [False] * 7
    clock.now_s += rules.STEP_INTERVAL_S
    assert game.step(connection_id_of(game, slot), Direction.RIGHT) is not None
    assert game.step(connection_id_of(game, slot), Direction.RIGHT) is None


def test_full_board_ends_the_round(game, clock):
    """Whoever painted the most wins; the next round starts on a blank board, players in place."""
    ada, _ = join(game, "Ada")
    grace, _ = join(game, "Grace")
    put(game, ada, 5, 5)
    put(game, grace, 9, 9)
    game._tiles = [ada] * (WIDTH * HEIGHT)
    game._tiles[9 * WIDTH + 9] = grace
    game._tiles[5 * WIDTH + 6] = NOBODY
    change = walk(game, clock, ada, Direction.RIGHT)
    assert change.result == RoundResult(1, ("Ada",), WIDTH * HEIGHT - 1)
    assert [(player.score, player.wins) for player in game.snapshot().players] == [(1, 1), (1, 0)]
    assert sum(owner != NOBODY for owner in game.snapshot().tiles) == 2


def test_equal_scores_share_the_round(game, clock):
    """All who have the most win."""
    ada, _ = join(game, "Ada")
    grace, _ = join(game, "Grace")
    put(game, ada, 0, 0)
    put(game, grace, 9, 9)
    half = WIDTH * HEIGHT // 2
    game._tiles = [ada] * half + [grace] * half
    game._tiles[1] = NOBODY
    change = walk(game, clock, ada, Direction.RIGHT)
    assert change.result.winners == ("Ada", "Grace")


def test_leaver_vanishes(game, clock):
    """With a player goes their paint; the place is free again."""
    ada, _ = join(game, "Ada")
    put(game, ada, 5, 5)
    walk(game, clock, ada, Direction.RIGHT)
    change = game.leave(connection_id_of(game, ada))
    assert change.left == [ada]
    assert change.tiles == [(5 * WIDTH + 5, NOBODY), (5 * WIDTH + 6, NOBODY)]
    assert game.snapshot().players == []
    assert join(game, "Grace")[0] == ada


def test_places_are_bounded(game):
    """The ninth player waits."""
    for _ in range(MAX_PLAYERS):
        join(game, "Ada")
    with pytest.raises(GameFull, match="The game is full: 8 are playing"):
        join(game, "Grace")


def test_changes_add_up_to_the_snapshot(clock, monkeypatch):
    """A page that applies every change has what a newcomer is sent, over many rounds."""
    monkeypatch.setattr(rules, "WIDTH", 7)
    monkeypatch.setattr(rules, "HEIGHT", 5)
    monkeypatch.setattr(rules, "MAX_FENCED_TILES", 6)
    game = Game(clock=clock, dice=random.Random(7))
    dice = random.Random(8)
    tiles = list(game.snapshot().tiles)
    players = {}
    slots = []
    rounds = 0
    number = 0
    for _ in range(4000):
        clock.now_s += 0.05
        roll = dice.random()
        if len(slots) < MAX_PLAYERS and (not slots or roll < 0.01):
            slot, change = join(game, "Ada")
            slots.append(slot)
        elif roll > 0.998:
            slot = slots.pop(dice.randrange(len(slots)))
            change = game.leave(connection_id_of(game, slot))
        else:
            change = game.step(
                connection_id_of(game, dice.choice(slots)), dice.choice(list(Direction))
            )
        if change is None:
            continue
        number += 1
        assert change.number == number == game.snapshot().number
        for tile, owner in change.tiles:
            tiles[tile] = owner
        for slot in change.left:
            del players[slot]
        players.update((player.slot, player) for player in change.players)
        rounds += change.result is not None
        snapshot = game.snapshot()
        assert snapshot.tiles == tiles
        assert snapshot.drops == change.drops
        assert sorted(snapshot.players, key=lambda p: p.slot) == [
            players[s] for s in sorted(players)
        ]
    assert rounds > 3


def test_leaving_twice_is_harmless(game):
    """Several workers may notice that a player is gone: the first one's word counts."""
    ada, _ = join(game, "Ada")
    connection_id = connection_id_of(game, ada)
    assert game.leave(connection_id) is not None
    number = game.snapshot().number
    assert game.leave(connection_id) is None
    assert game.expire(set()) is None
    assert game.step(connection_id, Direction.UP) is None
    assert game.slot_of(connection_id) is None
    assert game.snapshot().number == number


def test_joining_twice_keeps_the_place(game):
    """One connection has one place."""
    ada, _ = join(game, "Ada")
    assert game.join(connection_id_of(game, ada), "Ada") is None
    assert len(game.snapshot().players) == 1


def test_empty_game_begins_anew(game, clock):
    """Nothing of those who have gone is left for those who come: no paint, no rounds."""
    ada, _ = join(game, "Ada")
    game._round = 7
    game.leave(connection_id_of(game, ada))
    assert game._round == 1
    assert set(game.snapshot().tiles) == {NOBODY}


def test_absent_players_expire(game, clock):
    """Whose connection nobody knows vanishes, unless they have only just come."""
    ada, _ = join(game, "Ada")
    grace, _ = join(game, "Grace")
    present = {connection_id_of(game, ada)}
    clock.now_s += rules.ABSENCE_S
    assert game.expire(present) is None
    clock.now_s += 0.01
    assert game.expire(present).left == [grace]
    assert game.expire(present) is None
    assert [player.slot for player in game.snapshot().players] == [ada]


def test_walking_players_stay(game, clock):
    """Who steps is there, even if the news of the connection are late."""
    ada, _ = join(game, "Ada")
    put(game, ada, 5, 5)
    clock.now_s += rules.ABSENCE_S
    walk(game, clock, ada, Direction.RIGHT)
    clock.now_s += rules.ABSENCE_S
    assert game.expire(set()) is None


def test_players_from_before_a_reboot_expire(game, clock):
    """The clock has begun anew, so they seem to have stepped in the future."""
    ada, _ = join(game, "Ada")
    clock.now_s -= 60
    assert game.expire(set()).left == [ada]


def test_saved_game_goes_on(clock):
    """What was saved behaves like what it was saved from: places, paint, pace, numbers."""
    game = Game(clock=clock, dice=random.Random(1))
    ada, _ = join(game, "Ada")
    put(game, ada, 0, 5)
    walk(game, clock, ada, Direction.RIGHT, Direction.RIGHT)
    again = Game(game.saved(), clock=clock)
    assert again.saved() == game.saved()
    assert again.snapshot() == game.snapshot()
    while game.step(connection_id_of(game, ada), Direction.RIGHT) is not None:
        assert again.step(connection_id_of(again, ada), Direction.RIGHT) is not None
    assert again.step(connection_id_of(again, ada), Direction.RIGHT) is None
    assert again.snapshot().players == game.snapshot().players
    assert again.snapshot().number == game.snapshot().number
