"""The pytest plugin: WebSockets in test clients, and nothing left of them after a test.

Not in the package, and imports nothing of it before a test has: the package, and the app that
uses it, are measured by coverage from their first line on, and tests without WebSockets notice
nothing.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask import Flask

    from flask_wshandler.testing import ClientWebSocket, Worker


@pytest.fixture
def wshandler(app: Flask) -> Worker:
    """What the app of the fixture `app` runs on: `clock`, `other_process`, `settle`."""
    from flask_wshandler.testing import worker_of

    return worker_of(app)


class _Kept:
    """What fixtures that outlive a test have opened. Of the main thread."""

    def __init__(self) -> None:
        self._by_fixture: dict[Any, tuple[set[Worker], set[ClientWebSocket]]] = {}
        # The apps that they have made; kept by others.
        self._apps_by_fixture: dict[Any, weakref.WeakSet[Flask]] = {}

    @property
    def workers(self) -> set[Worker]:
        """These workers are still used."""
        return {worker for workers, _ in self._by_fixture.values() for worker in workers}

    @property
    def clients(self) -> set[ClientWebSocket]:
        """These clients are still used."""
        return {client for _, clients in self._by_fixture.values() for client in clients}

    @property
    def apps(self) -> set[Flask]:
        """These apps are still used."""
        return {app for apps in self._apps_by_fixture.values() for app in apps}

    def add(
        self,
        fixture: Any,
        workers: set[Worker],
        clients: set[ClientWebSocket],
        apps: weakref.WeakSet[Flask],
    ) -> None:
        """`fixture` has opened and made these."""
        if clients or workers:
            self._by_fixture[fixture] = workers, clients
        if apps:
            self._apps_by_fixture[fixture] = apps

    def drop(self, fixture: Any) -> None:
        """`fixture` has ended."""
        self._by_fixture.pop(fixture, None)
        _set_aside(self._apps_by_fixture.pop(fixture, ()))

    def end_others(self) -> list[BaseException]:
        """End what nobody keeps; what callbacks raised and no test has seen."""
        kept_clients = self.clients
        unseen = []
        for worker in _live_workers():
            kept_here = kept_clients.intersection(worker.clients)
            if kept_here or worker in self.workers:
                worker.discard(set(worker.clients) - kept_here)
                unseen += worker.take_unseen()
            else:
                unseen += worker.end()
        return unseen


_kept = _Kept()
_APPS_BEFORE: pytest.StashKey[weakref.WeakSet[Flask]] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any],
) -> Generator[None, object, object]:
    """Note what a fixture for several tests has opened."""
    _enable()
    workers, clients = _open()
    apps = _known_apps()
    result = yield
    _enable()
    if fixturedef.scope != "function":
        workers_now, clients_now = _open()
        apps_made = _known_apps() - apps
        _kept.add(fixturedef, workers_now - workers, clients_now - clients, apps_made)
    return result  # as pluggy wants it


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    """What the fixture has opened is not used any more."""
    _kept.drop(fixturedef)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note the apps that are there before the test and its fixtures make some."""
    item.stash[_APPS_BEFORE] = _known_apps()


def pytest_runtest_call() -> None:
    """Whether or not the app comes from a fixture."""
    _enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """After the fixtures' own teardown: close what the test has left, and report failures.

    The apps that it has made are used no more, though there they are until they are collected.
    """
    __tracebackhide__ = True
    errors: list[BaseException] = []
    try:
        yield
    except BaseException as error:
        errors.append(error)
    errors += _kept.end_others()
    before = item.stash.get(_APPS_BEFORE, ())
    _set_aside(_known_apps() - {*before, *_kept.apps})
    if errors:
        raise _chained(errors)


def _chained(errors: list[BaseException]) -> BaseException:
    if len(errors) == 1:
        return errors[0]  # maybe of a project without WebSockets
    from flask_wshandler.testing.failures import chained

    return chained(errors)


def _live_workers() -> list[Worker]:
    # Without it, or half imported, nobody has connected.
    module: Any = sys.modules.get("flask_wshandler.testing.app_under_test")
    return list(module.live_workers()) if hasattr(module, "live_workers") else []


def _open() -> tuple[set[Worker], set[ClientWebSocket]]:
    workers = _live_workers()
    return set(workers), {client for worker in workers for client in worker.clients}


def _known_apps() -> weakref.WeakSet[Flask]:
    module: Any = sys.modules.get("flask_wshandler.collections.current")
    return weakref.WeakSet(getattr(module, "known_apps", ()))


def _set_aside(apps: Iterable[Flask]) -> None:
    """Have collections be those of other apps from now on, if there are any."""
    for app in apps:
        sys.modules["flask_wshandler.collections.current"].set_aside(app)


def _enable() -> None:
    """Have `websocket_connect` in the test clients of all apps there are."""
    if "flask_wshandler.extension" in sys.modules:
        from flask_wshandler.testing.client import enable_all

        enable_all()
