"""The extension: what an app is given, and the routes of handler classes and functions."""

from __future__ import annotations

import functools
import importlib
import itertools
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import blinker
import click
from flask import Blueprint, Flask, current_app
from flask.cli import AppGroup
from flask_sock import Sock

from .bus import Bus, BusStats, NoBus, connect
from .bus.local import LocalBus
from .bus.node import BusNode
from .bus.rpc import Replies
from .collections.history_stats import HistoryStats
from .collections.registry import CollectionRegistry
from .handlers.middleware import Middleware, add_middleware, checked_middleware
from .handlers.slow_callbacks import SlowCallbackWatch
from .history.choice import log_on
from .history.log import Log
from .monitoring import request_report
from .monitoring.process_report import ProcessReporter
from .protocol.errors import SettingError
from .resume.door import Door, Take
from .resume.registry import AnyDoor, Resumables
from .runtime import logs
from .runtime.identity import app_name
from .runtime.log_throttle import LogThrottle
from .runtime.redaction import without_password
from .runtime.timer import Clock, MonotonicClock, Timer
from .settings import Settings
from .transports.engine import Engine
from .transports.stats import Stats
from .upgrade.app_state import AppState, Services, find_state, set_state, state_of
from .upgrade.browser_files import serve_browser_files
from .upgrade.forgotten import look_for_forgotten_apps, stop_looking
from .upgrade.posts import take_posts
from .upgrade.request_thread import use_request_threads
from .upgrade.response import let_upgrades_leave
from .upgrade.routing import admit_upgrades, is_function_view, url_of_route, view_of

_GROUP_NAME = "websockets"

app_initialized = blinker.Namespace().signal(
    "app-initialized", doc="The sender, an app, was given to a `WebSockets` object."
)

Routed = TypeVar("Routed", bound=Callable[..., Any])
Around = TypeVar("Around", bound=Middleware)


class WebSockets(Sock):  # type: ignore[misc]  # flask-sock has no types
    """WebSockets for Flask apps.

    A `flask_sock.Sock`, so a function written for flask-sock runs unchanged under `route`; the
    configuration is read from `WSHANDLER_*` when the app is given. One object may serve several
    apps by `init_app`.

    `clock` is for tests that move time.
    """

    def __init__(self, app: Flask | None = None, *, clock: Clock | None = None) -> None:
        self._clock = clock
        self.app: Flask | None = None
        self.bp: Blueprint | None = None
        self._own_apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        # Each adds a route to an app.
        self._later_routes: list[Callable[[Flask], None]] = []
        self._later_middlewares: list[Middleware] = []
        super().__init__(app)

    def init_app(self, app: Flask) -> None:
        """Read the settings, and let ordinary views receive WebSocket requests.

        Starts no thread and opens nothing. Raises `SettingError` for a bad value.
        """
        state = new_state(app, Settings.from_mapping(app.config), self._clock)
        if find_state(app) is None:
            serve_browser_files(app)
            admit_upgrades(app)
            let_upgrades_leave(app)
            take_posts(app)
            use_request_threads(app, is_function_view)
            request_report.answer_operators(app)
            if _GROUP_NAME not in app.cli.commands:  # else the app has commands of its own there
                app.cli.add_command(CommandGroup())
        stop_looking()
        set_state(app, state)
        self._add_routes(app)
        app_initialized.send(app)

    def _add_routes(self, app: Flask) -> None:
        """What flask-sock does, for any number of its objects and of apps."""
        if self.app is None:
            self.app = app
        if app in self._own_apps:
            return
        self._own_apps.add(app)
        if self.bp is not None:
            name = _free_name(app, self.bp.name)
            app.register_blueprint(self.bp, name=name)
            app.url_build_error_handlers.append(
                functools.partial(url_of_route, name)  # type: ignore[arg-type]  # Flask takes None
            )
        for add in self._later_routes:
            add(app)
        for middleware in self._later_middlewares:
            add_middleware(app, middleware)

    def route(
        self,
        path: str,
        bp: Blueprint | None = None,
        *,
        decorators: Iterable[Callable[..., Any]] = (),
        **options: Any,
    ) -> Callable[[Routed], Routed]:
        """Route a URL to a handler class, or to a flask-sock function.

        A `WebSocketHandler` subclass is instantiated for each client with the URL's variables
        as keyword arguments. A function is called in a thread of its own with an object that
        has simple-websocket's `send`, `receive` and `close`, and with the URL's variables.

        With `bp` the route belongs to that blueprint, else to all apps that this object serves.
        `options` are those of `app.route`. The URL answers WebSocket requests only, others with
        426; for one that answers both, use `app.route` and `accept_websocket_request`.

        Guards answer before the upgrade. They are given as `decorators`, the first of them the
        innermost, or stand below `route`; one above it would guard nothing, so the route is
        refused with RuntimeError at its first request.

        Raises TypeError for what is neither a handler class nor a plain function, wrapped or not.
        """
        if not isinstance(path, str):
            raise TypeError(f'sockets.route needs a path: write @sockets.route("/…"), not {path!r}')

        def decorate(routed: Routed) -> Routed:
            options["websocket"] = True
            view = view_of(routed, decorators)

            def add(scaffold: Flask | Blueprint) -> None:
                scaffold.route(path, **options)(view)

            if bp is not None:
                add(bp)
            elif self.app is None:
                add(self._blueprint())
            else:
                for app in list(self._own_apps):
                    add(app)
                self._later_routes.append(add)
            return routed

        return decorate

    def middleware(self, middleware: Around) -> Around:
        """Have a function around every callback: `@sockets.middleware`.

        `def audited(handler, call, message=None): return call(message)` is called in the place of
        each callback of each client of all apps that this object serves, and of each call of a hub,
        in the client's contexts: `call.__name__` is the callback's name, `call()` calls it, and
        `call(message)` with another message. The first one that is registered is the outermost. One
        that does not call has the callback not happen; what it raises counts as raised by the
        callback; what it returns goes nowhere. A flask-sock function has it around the whole of it.

        Connections that are accepted later have it. Raises TypeError for what can't be called so.
        """
        checked_middleware(middleware)
        for app in list(self._own_apps):
            add_middleware(app, middleware)
        self._later_middlewares.append(middleware)
        return middleware

    def stats(self) -> Stats:
        """The figures of this process, of the current app or of the one given at first."""
        return self._state().engine.stats()

    def bus_stats(self) -> BusStats:
        """What this process has published and received, of the app that `stats` is about."""
        return self._state().collections.bus.stats()

    def history_stats(self) -> HistoryStats:
        """What the history of collections has done here, of the app that `stats` is about."""
        return self._state().collections.logged.stats()

    def _state(self) -> AppState:
        app = current_app._get_current_object() if current_app else self.app  # type: ignore[attr-defined]
        if app is None:
            raise RuntimeError("there is no app here: call it inside an app context")
        return state_of(app)

    def _blueprint(self) -> Blueprint:
        if self.bp is None:
            self.bp = Blueprint("__flask_wshandler", __name__)
        return self.bp


class CommandGroup(AppGroup):
    """`flask websockets …`, whose commands are imported when they are asked for."""

    def __init__(self) -> None:
        super().__init__(_GROUP_NAME, short_help="Routes, connections, and what is wrong.")
        self.help = "Look at the WebSockets of this app, and of its running workers."

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the documentation."""
        del ctx
        return list(self._commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, None if there is none."""
        del ctx
        return self._commands().get(cmd_name)

    def _commands(self) -> dict[str, click.Command]:
        module = importlib.import_module(".cli.commands", __package__)
        commands: dict[str, click.Command] = module.COMMANDS
        return commands


def _free_name(app: Flask, name: str) -> str:
    """A name that no blueprint of `app` has: there may be several `WebSockets` objects."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(each for each in names if each not in app.blueprints)


def new_state(app: Flask, settings: Settings, clock: Clock | None = None) -> AppState:
    """All of an app that has done nothing yet. Raises `SettingError` for a bus there can't be."""
    _bus_of(settings, _name_of(app))  # else the first request would raise it
    app_of = weakref.ref(app)

    def make_services() -> Services:
        app = app_of()
        assert app is not None  # it has the state
        bus = _bus_of(settings, _name_of(app))
        return services_on(app, Engine(settings, clock), bus, clock)

    return state_with(app, settings, clock, make_services)


def state_with(
    app: Flask, settings: Settings, clock: Clock | None, make_services: Callable[[], Services]
) -> AppState:
    """All of an app that is served by what `make_services` makes."""
    throttle = LogThrottle(clock or MonotonicClock())
    return AppState(_name_of(app), settings, throttle, make_services)


def services_on(
    app: Flask,
    engine: Engine,
    bus: Bus,
    clock: Clock | None,
    make_timer: Callable[[Clock], Timer] = Timer,
    make_door: Callable[[str, Take], AnyDoor] = Door,
    make_log: Callable[[Bus, int], Log] = log_on,
) -> Services:
    """What serves an app whose connections `engine` has, and whose collections use `bus`."""
    settings = engine.settings
    slow_callbacks = SlowCallbackWatch(settings.slow_callback_s, logs.of_app(app))
    if settings.slow_callback_s is not None:
        engine.have_woken(slow_callbacks, slow_callbacks.interval_s)
    call = _call_in_context_of(app)

    def ask(*args: Any, **kwargs: Any) -> Replies:
        return collections.node.ask(*args, **kwargs)

    resumables = Resumables(
        engine,
        engine.budget,
        _name_of(app),
        ask,
        _Letters(lambda: collections.node),
        reaches_far=not isinstance(bus, LocalBus | NoBus),
        make_door=make_door,
    )
    reporter = ProcessReporter(engine, bus, resumables, lambda: collections.logged.stats())
    collections = CollectionRegistry(
        bus,
        lease_s=settings.presence_lease,
        clock=clock,
        call=call,
        make_timer=make_timer,
        respond=lambda verb, arguments: (
            reporter.respond(verb, arguments) or resumables.respond(verb, arguments)
        ),
        make_log=lambda: make_log(bus, settings.history_size),
        take_letter=resumables.take_post,
    )
    engine.have_woken(_Reachability(collections), 0)
    return Services(engine, collections, slow_callbacks, resumables)


class _Letters:
    """What processes hand over to each other: see `resume.registry.Letters`."""

    def __init__(self, node: Callable[[], BusNode]) -> None:
        self._node = node

    @property
    def is_up(self) -> bool:
        bus = self._node().bus
        return bus.is_up and not isinstance(bus, NoBus)

    def knows(self, owner: str) -> bool:
        return self._node().knows(owner)

    def be_addressable(self, name: str) -> bool:
        return self._node().be_addressable(name)

    def hand_over(self, owner: str, body: bytes) -> bytes | None:
        return self._node().hand_over(owner, body)


class _Reachability:
    """Has a process that serves WebSockets be asked by others, from its first connection on."""

    def __init__(self, collections: CollectionRegistry) -> None:
        self.due_tick: int | None = None  # the timer's
        # Weak: the engine's timer must not keep what refers to the engine.
        self._collections = weakref.ref(collections)

    def on_time(self, now_s: float) -> float | None:
        del now_s
        collections = self._collections()
        return None if collections is None else collections.be_reachable()


def _name_of(app: Flask) -> str:
    return app_name(app.import_name, app.root_path)


def _bus_of(settings: Settings, app_name: str) -> Bus:
    name = settings.bus_name or (app_name if settings.bus == "local" else None)
    try:
        return connect(settings.bus, name, max_queue_bytes=settings.bus_queue_size)
    except (ValueError, ImportError) as error:
        shown = without_password(settings.bus)
        raise SettingError(f"WSHANDLER_BUS is {shown!r}: {error}") from error


def _call_in_context_of(app: Flask) -> Callable[..., None]:
    """What calls a function in the app's context, as long as there is the app."""
    app_of = weakref.ref(app)

    def call(function: Callable[..., None], *args: Any) -> None:
        app = app_of()
        if app is not None:
            with app.app_context():
                function(*args)

    return call


look_for_forgotten_apps()
