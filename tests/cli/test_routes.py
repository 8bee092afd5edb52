"""`routes`: what speaks WebSocket, by whose hands, behind what guards."""

import functools
import json
import subprocess
import sys

import flask.views
import pytest
from flask import Blueprint, Flask
from flask_login import LoginManager, login_required

from flask_wshandler import (
    HttpHandler,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)


class Echo(WebSocketHandler):
    max_message_size = 4096
    message_rate = 5
    recheck_session_s = 60


class Plain(WebSocketHandler):
    pass


def admin_only(view):
    @functools.wraps(view)
    def checked(*args, **kwargs):
        return view(*args, **kwargs)

    return checked


def make_app():
    app = Flask(__name__)
    app.config.update(WSHANDLER_BUS="none", SECRET_KEY="x")
    LoginManager(app)
    sockets = WebSockets(app)
    rooms = Blueprint("rooms", __name__, url_prefix="/rooms")

    sockets.route("/echo")(Echo)
    sockets.route("/<int:number>", bp=rooms)(Plain)

    @sockets.route("/function")
    @login_required
    def function(ws):
        pass

    @app.get("/page")
    def page():
        return "no WebSocket"

    @app.get("/view")
    @login_required
    @admin_only
    def view():
        if is_websocket_request():
            return accept_websocket_request(Echo(), require_same_origin=True)
        return "both"

    @app.get("/nested")
    def nested():
        def accept():
            handler = Plain() if view else Echo()
            return accept_websocket_request(handler, require_same_origin=app.debug)

        return accept()

    @app.get("/open")
    def open_to_all():
        return accept_websocket_request(Plain(), subprotocol=None, require_same_origin=False)

    class Ashx(HttpHandler):
        def process_request(self, context):
            return context.accept_websocket_request(Plain())

    class NoWebSocket(flask.views.MethodView):
        def get(self):
            return "plain"

    app.add_url_rule("/ws.ashx", view_func=Ashx.as_view("ashx"))
    app.add_url_rule("/plain", view_func=NoWebSocket.as_view("plain"))

    @rooms.before_request
    def banned():
        pass

    app.register_blueprint(rooms)
    return app


@pytest.fixture
def run():
    runner = make_app().test_cli_runner()
    return lambda *arguments: runner.invoke(args=["websockets", *arguments])


def test_lists_what_speaks_websocket_and_nothing_else(run):
    """Handlers and functions for sure, views by what their code says."""
    found = {each["url"]: each for each in json.loads(run("routes", "--json").output)}
    assert {url: (each["handler"], each["is_certain"]) for url, each in found.items()} == {
        "/echo": ("Echo", True),
        "/rooms/<int:number>": ("Plain", True),
        "/function": ("make_app.<locals>.function", True),
        "/view": ("Echo", False),
        "/nested": ("Plain, Echo", False),
        "/open": ("Plain", False),
        "/ws.ashx": ("Plain", False),
    }


def test_names_the_guards(run):
    """The origins, the limits of the handler, decorators, and what runs before the view."""
    found = {each["url"]: each for each in json.loads(run("routes", "--json").output)}
    echo = found["/echo"]
    assert echo["allowed_origins"] == "same-origin"
    assert echo["max_message_size"] == 4096
    assert echo["message_rate"] == [5, 5]
    assert echo["recheck_session_s"] == 60
    assert found["/view"]["allowed_origins"] == "same-origin"
    assert found["/open"]["allowed_origins"] == "*"
    assert found["/nested"]["allowed_origins"] is None  # by a variable
    assert found["/view"]["decorators"][0] == "login_required"
    assert len(found["/view"]["decorators"]) == 2
    assert found["/function"]["decorators"] == ["login_required"]
    assert found["/nested"]["max_message_size"] is None  # of two handlers
    assert found["/rooms/<int:number>"]["before_request"] == ["make_app.<locals>.banned"]
    assert echo["before_request"] == []


def test_the_table_says_it_in_words(run):
    """What is not certain is marked."""
    result = run("routes")
    assert result.exit_code == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in result.output.splitlines()}
    assert lines["/echo"] == (
        "/echo Echo Echo origins: same-origin; max 4,096 bytes; 5 messages/s; "
        "session checked every 60 s"
    )
    assert lines["/view"].startswith("/view view may: Echo origins: same-origin; login_required")
    assert "origins: as the view says" in lines["/nested"]


def test_an_app_without_any(capsys):
    """Says so, which is no failure."""
    app = Flask(__name__)
    app.config["WSHANDLER_BUS"] = "none"
    WebSockets(app)
    result = app.test_cli_runner().invoke(args=["websockets", "routes"])
    assert result.exit_code == 0
    assert "No route of this app speaks WebSocket." in result.output


def test_an_apps_own_commands_of_that_name_stay():
    """It was there first."""
    app = Flask(__name__)
    app.config["WSHANDLER_BUS"] = "none"
    app.cli.command("websockets")(lambda: print("the app's own"))
    WebSockets(app)
    assert app.test_cli_runner().invoke(args=["websockets"]).output == "the app's own\n"


def test_the_commands_cost_an_app_nothing():
    """They are imported when one is looked up."""
    program = (
        "import sys\n"
        "from flask import Flask\n"
        "from flask_wshandler import WebSockets\n"
        "app = Flask('app')\n"
        "WebSockets(app)\n"
        "assert 'websockets' in app.cli.commands\n"
        "late = {'flask_wshandler.cli.commands', 'websockets.sync.client', 'rich'}\n"
        "assert not late & sys.modules.keys(), late & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
