"""The app of the servers under test, configured by WSHANDLER_* in the environment, as JSON."""

import contextvars
import decimal
import gc
import json
import os
import select
import sqlite3
import subprocess
import sys
import threading
import time

from flask import (
    Blueprint,
    Flask,
    Request,
    Response,
    abort,
    current_app,
    g,
    got_request_exception,
    request,
    session,
    url_for,
)
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sock import Sock

from flask_wshandler import (
    HttpHandler,
    UpgradeRequired,
    WebSocketCollection,
    WebSocketContext,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)
from tests.notes import note

app = Flask(__name__)
app.secret_key = "a fixed key, so that workers agree"
for key, value in os.environ.items():
    if key.startswith(("WSHANDLER_", "SOCK_SERVER_OPTIONS")):
        app.config[key] = json.loads(value)

sockets = WebSockets(app)
clients = WebSocketCollection("chat")
login_manager = LoginManager(app)


revoked = set()


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@login_manager.user_loader
def load_user(name):
    return None if name in revoked else User(name)


@got_request_exception.connect_via(app)
def note_exception(sender, exception, **extra):
    note("signal", exception=repr(exception))


@app.teardown_appcontext
def note_teardown(error):
    if g.get("tears_down"):
        note("teardown", id=g.tears_down, error=repr(error))


@app.errorhandler(403)
@app.errorhandler(UpgradeRequired)
def refused(error):
    response = error.get_response()
    response.headers["X-Refused"] = str(error.code)
    return response


@app.after_request
def add_headers(response):
    response.headers["X-After"] = str(response.status_code)
    if request.args.get("replace"):
        return Response("replaced", 418)
    return response


@app.get("/")
def index():
    return "plain"


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@app.get("/echo")
def echo():
    if is_websocket_request():
        return accept_websocket_request(Echo())
    return "This address speaks WebSocket.", 426


class Recorder(WebSocketHandler):
    """Notes its callbacks, and does what it is told."""

    def __init__(self, id):
        self.id = id

    def on_open(self):
        note("open", id=self.id)

    def on_message(self, message):
        note("message", id=self.id, message=message if isinstance(message, str) else len(message))
        verb, _, rest = str(message).partition(" ")
        getattr(self, "do_" + verb, lambda rest: None)(rest)

    def on_away(self):
        note("away", id=self.id)

    def on_back(self):
        note("back", id=self.id)

    def on_error(self):
        note("error", id=self.id, error=repr(self.error))

    def on_close(self):
        note(
            "close", id=self.id, code=self.close_code, reason=self.close_reason, sent=self.send("")
        )

    def do_pid(self, rest):
        self.send(str(os.getpid()))

    def do_raise(self, rest):
        raise ValueError(rest)

    def do_close(self, rest):
        code, _, reason = rest.partition(" ")
        self.close(int(code or 1000), reason)
        self.close(4999, "a second close does nothing")

    def do_sleep(self, rest):
        time.sleep(float(rest))
        self.send("awake")

    def do_spin(self, rest):
        """Keep the processor, and gevent's hub."""
        until_s = time.monotonic() + float(rest)
        while time.monotonic() < until_s:
            pass
        self.send("awake")

    def do_blob(self, rest):
        """Send so many bytes, and close if a code follows."""
        size, _, code = rest.partition(" ")
        self.send(bytes(int(size)))
        if code:
            self.close(int(code))

    def do_burst(self, rest):
        for index in range(int(rest)):
            self.send(f"burst {index}")

    def do_burst_and_close(self, rest):
        self.do_burst(rest)
        self.close(4000, "after the burst")

    def do_flood(self, rest):
        count = 0
        while self.send(b"x" * 65536) and count < int(rest):
            count += 1
        note("flooded", id=self.id, count=count, dropped=self.dropped_messages)

    def do_later(self, rest):
        """Send from another thread, after the callback."""
        threading.Timer(0.05, self.send, ["from another thread"]).start()

    def do_spawn(self, rest):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        self.send("spawned")


class Returning(Recorder):
    """Says what it knows of itself, and something to a client that is away."""

    def on_open(self):
        super().on_open()
        self.count = 0
        clients.add(self)

    def on_message(self, message):
        self.count += 1
        super().on_message(message)

    def on_away(self):
        super().on_away()
        self.send("while you were away")

    def do_count(self, rest):
        self.send(f"{self.count} {self.message_number} {self.context.connection_id} {rest}")

    def do_later(self, rest):
        """Go on after the client is gone, or has come back."""
        threading.Timer(float(rest), self.send, ["later"]).start()


class OtherReturning(Returning):
    pass


@app.get("/broadcast/<message>")
def broadcast(message):
    clients.broadcast(message)
    return message


class Raiser(Recorder):
    def on_open(self):
        super().on_open()
        raise ValueError("in on_open")

    def on_error(self):
        super().on_error()
        raise ValueError("in on_error")

    def on_close(self):
        super().on_close()
        raise ValueError("in on_close")


class OpensSlowly(Recorder):
    def on_open(self):
        super().on_open()
        self.do_sleep(1.5)


class DropsOldest(Recorder):
    queue_policy = "drop_oldest"
    max_queue_size = 300_000


class ClosesSlow(Recorder):
    max_queue_size = 300_000


HANDLERS = {
    "recorder": Recorder,
    "returning": Returning,
    "other-returning": OtherReturning,
    "raiser": Raiser,
    "opens-slowly": OpensSlowly,
    "drops": DropsOldest,
    "slow": ClosesSlow,
}


@app.route("/record/<kind>/<id>")
def record(kind, id):
    return accept_websocket_request(HANDLERS[kind](id))


class Contexts(WebSocketHandler):
    """Answers with what the contexts of a callback show."""

    def on_message(self, message):
        g.tears_down = message
        was_fresh = not hasattr(g, "seen")
        g.seen = True
        session["count"] = session.get("count", 0) + 1
        self.send_json(
            {
                "app": current_app.name,
                "fresh_g": was_fresh,
                "path": request.path,
                "arg": request.args["x"],
                "view_args": request.view_args,
                "attribute": request.marked,
                "endpoint": request.endpoint,
                "session": dict(session),
                "url": url_for("index"),
                "external": url_for("index", _external=True),
                "user": current_user.get_id(),
            }
        )
        if message == "raise":
            raise ValueError("after the answer")


@app.before_request
def mark():
    request.marked = "by before_request"
    g.early = "from before_request"


@app.route("/contexts/<int:number>")
def contexts(number):
    session["from_view"] = "saved"
    login_user(User("ann"))
    return accept_websocket_request(Contexts())


speaker = contextvars.ContextVar("speaker", default="nobody")
topic = contextvars.ContextVar("topic", default="nothing")
draft = contextvars.ContextVar("draft", default="none")


class Variables(WebSocketHandler):
    """Answers with what context variables its callbacks and all around them see."""

    def on_open(self):
        self.draft = draft.set("begun")

    def on_message(self, message):
        seen = [speaker.get(), topic.get(), draft.get(), decimal.getcontext().prec]
        topic.set(message)
        decimal.getcontext().prec = len(message)
        g.tells_speaker = self
        if message == "raise":
            raise ValueError(message)
        self.send_json(seen)

    def on_error(self):
        note("error", speaker=speaker.get(), topic=topic.get())

    def on_close(self):
        draft.reset(self.draft)
        note("close", speaker=speaker.get(), topic=topic.get(), draft=draft.get())


@app.teardown_appcontext
def note_speaker(error):
    if "tells_speaker" in g:
        note("teardown", speaker=speaker.get(), topic=topic.get())


@app.route("/variables/<name>")
def variables(name):
    token = speaker.set(name)
    decimal.getcontext().prec = 28
    try:
        return accept_websocket_request(Variables())
    finally:
        speaker.reset(token)


class ContextReader(WebSocketHandler):
    def on_message(self, message):
        context = self.context
        context.items["asked"] = context.items.get("asked", 0) + 1
        try:
            context.path = "/"
            is_frozen = False
        except AttributeError:
            is_frozen = True
        self.send_json(
            {
                "path": context.path,
                "request_uri": context.request_uri,
                "query_string": context.query_string.to_dict(),
                "cookies": context.cookies.to_dict(),
                "header": context.headers["X-Test"],
                "origin": context.origin,
                "user_agent": context.user_agent,
                "user_host_address": context.user_host_address,
                "user_languages": context.user_languages,
                "url_referrer": context.url_referrer,
                "user": getattr(context.user, "id", None),
                "is_authenticated": context.is_authenticated,
                "is_secure_connection": context.is_secure_connection,
                "is_local": context.is_local,
                "is_client_connected": context.is_client_connected,
                "key": context.secwebsocket_key,
                "version": context.secwebsocket_version,
                "protocols": context.secwebsocket_protocols,
                "subprotocol": context.subprotocol,
                "transport": context.transport,
                "server_variable": context.server_variables["REQUEST_METHOD"],
                "items": context.items,
                "age": time.time() - context.timestamp.timestamp(),
                "connection_count": context.connection_count(),
                "is_frozen": is_frozen,
            }
        )


@app.route("/context")
def context():
    return accept_websocket_request(ContextReader(), subprotocol=request.args.get("subprotocol"))


@app.route("/origin/<rule>")
def origin(rule):
    required = {"required": True, "any": False, "setting": None}[rule]
    return accept_websocket_request(Echo(), require_same_origin=required)


@app.route("/twice")
def twice():
    accept_websocket_request(Echo())
    return accept_websocket_request(Echo())


@app.route("/wrong-type")
def wrong_type():
    return accept_websocket_request(object())


SHARED = Echo()


@app.route("/shared-handler")
def shared_handler():
    return accept_websocket_request(SHARED)


@app.route("/forbidden")
def forbidden():
    abort(403)


@app.route("/private")
@login_required
def private():
    return accept_websocket_request(Echo())


class Checked(Echo):
    """Whose login is looked at again and again."""

    recheck_session_s = 0.2


class CheckedOtherwise(Checked):
    """By a rule of its own."""

    def check_session(self):
        assert current_user.is_authenticated
        return "banned" not in revoked


@app.route("/checked/<kind>")
@login_required
def checked(kind):
    return accept_websocket_request(Checked() if kind == "default" else CheckedOtherwise())


@app.get("/revoke/<name>")
def revoke(name):
    revoked.add(name)
    return "gone"


@app.get("/login/<name>")
def login(name):
    login_user(User(name))
    return "welcome"


class Text(WebSocketHandler):
    def on_text(self, message):
        self.send("text " + message)


class Both(Text):
    def on_binary(self, message):
        self.send(b"binary " + message)


@app.route("/text")
def text():
    return accept_websocket_request(Text())


@app.route("/both")
def both():
    return accept_websocket_request(Both())


class Chatter(WebSocketHandler):
    def __init__(self, name):
        self.name = name

    def on_open(self):
        clients.add(self)
        clients.broadcast(f"{self.name} has connected.")

    def on_message(self, message):
        if message == "close":
            self.close(4001, "asked")
        else:
            clients.broadcast(f"{self.name} said: {message}")

    def on_close(self):
        clients.broadcast(f"{self.name} has gone away, {len(clients)} left.")


@app.route("/chat")
def chat():
    return accept_websocket_request(Chatter(request.args["name"]))


class Ashx(HttpHandler):
    instances = 0

    def __init__(self):
        type(self).instances += 1

    def process_request(self, context):
        if not context.is_websocket_request:
            return {"instances": self.instances, "offered": context.requested_subprotocols}
        assert not context.is_websocket_request_upgrading
        offered = context.requested_subprotocols
        response = context.accept_websocket_request(
            Echo(), subprotocol=offered[-1] if offered else None
        )
        assert context.is_websocket_request_upgrading
        response.headers["X-Subprotocol"] = str(context.subprotocol)
        return response


class ReusableAshx(Ashx):
    is_reusable = True
    instances = 0


app.add_url_rule("/ws.ashx", view_func=Ashx.as_view("ashx"))
app.add_url_rule("/reusable.ashx", view_func=ReusableAshx.as_view("reusable"))

blueprint = Blueprint("rooms", __name__, url_prefix="/rooms")


@blueprint.before_request
def guard():
    if request.args.get("banned"):
        abort(403)


@blueprint.route("/<int:number>/ws")
def room(number):
    if not is_websocket_request():
        return f"room {number}"
    return accept_websocket_request(Named(f"{number} {url_for('rooms.room', number=1)}"))


class Named(WebSocketHandler):
    def __init__(self, name):
        self.name = name

    def on_message(self, message):
        self.send(f"{self.name}: {message}")


sockets.route("/named/<name>")(Named)
sockets.route("/in-blueprint/<name>", bp=blueprint)(Named)


@sockets.route("/function/<name>")
def function(ws, name):
    ws.send(f"{name} {g.early} {request.path} {ws.subprotocol}")
    while True:
        message = ws.receive(timeout=5)
        if message == "close":
            ws.close(4002, "told so")
            ws.send("this raises")
        elif message == "raise":
            raise ValueError("in the function")
        elif message == "return":
            return
        elif message == "timeout":
            assert ws.receive(timeout=0) is None
            assert ws.receive(timeout=0.01) is None
            ws.send("nothing came")
        elif message == "note":
            try:
                ws.receive()
            except Exception as error:
                note(
                    "function",
                    error=type(error).__name__,
                    code=ws.close_reason,
                    message=ws.close_message,
                    connected=ws.connected,
                )
                raise
        elif message == "thread":
            thread = threading.Thread(target=ws.send, args=["from a thread"])
            thread.start()
            thread.join()
        elif message == "flood":
            for _ in range(200):
                ws.send(b"x" * 65536)
            ws.send("flooded")
        else:
            ws.send(message)


app.register_blueprint(blueprint)

theirs = Sock(app)


@theirs.route("/theirs")
def flask_sock_route(ws):
    while True:
        ws.send(ws.receive())


@app.before_request
def open_database():
    if "/database/" in request.path:
        g.database = sqlite3.connect(":memory:")  # for this thread, as is sqlite3's rule
        g.database_user = request.path


@app.teardown_appcontext
def close_database(error):
    database = g.pop("database", None)
    if database is not None:
        [[kept]] = database.execute("select count(*) from sqlite_master")
        database.close()
        note("database closed", id=g.database_user, kept=kept, error=repr(error))


def use_database(ws, name):
    g.database.execute("create table kept (text)")
    while (message := ws.receive()) != "return":
        if message == "raise":
            raise LookupError(message)
        g.database.execute("insert into kept values (?)", [message])
        [[count]] = g.database.execute("select count(*) from kept")
        ws.send(f"{name} {count} {request.view_args['name']}")


sockets.route("/database/<name>")(use_database)
theirs.route("/theirs/database/<name>", endpoint="theirs_database")(use_database)


@app.get("/sleep/until-closed")
def sleep_until_closed():
    """Answer when the last connection of this process is gone, in 15 seconds at most."""
    note("sleeping", id="until-closed")
    until_s = time.monotonic() + 15
    while WebSocketContext.connection_count() and time.monotonic() < until_s:
        time.sleep(0.01)
    return str(WebSocketContext.connection_count())


@app.route("/late/<id>")
def late(id):
    """Accept when the client is gone."""
    note("asked", id=id)
    environ = request.environ
    poll = select.poll()
    poll.register(environ.get("gunicorn.socket") or environ["werkzeug.socket"], select.POLLIN)
    poll.poll(15_000)
    try:
        return accept_websocket_request(Echo())
    finally:
        note("accepted", id=id)


@app.get("/stats")
def stats():
    figures = sockets.stats()
    return {
        "connections": figures.connections,
        "threads": figures.threads,
        "returns": figures.returns,
        "pid": os.getpid(),
    }


@app.get("/requests")
def requests():
    """How many requests there are in this process, in the server's objects or Flask's.

    Without those that are made for callbacks, which have a class of their own.
    """
    gc.collect()
    names = {"gunicorn.http.message.Request", "werkzeug.serving.WSGIRequestHandler"}
    classes = [type(each) for each in gc.get_objects()]
    found = [cls for cls in classes if f"{cls.__module__}.{cls.__qualname__}" in names]
    return str(len(found) + classes.count(Request))


def create_app():
    """For `--preload` and factories."""
    return app
