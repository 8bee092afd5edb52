"""A to-do list from nothing: accounts by Flask-Login, a room for each list that shows who is there,
SQLite, a logout that closes the pages of its user."""

import contextlib
import sqlite3
import tempfile

from flask import Flask, abort, current_app, g, request, url_for
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)
from werkzeug.security import check_password_hash, generate_password_hash

from flask_wshandler import WebSocketCollection, WebSocketGroups, WebSocketHandler, WebSockets

sockets = WebSockets()
logins = LoginManager()


class List(WebSocketCollection):
    def on_presence(self, joined, left):
        self.tell("here", sorted({each.metadata["name"] for each in self.presence()}))

    def tell(self, event, data):
        for member in self:
            member.send_json([event, data])


lists = WebSocketGroups("list", List)
users = WebSocketGroups("user")


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@logins.user_loader
def load_user(name):
    found = database().execute("select name from users where name = ?", (name,)).fetchone()
    return User(*found) if found else None


def database():
    if "database" not in g:
        g.database = sqlite3.connect(current_app.config["DATABASE"])
    return g.database


def close_database(error):
    if "database" in g:
        g.pop("database").close()


@sockets.route("/lists/<name>/ws", decorators=[login_required])
class Editor(WebSocketHandler):
    max_message_size = 4096

    def __init__(self, name):
        self.name = name

    def on_open(self):
        users[current_user.id].add(self)
        lists[self.name].add(self, name=current_user.id)

    def on_text(self, text):
        with database():
            row = (self.name, text)
            database().execute("insert into items (list, text) values (?, ?)", row)
        rows = database().execute("select text from items where list = ?", (self.name,))
        lists[self.name].broadcast_json(["items", [text for (text,) in rows]])


def log_in():
    name, password = request.form["name"], request.form["password"]
    found = database().execute("select password from users where name = ?", (name,)).fetchone()
    if not found or not check_password_hash(*found, password):
        abort(401)
    login_user(User(name))
    return "welcome"


@login_required
def log_out():
    name = current_user.id
    logout_user()
    users[name].close_all(4401, "logged out")
    return "good-bye"


def page():
    return url_for("Editor", name="home")


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    app.config["DATABASE"] = f"{tempfile.mkdtemp()}/todo.db"
    sockets.init_app(app)
    logins.init_app(app)
    app.teardown_appcontext(close_database)
    app.add_url_rule("/", view_func=page)
    app.add_url_rule("/login", view_func=log_in, methods=["POST"])
    app.add_url_rule("/logout", view_func=log_out, methods=["POST"])
    with contextlib.closing(sqlite3.connect(app.config["DATABASE"])) as made, made:
        made.execute("create table users (name primary key, password)")
        made.execute("create table items (list, text)")
        for name in ("ada", "bob"):
            made.execute("insert into users values (?, ?)", (name, generate_password_hash(name)))
    return app


def visit(site):
    """Two users share a list, see each other, and one of them leaves by logging out."""
    address = site.get("/").body
    assert address.startswith("ws://")
    assert site.knock("/lists/home/ws").status == 401
    assert site.post("/login", {"name": "ada", "password": "wrong"}).status == 401
    site.post("/login", {"name": "ada", "password": "ada"})
    ada = site.open("/lists/home/ws")
    assert ada.read_text() == '["here", ["ada"]]'
    site.post("/login", {"name": "bob", "password": "bob"})
    bob = site.open("/lists/home/ws")
    assert ada.read_text() == bob.read_text() == '["here", ["ada", "bob"]]'
    bob.send_text("milk")
    assert ada.read_text() == bob.read_text() == '["items", ["milk"]]'
    site.post("/logout")
    assert bob.read_close() == (4401, "logged out")
    bob.end()
    assert ada.read_text() == '["here", ["ada"]]'
