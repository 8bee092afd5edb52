"""Handlers as Python allows them: dataclasses, generic and abstract ones, falsy and equal ones."""

import abc
from dataclasses import dataclass
from typing import Generic, TypeVar

from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

sockets = WebSockets()
clients = WebSocketCollection("handler-shapes")
Item = TypeVar("Item")


class Echoing:
    """What all of them do."""

    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        clients.broadcast(message)
        clients.remove(self)


@sockets.route("/handler", defaults={"name": "ann"})
@dataclass
class Data(Echoing, WebSocketHandler):
    """Equal to others of its name, and without a hash."""

    name: str


@sockets.route("/slots", defaults={"name": "ann"})
class Slots(Echoing, WebSocketHandler):
    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


@sockets.route("/falsy")
class Falsy(Echoing, WebSocketHandler):
    def __len__(self):
        return 0


@sockets.route("/generic")
class Typed(Echoing, WebSocketHandler, Generic[Item]):
    def of(self, item: Item) -> Item:
        return item


class Abstract(WebSocketHandler, abc.ABC):
    @abc.abstractmethod
    def answer(self, message): ...

    def on_message(self, message):
        self.send(self.answer(message))


@sockets.route("/concrete")
class Concrete(Abstract):
    def answer(self, message):
        return message


@sockets.route("/equal")
class Equal(Echoing, WebSocketHandler):
    def __eq__(self, other):
        return isinstance(other, Equal)

    def __hash__(self):
        return 1


@sockets.route("/delegating")
class Delegating(WebSocketHandler):
    """Finds what it does not have in another object."""

    def __init__(self):
        self.target = Echoing()

    def __getattr__(self, name):
        return getattr(vars(self)["target"], name)

    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: str(len(clients)))
    return app


def promise(site):
    """Each one answers; two that are equal are two clients."""
    for path in ("/slots", "/falsy", "/generic", "/concrete", "/equal", "/delegating"):
        assert site.ask(path) == "hello", path
    for path in ("/handler", "/equal"):
        both = [site.open(path), site.open(path)]
        site.wait_for(lambda: site.get("/").body == "2", "two members")
        both[0].send_text("one")
        assert [client.read_text() for client in both] == ["one", "one"]
        for client in both:
            client.leave()
        site.wait_for(lambda: site.get("/").body == "0", "no member")
