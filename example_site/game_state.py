"""What the game is made of: the values that are kept, and those that the players' pages are told.

All of them become JSON: by `dataclasses.asdict` where they are kept, by msgspec in calls of pages.
"""

from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """A step, as the page names it; the offset is in tiles, y grows downwards."""

    UP = "up"
    DOWN = "down"
    LEFT = "left"
    RIGHT = "right"

    @property
    def offset(self) -> tuple[int, int]:
        return _OFFSETS[self]


_OFFSETS = {
    Direction.UP: (0, -1),
    Direction.DOWN: (0, 1),
    Direction.LEFT: (-1, 0),
    Direction.RIGHT: (1, 0),
}


@dataclass(frozen=True, slots=True)
class Player:
    """One player as the others see them; `slot` (1 to MAX_PLAYERS) is also their colour."""

    slot: int
    name: str
    x: int
    y: int
    facing: str
    score: int = 0
    wins: int = 0


@dataclass(frozen=True, slots=True)
class Seat:
    """Whose a slot is, which the others don't see.

    `next_step_s` is when a steady stepper's next step would be due, and so about when the player
    was last heard of.
    """

    slot: int
    connection_id: str
    next_step_s: float


@dataclass(frozen=True, slots=True)
class RoundResult:
    """How a round ended: the names of all who painted the most tiles, and how many those are."""

    number: int
    winners: tuple[str, ...]
    score: int


@dataclass(frozen=True, slots=True)
class Change:
    """What is different since the change before, whose number is one less: only the parts that are.

    `tiles` are pairs of a tile's index and its new owner; `drops` is the whole list of the
    drops' indexes. A tile's index is y * WIDTH + x.
    """

    number: int
    tiles: list[tuple[int, int]]
    players: list[Player]
    left: list[int]
    drops: list[int]
    result: RoundResult | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state as of change `number`, for a page that knows nothing yet.

    `tiles` has each tile's owner.
    """

    number: int
    width: int
    height: int
    tiles: list[int]
    players: list[Player]
    drops: list[int]


@dataclass(frozen=True, slots=True)
class SavedGame:
    """All of a game; what a `Game` can be made from again. Times are those of `time.monotonic`."""

    number: int
    round: int
    tiles: list[int]
    players: list[Player]
    seats: list[Seat]
    drops: list[int]
