"""The README's chat under gunicorn, as several pages use it, and what answers its handshakes."""

import contextlib
import http.client
import ssl
from pathlib import Path

from websockets.sync.client import connect
from websockets.typing import Origin

from tests.deadlines import DEADLINE_S

from .markdown_page import MarkdownPage
from .programs import Program

DOCS = Path(__file__).resolve().parents[2] / "docs"
README = MarkdownPage(DOCS.parent / "README.md")
NGINX_PAGE = MarkdownPage(DOCS / "howto" / "nginx.md")

CHAT = "A chat in twenty lines"

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def handshake_status(
    program: Program,
    origin: str | None = None,
    context: ssl.SSLContext | None = None,
    path: str = "/ws.ashx?name=Ada",
) -> int:
    """The status that answers a handshake."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=DEADLINE_S)
    if context is not None:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", program.port, timeout=DEADLINE_S, context=context
        )
    headers = UPGRADE if origin is None else UPGRADE | {"Origin": origin}
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            return response.status


def greeting(url: str, origin: str, context: ssl.SSLContext | None = None) -> str | bytes:
    """What the chat tells a client from a page of `origin`."""
    with connect(f"{url}/ws.ashx?name=Ada", origin=Origin(origin), ssl=context) as client:
        return client.recv(DEADLINE_S)


def chat_program(settings: str = "") -> str:
    """The README's chat behind a proxy, with `settings` (lines of code) for the app."""
    [program, _] = README.code(CHAT, "python")
    [addition] = NGINX_PAGE.code("The app", "python")
    app = "app = Flask(__name__)\n"
    assert program.count(app) == 1
    return program.replace(app, app + settings) + "\n" + addition
