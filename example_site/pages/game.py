"""Game: one handler object per player, built in the view with the name from a cookie."""

import inspect
from typing import Protocol

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from example_site.extensions import game_store
from example_site.game import MAX_FENCED_TILES, GameFull
from example_site.game_state import Change, Direction, Snapshot
from example_site.names import MAX_NAME_LENGTH, clean_name
from flask_wshandler import (
    CloseCode,
    Presence,
    UpgradeRequired,
    WebSocketCollection,
    accept_websocket_request,
    is_websocket_request,
)
from flask_wshandler.calls import Hub, call

bp = Blueprint("game", __name__, url_prefix="/game")

NAME_COOKIE = "player"
NAME_COOKIE_MAX_AGE_S = 180 * 24 * 3600


class Players(WebSocketCollection):
    """All who play, in all worker processes."""

    def on_presence(self, joined: list[Presence], left: list[Presence]) -> None:
        """Take those off the board who left: a worker that is killed runs no `on_close`."""
        if left:
            with game_store.change() as game:
                changes = [game.leave(member.connection_id) for member in left]
            tell(*changes)


players = Players("game")


class Page(Protocol):
    """What is called in the player's page."""

    def entered(self, you: int, state: Snapshot) -> None:
        """Show all of the board; `you` is the player's own slot."""

    def changed(self, change: Change) -> None:
        """Show what is different."""

    def full(self, reason: str) -> None:
        """Say that there is no place on the board."""


class PlayerHandler(Hub[Page]):
    """One player: what they press comes in, what happens on the board goes out to all."""

    # A call has about 70 bytes.
    max_message_size = 128
    # A page that has missed changes enters again, and is sent the whole.
    queue_policy = "drop_oldest"

    def __init__(self, name: str) -> None:
        self.name = name

    def on_open(self) -> None:
        self.enter()

    @call
    def step(self, direction: Direction) -> None:
        """Go to the next tile; all that is no direction is answered with an error."""
        here = present()
        with game_store.change() as game:
            changes = game.expire(here), game.step(self.context.connection_id, direction)
        tell(*changes)

    def on_close(self) -> None:
        with game_store.change() as game:
            change = game.leave(self.context.connection_id)
        tell(change)

    @call
    def enter(self) -> None:
        """Send the whole state, and take a place on the board unless there is one already."""
        own_id = self.context.connection_id
        here = present()
        with game_store.change() as game:
            changes = [game.expire(here)]
            try:
                changes.append(game.join(own_id, self.name))
            except GameFull as full:
                # A page that comes back by itself is not told reasons.
                self.client.full(str(full))
                self.close(CloseCode.TRY_AGAIN_LATER, str(full))
            else:
                # Before another change is possible: this player hears of all that follow.
                slot = game.slot_of(own_id)
                assert slot is not None  # it has joined
                self.client.entered(slot, game.snapshot())
                players.add(self, name=self.name)
        tell(*changes)


def present() -> set[str]:
    """Return the connection ids of all players in all processes; may wait for these at first."""
    return {member.connection_id for member in players.presence()}


def tell(*changes: Change | None) -> None:
    """Tell every player what has changed, once that is kept: else its number is given again.

    Pages put the changes in order, since those of two processes arrive in any.
    """
    for change in changes:
        if change is not None:
            PlayerHandler.to(players).changed(change)


@bp.get("/ws.ashx")
def socket() -> Response:
    """Let the player of the cookie in."""
    if not is_websocket_request():
        raise UpgradeRequired
    name = clean_name(request.cookies.get(NAME_COOKIE, ""))
    if not name:
        abort(403, "The game wants to know your name first.")
    return accept_websocket_request(PlayerHandler(name))


@bp.get("/")
def page() -> str:
    """Show the board to whoever has a name, and the question for one to everybody else."""
    return _render(clean_name(request.cookies.get(NAME_COOKIE, "")))


@bp.post("/")
def take_name() -> BaseResponse | tuple[str, int]:
    """Keep the player's name in a cookie, or forget it when the form asks for that."""
    name = clean_name(request.form.get("name", ""))
    back = redirect(url_for("game.page"), 303)
    if "forget" in request.form:
        back.delete_cookie(NAME_COOKIE, path=url_for("game.page"))
        return back
    if not name:
        return _render("", "That name has no letters that can be shown."), 400
    back.set_cookie(
        NAME_COOKIE,
        name,
        max_age=NAME_COOKIE_MAX_AGE_S,
        path=url_for("game.page"),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return back


def _render(name: str, error: str = "") -> str:
    return render_template(
        "game.html",
        name=name,
        error=error,
        max_name_length=MAX_NAME_LENGTH,
        max_fenced_tiles=MAX_FENCED_TILES,
        source="\n\n".join(inspect.getsource(each) for each in (Page, PlayerHandler, socket)),
    )
