"""Hubs for the tests."""

import dataclasses
import json
import os
import threading
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Protocol

import msgspec
from flask import Flask, abort, g, render_template_string, request, session

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from flask_wshandler.calls import Answer, CallError, Hub, call

PAGE = """<!doctype html><title>calls</title><script type="module" nonce="n">
import { Connection } from "{{ url_for('wshandler.static', filename='client.js') }}";
import { calls, CallError } from "{{ url_for('wshandler.static', filename='calls.js') }}";
Object.assign(globalThis, { Connection, calls, CallError });
</script>"""

players = WebSocketCollection("players")


class Move(msgspec.Struct, forbid_unknown_fields=True):
    """Where to."""

    x: Annotated[int, msgspec.Meta(ge=0, lt=100)]


@dataclasses.dataclass
class Score:
    name: str
    points: int = 0


class Options(typing.TypedDict, total=False):
    loud: bool


class Page(Protocol):
    """What the page offers."""

    def moved(self, who: str, move: Move) -> None: ...

    def confirm(self, question: str) -> Answer[bool]: ...

    def score_of(self, name: str, options: Options) -> Score: ...


class Board(Hub[Page]):
    call_timeout_s = 10.0
    #: What has become of streams, and of answers.
    ends: typing.ClassVar[list[Any]] = []

    def on_open(self):
        self.moves = 0
        players.add(self)

    def on_binary(self, message):
        self.send(message)

    @call
    def move(self, move: Move) -> int:
        self.moves += 1
        Board.to(players).moved(request.args.get("name", "?"), move)
        return self.moves

    @call
    def double(self, number: int) -> int:
        return 2 * number

    @call
    def add(self, score: Score, points: int = 1, *, options: Options | None = None) -> Score:
        if options and options.get("loud"):
            score.name = score.name.upper()
        return Score(score.name, score.points + points)

    @call("sum")
    def total(self, *numbers: int) -> int:
        return sum(numbers)

    @call
    def subtract(self, minuend: int, subtrahend: int) -> int:
        return minuend - subtrahend

    @call
    def get_data(self) -> tuple[str, int]:
        return "hello", 5

    @call
    def update(self, *numbers: int) -> None:
        self.moves = sum(numbers)

    @call
    def echo(self, value):
        return value

    @call
    def replay(self, count: int) -> Iterator[Move]:
        """A stream."""
        try:
            for number in range(count):
                yield Move(number % 100)
        except GeneratorExit:
            self.ends.append("closed")
            raise
        return {"count": count}

    @call
    def fails_amid(self, count: int) -> Iterator[int]:
        yield from range(count)
        raise LookupError("a secret")

    @call(thread=True)
    def slow_replay(self, count: int) -> Iterator[int]:
        try:
            yield from range(count)
        finally:
            self.ends.append(threading.current_thread().name)

    @call(thread=True)
    def ask(self, question: str) -> bool:
        return self.client.confirm(question).result()

    @call(thread=True)
    def wait(self) -> str:
        self.is_waiting.wait(10)
        return f"{request.path} {session.get('user')}"

    is_waiting = threading.Event()

    @call
    def resign(self) -> None:
        self.client.confirm("Really?").then(self.resigned, self.not_resigned)

    def resigned(self, is_sure):
        self.client.moved(f"resigned: {is_sure}", Move(1))

    def not_resigned(self, error):
        self.client.moved(f"{error.code} {error.message}", Move(2))

    @call
    def deadlock(self) -> bool:
        return self.client.confirm("?").result(5)

    @call
    def wrong_type(self) -> int:
        return "a"

    @call
    def wrong_arguments(self) -> None:
        self.client.moved(1, 2)

    @call
    def fault(self) -> None:
        raise LookupError("a secret")

    @call
    def forbidden(self) -> None:
        abort(403)

    @call
    def refused(self) -> None:
        raise CallError(7, "No", {"why": "so"})

    @call
    def who(self) -> dict[str, Any]:
        g.seen = getattr(g, "seen", 0) + 1
        return {"path": request.path, "user": session.get("user"), "seen": g.seen}

    def _private(self):
        raise AssertionError

    def unmarked(self):
        raise AssertionError


class Free(Hub):
    """Without a contract."""

    @call
    def ask(self) -> None:
        self.client.anything(1, "two").then(self.took)

    def took(self, value):
        self.client.took(value)


class Few(Board):
    max_calls = 3


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def create_app():
    app = Flask(__name__)
    app.config.update(SECRET_KEY="of-tests")
    for key, value in os.environ.items():
        if key.startswith("WSHANDLER_"):
            app.config[key] = json.loads(value)
    sockets = WebSockets(app)
    for path, handler in (("/board", Board), ("/free", Free), ("/few", Few), ("/echo", Echo)):
        sockets.route(path)(handler)

    @app.get("/")
    def page():
        return render_template_string(PAGE)

    @app.get("/stats")
    def stats():
        return {"pid": os.getpid(), "threads": threading.active_count()}

    @app.get("/login/<user>")
    def login(user):
        session["user"] = user
        return "in"

    return app


app = create_app()
