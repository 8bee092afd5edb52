"""Guards of extensions around handler classes and functions, on a blueprint: below `route`, and
given to it."""

import functools

from flask import Blueprint, Flask, abort, request
from flask_httpauth import HTTPTokenAuth
from flask_limiter import Limiter
from flask_login import LoginManager, UserMixin, login_required
from flask_principal import Identity, Permission, Principal, RoleNeed, identity_loaded

from flask_wshandler import WebSocketHandler, WebSockets

PAGE = "/"
HANDLER, FUNCTION = "/guarded/flask-login/handler/below", "/guarded/flask-login/function/below"
HEADERS = {"Authorization": "Bearer ann", "X-Friend": "yes"}

sockets = WebSockets()
blueprint = Blueprint("guarded", __name__, url_prefix="/guarded")
tokens = HTTPTokenAuth()
tokens.verify_token(lambda token: token or None)
limiter = Limiter(lambda: "everybody", storage_uri="memory://")


class User(UserMixin):
    id = "ann"


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def echo(ws):
    while True:
        ws.send(ws.receive())


def friends_only(view):
    @functools.wraps(view)
    def guard(*args, **kwargs):
        if "X-Friend" not in request.headers:
            abort(403)
        return view(*args, **kwargs)

    return guard


GUARDS = {
    "flask-login": (login_required, 401),
    "flask-httpauth": (tokens.login_required, 401),
    "flask-principal": (Permission(RoleNeed("friend")).require(403), 403),
    "own": (friends_only, 403),
    "both": (lambda view: tokens.login_required(friends_only(view)), 401),
}
LIMIT = limiter.limit("1/hour")


def named(name, routed):
    """A class or function of its own, as each route has."""
    if isinstance(routed, type):
        return type(name, (routed,), {})

    def function(ws):
        routed(ws)

    function.__name__ = function.__qualname__ = name
    return function


def route(guard, path):
    for kind, routed in (("handler", Echo), ("function", echo)):
        name = f"{path}_{kind}".replace("-", "_")
        below, given = named(f"{name}_below", routed), named(f"{name}_given", routed)
        sockets.route(f"/{path}/{kind}/below", bp=blueprint)(guard(below))
        sockets.route(f"/{path}/{kind}/given", bp=blueprint, decorators=[guard])(given)


for each, (decorator, _) in GUARDS.items():
    route(decorator, each)
route(LIMIT, "flask-limiter")


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    logins = LoginManager(app)
    logins.request_loader(lambda request: User() if "X-Friend" in request.headers else None)
    principal = Principal(app, use_sessions=False)
    principal.identity_loader(lambda: Identity("ann" if "X-Friend" in request.headers else "eve"))

    @identity_loaded.connect_via(app)
    def provide_role(sender, identity):
        if identity.id == "ann":
            identity.provides.add(RoleNeed("friend"))

    limiter.init_app(app)
    app.register_blueprint(blueprint)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: "page", endpoint="page")
    return app


def promise(site):
    """Strangers get the guard's own answer, and friends get in."""
    for path, (_, status) in GUARDS.items():
        for kind in ("handler/below", "handler/given", "function/below", "function/given"):
            assert site.knock(f"/guarded/{path}/{kind}").status == status
            assert site.ask(f"/guarded/{path}/{kind}", headers=HEADERS) == "hello"
    for kind in ("handler/below", "handler/given", "function/below", "function/given"):
        assert site.ask(f"/guarded/flask-limiter/{kind}") == "hello"
        assert site.knock(f"/guarded/flask-limiter/{kind}").status == 429
