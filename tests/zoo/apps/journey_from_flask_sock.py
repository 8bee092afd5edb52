"""A flask-sock app whose import has been changed: an echo, a loop with `receive(timeout)`, closes
with a code, a blueprint with a guard, SQLite in `g`."""

import sqlite3

from flask import Blueprint, Flask, abort, g, request, session
from simple_websocket import ConnectionClosed

from flask_wshandler import WebSockets as Sock

sock = Sock()
members = Blueprint("members", __name__, url_prefix="/members")


def database():
    if "database" not in g:
        g.database = sqlite3.connect(":memory:")
        g.database.execute("create table notes (text)")
    return g.database


@members.before_request
def only_members():
    if "name" not in session:
        abort(401)


@sock.route("/echo")
def echo(ws):
    while True:
        message = ws.receive()
        if message == "enough":
            ws.close(4001, "as you wish")
        ws.send(message)


@sock.route("/ticks")
def ticks(ws):
    for number in range(3):
        message = ws.receive(timeout=0.01)
        ws.send(message or f"tick {number}")


closed = []


@sock.route("/notes/<kind>", bp=members)
def notes(ws, kind):
    try:
        while True:
            database().execute("insert into notes values (?)", (ws.receive(),))
            [count] = database().execute("select count(*) from notes").fetchone()
            ws.send(f"{session['name']} has {count} {kind}")
    except ConnectionClosed as end:
        closed.append(end.reason.name)
        raise


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25, "max_message_size": 1000}
    sock.init_app(app)
    app.register_blueprint(members)

    @app.get("/")
    def page():
        session["name"] = request.args.get("name", "nobody")
        return closed

    @app.teardown_appcontext
    def close_database(error):
        if "database" in g:
            g.pop("database").close()

    return app


def visit(site):
    """All of it works as it did, and strangers are refused before the upgrade."""
    assert site.knock("/members/notes/notes").status == 401
    site.get("/?name=ann")
    with site.open("/members/notes/notes") as client:
        for count in (1, 2):
            client.send_text("a note")
            assert client.read_text() == f"ann has {count} notes"
        client.leave()
    site.wait_for(lambda: site.get("/").json() == ["NORMAL_CLOSURE"], "the function's end")
    with site.open("/ticks") as client:
        assert [client.read_text() for _ in range(3)] == ["tick 0", "tick 1", "tick 2"]
        assert client.read_close()[0] == 1000
    with site.open("/echo") as client:
        client.send_text("hello")
        assert client.read_text() == "hello"
        client.send_text("enough")
        assert client.read_close() == (4001, "as you wish")
    with site.open("/echo") as client:
        client.send_text(1001 * "x")
        assert client.read_close()[0] == 1009
