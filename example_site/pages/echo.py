"""Echo: one handler object per client, which therefore can count that client's messages."""

import inspect

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from flask_wshandler import HttpContext, HttpHandler, UpgradeRequired, WebSocketHandler

bp = Blueprint("echo", __name__, url_prefix="/echo")


class EchoHandler(WebSocketHandler):
    """Answers each message with its number and its text."""

    max_message_size = 4096

    def __init__(self) -> None:
        self.count = 0

    def on_text(self, message: str) -> None:
        self.count += 1
        self.send(f"{self.count} {message}")


class EchoSocket(HttpHandler):
    """The address `ws.ashx`, as ASP.NET writes one: a class with `process_request`."""

    def process_request(self, context: HttpContext) -> ResponseReturnValue:
        if not context.is_websocket_request:
            raise UpgradeRequired
        return context.accept_websocket_request(EchoHandler())


bp.add_url_rule("/ws.ashx", view_func=EchoSocket.as_view("socket"))


@bp.get("/")
def page() -> str:
    """Show the tutorial's page."""
    source = inspect.getsource(EchoHandler) + "\n\n" + inspect.getsource(EchoSocket)
    return render_template("echo.html", source=source)
