"""Chat: everyone connected hears what anyone says."""

import inspect

from flask import Blueprint, Response, abort, render_template, request

from example_site.names import MAX_NAME_LENGTH, clean_name
from flask_wshandler import (
    UpgradeRequired,
    WebSocketCollection,
    WebSocketHandler,
    accept_websocket_request,
    is_websocket_request,
)

bp = Blueprint("chat", __name__, url_prefix="/chat")
clients = WebSocketCollection("chat")

#: In characters; the page's text box stops there too.
MAX_MESSAGE_LENGTH = 500


class ChatHandler(WebSocketHandler):
    """One person in the room."""

    # A character is at most four bytes of UTF-8.
    max_message_size = 4 * MAX_MESSAGE_LENGTH

    def __init__(self, name: str) -> None:
        self.name = name

    def on_open(self) -> None:
        clients.add(self)
        clients.broadcast(self.name + " has connected.")

    def on_text(self, message: str) -> None:
        clients.broadcast(self.name + " said: " + message)

    def on_away(self) -> None:
        clients.broadcast(self.name + " has lost the connection.")

    def on_back(self) -> None:
        clients.broadcast(self.name + " is back.")

    def on_close(self) -> None:
        clients.broadcast(self.name + " has gone away.")


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
        source=inspect.getsource(ChatHandler) + "\n\n" + inspect.getsource(socket),
    )
