"""Chat: everyone connected hears what anyone says."""

import inspect
import time
from collections import Counter

from flask import Blueprint, Response, abort, render_template, request

from example_site.names import MAX_NAME_LENGTH, clean_name
from flask_wshandler import (
    Presence,
    UpgradeRequired,
    WebSocketCollection,
    WebSocketHandler,
    accept_websocket_request,
    is_websocket_request,
)

bp = Blueprint("chat", __name__, url_prefix="/chat")

#: In characters; the page's text box stops there too.
MAX_MESSAGE_LENGTH = 500
#: Classes of the stylesheet.
COLORS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8")


class Room(WebSocketCollection):
    """Who is connected, to whichever worker, and what was said."""

    def on_presence(self, joined: list[Presence], left: list[Presence]) -> None:
        people = sorted(
            {(each.metadata["name"], each.metadata["color"]) for each in self.presence()}
        )
        here = [{"name": name, "color": color} for name, color in people]
        for member in self:
            member.send_json({"type": "here", "people": here})

    def free_color(self) -> str:
        """The one that the fewest have."""
        taken = Counter(each.metadata["color"] for each in self.presence())
        return min(COLORS, key=lambda color: taken[color])


#: Who comes gets the last twenty lines first; who was cut off, all that it has missed.
clients = Room("chat", history=500, replay=20)


class ChatHandler(WebSocketHandler):
    """One person in the room."""

    # A character is at most four bytes of UTF-8.
    max_message_size = 4 * MAX_MESSAGE_LENGTH

    def __init__(self, name: str) -> None:
        self.name = name
        self.color = ""

    def on_open(self) -> None:
        self.color = clients.free_color()
        clients.add(self, name=self.name, color=self.color)
        self.tell("connected")

    def on_text(self, message: str) -> None:
        self.tell("said", text=message)

    def on_away(self) -> None:
        self.tell("lost")

    def on_back(self) -> None:
        self.tell("back")

    def on_close(self) -> None:
        self.tell("gone")

    def tell(self, what: str, **more: str) -> None:
        person = {"name": self.name, "color": self.color, "at": time.time()}
        clients.broadcast_json({"type": what, **person, **more})


@bp.get("/ws.ashx")
def socket() -> Response:
    """Let one person into the room: `ws.ashx?name=Ada`."""
    if not is_websocket_request():
        raise UpgradeRequired
    name = clean_name(request.args.get("name", ""))
    if not name:
        abort(400, "The query string carries no name: ws.ashx?name=Ada")
    return accept_websocket_request(ChatHandler(name))


@bp.get("/")
def page() -> str:
    """Show the room to whoever gave a name, and the question for one to everybody else."""
    return render_template(
        "chat.html",
        name=clean_name(request.args.get("name", "")),
        max_name_length=MAX_NAME_LENGTH,
        max_message_length=MAX_MESSAGE_LENGTH,
        source=inspect.getsource(Room)
        + "\n\n"
        + inspect.getsource(ChatHandler)
        + "\n\n"
        + inspect.getsource(socket),
    )
