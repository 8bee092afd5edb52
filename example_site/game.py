"""The game's rules: a board of tiles, those who paint it, and what one step changes.

Knows nothing of WebSockets and of databases. All of the state is in `Game`; every method that
alters it returns the `Change` the players' pages have to hear of, so that their copies stay equal.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from example_site.game_state import (
    Change,
    Direction,
    Player,
    RoundResult,
    SavedGame,
    Seat,
    Snapshot,
)

WIDTH = 20
HEIGHT = 14
MAX_PLAYERS = 8
#: Fenced-in areas of more tiles than this stay as they are: one lap of the board wins nothing.
MAX_FENCED_TILES = 45
DROPS = 3
#: The least time between two steps of one player.
STEP_INTERVAL_S = 0.1
#: How much earlier than that steps may come in, for networks that deliver in bunches.
STEP_TOLERANCE_S = 0.2
#: How long a player whose connection nobody knows keeps the place: a process hears a moment late
#: of those who connect to another.
ABSENCE_S = 5.0
#: The owner of a tile that nobody has painted.
NOBODY = 0


class GameFull(Exception):
    """All of the game's places are taken."""


class Game:
    """One board and its players, who are known by the ids of their connections.

    Changes are numbered one by one, also across `saved`. Not thread-safe: whoever shares a game
    says who may alter it when, and that is `GameStore`.
    """

    def __init__(
        self,
        saved: SavedGame | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        dice: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._dice = dice or random.Random()
        saved = saved or SavedGame(0, 1, [NOBODY] * (WIDTH * HEIGHT), [], [], [])
        self._number = saved.number
        self._round = saved.round
        self._tiles = list(saved.tiles)
        self._players = {player.slot: player for player in saved.players}
        self._seats = {seat.connection_id: seat for seat in saved.seats}
        self._drops = list(saved.drops)
        self._place_drops()
        # What the pages have been told, to find out what they have not.
        self._told_tiles = list(self._tiles)
        self._told_players = dict(self._players)

    def saved(self) -> SavedGame:
        """Return all of the game, for another `Game` to go on from."""
        return SavedGame(
            self._number,
            self._round,
            list(self._tiles),
            list(self._players.values()),
            list(self._seats.values()),
            list(self._drops),
        )

    def snapshot(self) -> Snapshot:
        """Return what a page shows, as of the last change."""
        return Snapshot(
            self._number,
            WIDTH,
            HEIGHT,
            list(self._tiles),
            list(self._players.values()),
            list(self._drops),
        )

    def slot_of(self, connection_id: str) -> int | None:
        """Return the player's slot; None for who has no place on the board."""
        seat = self._seats.get(connection_id)
        return None if seat is None else seat.slot

    def join(self, connection_id: str, name: str) -> Change | None:
        """Place a new player on the board; None if they are there; GameFull without a free slot."""
        if connection_id in self._seats:
            return None
        free = [slot for slot in range(1, MAX_PLAYERS + 1) if slot not in self._players]
        if not free:
            raise GameFull(f"The game is full: {MAX_PLAYERS} are playing.")
        slot = free[0]
        y, x = divmod(self._free_tile(), WIDTH)
        self._players[slot] = Player(slot, name, x, y, Direction.DOWN.value)
        self._seats[connection_id] = Seat(slot, connection_id, self._clock())
        self._tiles[y * WIDTH + x] = slot
        return self._settle()

    def leave(self, connection_id: str) -> Change | None:
        """Take a player and their paint off the board; None if they have gone before.

        With the last one the rounds are over, too.
        """
        return self._remove([connection_id]) if connection_id in self._seats else None

    def expire(self, present: Collection[str]) -> Change | None:
        """Have those leave whose connection is not in `present`; None without any.

        Theirs was a process that was killed. Who has just come or stepped stays, see ABSENCE_S.
        """
        absent = [
            seat.connection_id
            for seat in self._seats.values()
            if seat.connection_id not in present and self._is_silent(seat)
        ]
        return self._remove(absent) if absent else None

    def _is_silent(self, seat: Seat) -> bool:
        # The clock begins anew with the machine: a time well in the future is from before that.
        return abs(self._clock() - seat.next_step_s) > ABSENCE_S

    def _remove(self, connection_ids: list[str]) -> Change:
        slots = [self._seats.pop(connection_id).slot for connection_id in connection_ids]
        for slot in slots:
            del self._players[slot]
        self._tiles = [NOBODY if owner in slots else owner for owner in self._tiles]
        if not self._players:
            self._round = 1
        return self._settle()

    def step(self, connection_id: str, direction: Direction) -> Change | None:
        """Move a player one tile.

        None when they have no place, are too fast, or something is in the way.
        """
        seat = self._seats.get(connection_id)
        if seat is None:
            return None
        player = self._players[seat.slot]
        dx, dy = direction.offset
        x, y = player.x + dx, player.y + dy
        if not (0 <= x < WIDTH and 0 <= y < HEIGHT) or self._is_occupied(x, y):
            return None
        if not self._may_step(seat):
            return None
        self._players[seat.slot] = replace(player, x=x, y=y, facing=direction.value)
        self._paint(seat.slot, y * WIDTH + x)
        return self._settle()

    def _may_step(self, seat: Seat) -> bool:
        now_s = self._clock()
        due_s = max(seat.next_step_s, now_s)
        if due_s - now_s > STEP_TOLERANCE_S:
            return False
        self._seats[seat.connection_id] = replace(seat, next_step_s=due_s + STEP_INTERVAL_S)
        return True

    def _is_occupied(self, x: int, y: int) -> bool:
        return any((player.x, player.y) == (x, y) for player in self._players.values())

    def _paint(self, slot: int, tile: int) -> None:
        painted = {tile}
        if tile in self._drops:
            self._drops.remove(tile)
            painted.update(_splash(tile))
        for each in painted:
            self._tiles[each] = slot
        for each in self._fenced_in(slot, painted):
            self._tiles[each] = slot
        self._place_drops()

    def _fenced_in(self, slot: int, painted: set[int]) -> set[int]:
        """Return the tiles that `slot` has just cut off from the rest of the board.

        Such an area touches a tile just painted, which was its last way out.
        """
        fenced_in: set[int] = set()
        for tile in painted:
            for neighbour in _neighbours(tile):
                if self._tiles[neighbour] != slot and neighbour not in fenced_in:
                    fenced_in |= self._area(slot, neighbour)
        return fenced_in

    def _area(self, slot: int, start: int) -> set[int]:
        """Return the tiles reachable from `start` without crossing `slot`'s; none if too many."""
        area = {start}
        edge = [start]
        while edge:
            for tile in _neighbours(edge.pop()):
                if tile not in area and self._tiles[tile] != slot:
                    area.add(tile)
                    edge.append(tile)
            if len(area) > MAX_FENCED_TILES:
                return set()
        return area

    def _place_drops(self) -> None:
        while len(self._drops) < DROPS:
            self._drops.append(self._free_tile())

    def _free_tile(self) -> int:
        """Return a tile where nobody stands and no drop lies."""
        taken = {player.y * WIDTH + player.x for player in self._players.values()}
        taken.update(self._drops)
        return self._dice.choice([tile for tile in range(WIDTH * HEIGHT) if tile not in taken])

    def _settle(self) -> Change:
        """Count, end the round if the board is full, and return all that the pages don't know."""
        self._count()
        result = self._end_round() if NOBODY not in self._tiles else None
        self._number += 1
        told = zip(self._tiles, self._told_tiles, strict=True)
        change = Change(
            number=self._number,
            tiles=[(tile, owner) for tile, (owner, old) in enumerate(told) if owner != old],
            players=[
                player
                for slot, player in self._players.items()
                if player != self._told_players.get(slot)
            ],
            left=[slot for slot in self._told_players if slot not in self._players],
            drops=list(self._drops),
            result=result,
        )
        self._told_tiles = list(self._tiles)
        self._told_players = dict(self._players)
        return change

    def _count(self) -> None:
        scores = Counter(self._tiles)
        for slot, player in self._players.items():
            if player.score != scores[slot]:
                self._players[slot] = replace(player, score=scores[slot])

    def _end_round(self) -> RoundResult:
        """Give the round to whoever painted the most, and start the next on a blank board."""
        best = max(player.score for player in self._players.values())
        winners = [player for player in self._players.values() if player.score == best]
        result = RoundResult(self._round, tuple(player.name for player in winners), best)
        self._round += 1
        self._tiles = [NOBODY] * (WIDTH * HEIGHT)
        for slot, player in self._players.items():
            self._players[slot] = replace(player, wins=player.wins + (player in winners))
            self._tiles[player.y * WIDTH + player.x] = slot
        self._count()
        return result


def _neighbours(tile: int) -> Iterator[int]:
    y, x = divmod(tile, WIDTH)
    if x > 0:
        yield tile - 1
    if x < WIDTH - 1:
        yield tile + 1
    if y > 0:
        yield tile - WIDTH
    if y < HEIGHT - 1:
        yield tile + WIDTH


def _splash(tile: int) -> list[int]:
    """Return the indexes of a tile and those around it."""
    y, x = divmod(tile, WIDTH)
    return [
        row * WIDTH + column
        for row in range(max(y - 1, 0), min(y + 2, HEIGHT))
        for column in range(max(x - 1, 0), min(x + 2, WIDTH))
    ]
