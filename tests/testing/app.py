"""An app with all that a test client has to do with."""

import threading

from flask import Blueprint, Flask, abort, jsonify, redirect, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user

from flask_wshandler import (
    HttpHandler,
    WebSocketCollection,
    WebSocketGroups,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)
from tests.deadlines import DEADLINE_S

sockets = WebSockets()
bp = Blueprint("area", __name__, url_prefix="/area")
clients = WebSocketCollection("chat")
rooms = WebSocketGroups("room")


class Seen(WebSocketCollection):
    """Notes who joins and leaves, in which app."""

    def __init__(self, name):
        super().__init__(name)
        self.news = []

    def on_presence(self, joined, left):
        from flask import current_app

        news = [(each.metadata["name"], 1) for each in joined]
        news += [(each.metadata["name"], -1) for each in left]
        self.news.append((current_app.config["NAME"], news))


seen = Seen("seen")


class Echo(WebSocketHandler):
    """Sends back what it is sent, as it is."""

    def on_message(self, message):
        self.send(message)


class Chat(WebSocketHandler):
    """Tells all what one says."""

    def __init__(self):
        self.name = request.args.get("name", "nobody")

    def on_open(self):
        clients.add(self, name=self.name)

    def on_message(self, message):
        clients.broadcast(f"{self.name}: {message}")

    def on_close(self):
        clients.broadcast(f"{self.name} has gone")


class Member(WebSocketHandler):
    """In a collection whose changes are noted, and in a group."""

    def __init__(self, name):
        self.name = name

    def on_open(self):
        seen.add(self, name=self.name)
        rooms["lobby"].add(self, name=self.name)

    def on_message(self, message):
        self.send_json(sorted(each.metadata["name"] for each in rooms["lobby"].presence()))


class Failing(WebSocketHandler):
    """Raises wherever it is told to."""

    def on_open(self):
        if request.args.get("in") == "open":
            raise LookupError("in on_open")

    def on_message(self, message):
        self.send("before")
        if message == "exit":
            raise SystemExit("in on_message")
        raise LookupError(f"in on_message: {message}")

    def on_error(self):
        if request.args.get("in") == "error":
            raise ArithmeticError("in on_error")

    def on_close(self):
        if request.args.get("in") == "close":
            raise LookupError("in on_close")


class Closing(WebSocketHandler):
    """Closes as it is told: a code and a reason."""

    def on_message(self, message):
        self.send("last")
        self.send("very last")
        code, _, reason = message.partition(" ")
        self.close(int(code), reason)


class Large(WebSocketHandler):
    """Sends as many letters as it is told to, more than a socket holds."""

    max_queue_size = 2**25

    def on_message(self, message):
        self.send(int(message) * "x")


class Rechecked(WebSocketHandler):
    """Asks again and again who it is that is there."""

    recheck_session_s = 60


class Stuck(WebSocketHandler):
    """Stays in its callback until the test lets it go."""

    let_go = threading.Event()
    closed_with = None

    def on_open(self):
        if request.args.get("in") == "open":
            self.let_go.wait(DEADLINE_S)

    def on_message(self, message):
        self.let_go.wait(DEADLINE_S)

    def on_close(self):
        type(self).closed_with = self.close_code


class Ashx(HttpHandler):
    """As ASP.NET writes one."""

    def process_request(self, context):
        if not context.is_websocket_request:
            return "This address speaks WebSocket.", 426
        offered = context.requested_subprotocols
        return context.accept_websocket_request(
            Echo(), subprotocol=offered[-1] if offered else None
        )


class User(UserMixin):
    """A user that is only an id."""

    def __init__(self, user_id):
        self.id = user_id


users = {"ann": User("ann")}


class Mirror(WebSocketHandler):
    """Tells what it knows of the handshake."""

    def on_message(self, message):
        self.send_json(
            {
                "origin": self.context.origin,
                "url": request.url,
                "root": request.root_path,
                "headers": dict(request.headers),
                "cookies": request.cookies,
                "session": dict(session),
                "user": getattr(current_user, "id", None),
                "authorization": request.authorization and request.authorization.username,
                "address": request.remote_addr,
                "extra": request.environ.get("extra"),
            }
        )


for path, handler in (
    ("/echo", Echo),
    ("/chat", Chat),
    ("/members/<name>", Member),
    ("/failing", Failing),
    ("/closing", Closing),
    ("/large", Large),
    ("/stuck", Stuck),
    ("/mirror", Mirror),
):
    sockets.route(path)(handler)


@sockets.route("/function/<name>")
def function(ws, name):
    """A flask-sock function."""
    while True:
        message = ws.receive()
        if message == "boom":
            raise LookupError("in a function")
        if message == "bye":
            ws.close(4002, "enough")
        else:
            ws.send(f"{name}: {message}")


@sockets.route("/ws", bp=bp)
class InBlueprint(Echo):
    """In a blueprint."""


def create_app(name="one", **settings):
    """An app; all of them have the routes of this module."""
    app = Flask(__name__)
    app.config.update(TESTING=True, SECRET_KEY="of tests", NAME=name, **settings)
    sockets.init_app(app)
    app.register_blueprint(bp)
    login = LoginManager(app)
    login.user_loader(users.get)
    app.add_url_rule("/ws.ashx", view_func=Ashx.as_view("ashx"))

    @app.before_request
    def check_door():
        if request.path.startswith("/area") and request.args.get("key") != "1":
            abort(401, "no key")

    @app.get("/login")
    def log_in():
        login_user(users["ann"])
        return "welcome"

    @app.get("/for-users")
    @login_required
    def for_users():
        return accept_websocket_request(Rechecked())

    @app.get("/moved")
    def moved():
        return redirect("/echo", 302)

    @app.get("/cookie")
    def cookie():
        session["visits"] = session.get("visits", 0) + 1
        response = accept_websocket_request(Mirror())
        response.set_cookie("kept", "yes")
        return response

    @app.get("/broken")
    def broken():
        raise LookupError("in the view")

    @app.get("/plain")
    def plain():
        return jsonify(websocket=is_websocket_request(), cookies=request.cookies)

    @app.after_request
    def replace(response):
        if request.args.get("replace"):
            return app.response_class("replaced", 503)
        return response

    return app
