"""All places where an app can hang in code of its own, each of which can be made to misbehave."""

import contextlib
import gc
import logging
import os
import threading
import time
from pathlib import Path

import flask
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSessionInterface

from flask_wshandler import WebSocketHandler
from flask_wshandler.handlers import signals

MOMENT_S = 0.2
"""So long does a hook misbehave."""
BLOCKED_S = 0.15

HOOKS = [
    "filter", "formatter", "handler", "record", "connected", "message", "disconnected",
    "got_request_exception", "pushed", "teardown", "json", "session", "del",
]  # fmt: skip
HOWS = ["raises", "exits", "blocks", "re-enters"]


class Misbehaved(Exception):
    """Raised by a hook."""


class _Here(threading.local):
    depth = 0


_here = _Here()
_misbehaving = {}
_until_s = 0.0
_app = {}


def misbehave(hook, how):
    """Have a hook do so for a moment, and no other."""
    global _until_s
    _until_s = time.monotonic() + MOMENT_S
    _misbehaving.clear()
    _misbehaving[hook] = how


def act(hook):
    """What a hook does: nothing, usually."""
    how = _misbehaving.get(hook) if time.monotonic() < _until_s else None
    if how == "raises":
        raise Misbehaved(hook)
    # In a view it would be the server that ends.
    if how == "exits" and threading.current_thread().name.startswith("wshandler-"):
        raise SystemExit(hook)
    if how == "blocks":
        time.sleep(BLOCKED_S)
    if how == "re-enters" and not _here.depth:  # an app that does so without end can't be helped
        _here.depth += 1
        try:
            _re_enter()
        finally:
            _here.depth -= 1


def _re_enter():
    clients, sockets = _app["clients"], _app["sockets"]
    clients.broadcast("again")
    for member in clients:
        member.send("and again")
    with contextlib.suppress(ValueError, RuntimeError):
        clients.add(stranger := WebSocketHandler())
        clients.discard(stranger)
    sockets.bus_stats()
    if flask.current_app:
        sockets.stats()


class _Handler(logging.StreamHandler):
    def emit(self, record):
        act("handler")
        super().emit(record)


class _Formatter(logging.Formatter):
    def format(self, record):
        act("formatter")
        return super().format(record)


def _filter(record):
    act("filter")
    return True


class _Json(DefaultJSONProvider):
    def dumps(self, obj, **kwargs):
        act("json")
        return super().dumps(obj, **kwargs)


class _Sessions(SecureCookieSessionInterface):
    def open_session(self, app, request):
        if request.environ.get("wsgi.url_scheme"):
            act("session")
        return super().open_session(app, request)


class Garbage:
    """Its `__del__` comes when the collector does, in whatever thread, amid whatever."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        act("del")


def make_garbage():
    for _ in range(20):
        Garbage()
    gc.collect(0)


def own_sockets():
    """The files by which others find this process."""
    top = Path(os.environ["XDG_RUNTIME_DIR"], "flask-wshandler")
    return [path for path in top.glob(f"*/{os.getpid()}-*") if path.is_socket()]


def install(app, clients, sockets):
    """Hang all of them in."""
    _app.update(clients=clients, sockets=sockets)
    handler = _Handler()
    handler.setFormatter(_Formatter())
    logging.getLogger().addHandler(handler)
    app.logger.handlers.clear()
    logging.getLogger("flask_wshandler.access").setLevel(logging.INFO)
    loggers = [app.logger, *map(logging.getLogger, logging.root.manager.loggerDict)]
    for logger in loggers:
        if logger is app.logger or logger.name.startswith("flask_wshandler"):
            logger.addFilter(_filter)
    make = logging.getLogRecordFactory()

    def make_record(name, *args, **kwargs):
        if name.startswith(("flask_wshandler", app.name)):  # not the server's own lines
            act("record")
        return make(name, *args, **kwargs)

    logging.setLogRecordFactory(make_record)
    app.json = _Json(app)
    app.session_interface = _Sessions()
    app.teardown_appcontext(lambda error: act("teardown"))
    for name, signal in {
        "connected": signals.websocket_connected,
        "message": signals.message_received,
        "disconnected": signals.websocket_disconnected,
        "got_request_exception": flask.got_request_exception,
        "pushed": flask.appcontext_pushed,
    }.items():
        signal.connect(lambda sender, name=name, **_: act(name), app, weak=False)
