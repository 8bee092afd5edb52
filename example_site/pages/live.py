"""Live: the figures of all worker processes, pushed to whoever watches."""

import inspect
import os
import socket
import time
from collections.abc import Callable

from flask import Blueprint, render_template

from example_site.extensions import sockets
from example_site.ticker import Ticker
from flask_wshandler import Presence, WebSocketCollection, WebSocketHandler

bp = Blueprint("live", __name__, url_prefix="/live")
ticker = Ticker(interval_s=0.5)


class Watchers(WebSocketCollection):
    """All pages that watch, whichever worker serves them."""

    def on_presence(self, joined: list[Presence], left: list[Presence]) -> None:
        """Publish the figures of this worker for as long as somebody watches any."""
        if self.count():
            ticker.start(start_publishing)
        else:
            ticker.stop()


watchers = Watchers("live")


@sockets.route("/ws.ashx", bp=bp, endpoint="socket")
class LiveHandler(WebSocketHandler):
    """One page that watches. It says nothing: any message from it closes the connection."""

    max_message_size = 16
    # A page that was away wants the newest figures only.
    queue_policy = "drop_oldest"
    resume_buffer = 4096

    def on_open(self) -> None:
        watchers.add(self)


def start_publishing() -> Callable[[], None]:
    """Return a function that tells all watchers the figures of this worker at that moment."""
    host, pid = socket.gethostname(), os.getpid()
    before, before_s = sockets.stats(), time.monotonic()

    def publish() -> None:
        nonlocal before, before_s
        now, now_s = sockets.stats(), time.monotonic()

        def per_s(counter: str) -> float:
            increase: int = getattr(now, counter) - getattr(before, counter)
            return increase / (now_s - before_s)

        watchers.broadcast_json(
            {
                "host": host,
                "pid": pid,
                "connections": now.connections,
                "away": now.away,
                "returned": sum(now.returns.values()),
                "accepted": now.accepted,
                "threads": now.threads,
                "queued_bytes": now.queued_bytes,
                "received_per_s": per_s("messages_received"),
                "sent_per_s": per_s("messages_sent"),
                "received_bytes_per_s": per_s("bytes_received"),
                "sent_bytes_per_s": per_s("bytes_sent"),
                "closes": now.closes,
            }
        )
        before, before_s = now, now_s

    return publish


@bp.before_app_request
def follow_watchers() -> None:
    """Have this worker hear who watches, from its first request on, whatever it serves."""
    len(watchers)


@bp.get("/")
def page() -> str:
    """Show the charts."""
    source = "\n\n".join(
        (
            inspect.getsource(Watchers),
            inspect.getsource(LiveHandler),
            inspect.getsource(start_publishing),
        )
    )
    return render_template("live.html", source=source)
