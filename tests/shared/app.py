"""An app with shared collections, configured by WSHANDLER_* in the environment, as JSON."""

import json
import os

from flask import Flask, request

from flask_wshandler import WebSocketCollection, WebSocketGroups, WebSocketHandler, WebSockets
from tests.notes import note

app = Flask(__name__)
for key, value in os.environ.items():
    if key.startswith("WSHANDLER_"):
        app.config[key] = json.loads(value)

sockets = WebSockets(app)


class Watched(WebSocketCollection):
    """Tells who joins and leaves."""

    def on_presence(self, joined, left):
        note(
            "presence",
            pid=os.getpid(),
            app=sockets.stats().connections is not None,  # needs an app context
            joined=[[each.connection_id, each.metadata] for each in joined],
            left=[[each.connection_id, each.metadata] for each in left],
        )

    def on_metadata_update(self, updated):
        note(
            "metadata",
            pid=os.getpid(),
            updated=[[each.connection_id, each.metadata] for each in updated],
        )


clients = WebSocketCollection("all")
watched = Watched("watched")
rooms = WebSocketGroups("room")
log = WebSocketCollection("log", history=100_000, replay=1000)
lobby = WebSocketGroups("lobby", history=100, replay=3)


@sockets.route("/ws")
class Member(WebSocketHandler):
    """Says which process serves it, then does as it is told: a JSON list per message."""

    def on_open(self):
        clients.add(self, name=request.args.get("name", ""))
        self.send_json({"pid": os.getpid(), "id": self.context.connection_id})

    def on_text(self, message):
        method, *arguments = json.loads(message)
        getattr(self, method)(*arguments)

    def say(self, text):
        clients.broadcast(text)

    def say_to_others(self, text):
        clients.broadcast(text, exclude=self)

    def say_bytes(self, size):
        clients.broadcast(bytes(range(256)) * (size // 256))

    def flood(self, prefix, count):
        for number in range(count):
            clients.broadcast(f"{prefix} {number}")

    def enter(self, room):
        rooms[room].add(self)
        self.send(f"entered {room}")

    def leave(self, room):
        rooms[room].remove(self)
        self.send(f"left {room}")

    def say_in(self, room, text):
        rooms[room].broadcast(text)

    def watch(self, name):
        watched.add(self, name=name)
        self.send("watching")

    def rename(self, name):
        watched.update_metadata(self, name=name)
        self.send("renamed")

    def close_all(self, code, reason):
        clients.close_all(code, reason)


@sockets.route("/log")
class Listener(WebSocketHandler):
    """A member of a collection with history; what it sends is broadcast."""

    def on_open(self):
        log.add(self)

    def on_text(self, message):
        log.broadcast(message)


@sockets.route("/lobby/<name>")
class Visitor(WebSocketHandler):
    """The same of a group, which has a few of the last messages for whoever comes."""

    def __init__(self, name):
        self.lobby = lobby[name]

    def on_open(self):
        self.lobby.add(self)

    def on_text(self, message):
        self.lobby.broadcast(message)


@app.get("/log/say/<prefix>/<int:count>")
def say_logged(prefix, count):
    for number in range(count):
        log.broadcast(f"{prefix} {number}")
    return str(os.getpid())


@app.get("/log/history/<int:count>")
def history(count):
    return json.dumps([message for _, message, _ in log.history(count)])


@app.get("/pid")
def pid():
    return str(os.getpid())


@app.get("/say/<prefix>/<int:count>")
def say(prefix, count):
    for number in range(count):
        clients.broadcast(f"{prefix} {number}")
    return str(os.getpid())


@app.get("/json")
def say_json():
    clients.broadcast_json({"ä": [1, None]})
    return ""


@app.get("/presence")
def presence():
    found = clients.presence()
    assert clients.count() >= 0
    return {
        "pid": os.getpid(),
        "ids": sorted(each.connection_id for each in found),
        "names": sorted(each.metadata["name"] for each in found),
        "processes": sorted({each.process for each in found}),
    }


@app.get("/rooms")
def count_rooms():
    return {
        "counts": {room: rooms[room].count() for room in request.args.getlist("room")},
        "here": sorted(rooms),
    }


@app.get("/bus")
def bus():
    found = sockets.bus_stats()
    return {"pid": os.getpid(), **{name: getattr(found, name) for name in found.__slots__}}
