"""Flask's SQLite pattern: a connection in `g`, opened when it is used, closed at teardown."""

import sqlite3

from flask import Flask, g

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
opened, closed = [], []


def get_db():
    if "db" not in g:
        g.db = sqlite3.connect("sqlite-in-g.db")
        opened.append(id(g.db))
    return g.db


def close_db(error=None):
    db = g.pop("db", None)
    if db is not None:
        closed.append(id(db))
        db.close()


def insert(message):
    with get_db() as db:
        db.execute("INSERT INTO post VALUES (?)", [message])
    return message


@sockets.route("/handler")
class Post(WebSocketHandler):
    def on_message(self, message):
        self.send(insert(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(insert(ws.receive()))


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.teardown_appcontext(close_db)
    with app.app_context():
        get_db().execute("CREATE TABLE post (message)")

    @app.get("/")
    def page():
        return [message for (message,) in get_db().execute("SELECT message FROM post")]

    @app.get("/counts")
    def counts():
        return [len(opened), len(closed)]

    return app


def promise(site):
    """The rows are there, and every connection that was opened is closed."""
    assert site.get("/").json() == ["hello", "hello"]
    site.wait_for(lambda: len(set(site.get("/counts").json())) == 1, "closed connections")
