"""The pytest plugin: WebSockets in test clients, and nothing left of them after a test.

Not in the package, and imports nothing of it before a test has: the package, and the app that
uses it, are measured by coverage from their first line on, and tests without WebSockets notice
nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
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

    @property
    def workers(self) -> set[Worker]:
        """These workers are still used."""
        return {worker for workers, _ in self._by_fixture.values() for worker in workers}

    @property
    def clients(self) -> set[ClientWebSocket]:
        """These clients are still used."""
        return {client for _, clients in self._by_fixture.values() for client in clients}

    def add(self, fixture: Any, workers: set[Worker], clients: set[ClientWebSocket]) -> None:
        """`fixture` has opened these."""
        if clients or workers:
            self._by_fixture[fixture] = workers, clients

    def drop(self, fixture: Any) -> None:
        """`fixture` has ended."""
        self._by_fixture.pop(fixture, None)

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


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any],
) -> Generator[None, object, object]:
    """Note what a fixture for several tests has opened."""
    _enable()
    workers, clients = _open()
    result = yield
    _enable()
    if fixturedef.scope != "function":
        workers_now, clients_now = _open()
        _kept.add(fixturedef, workers_now - workers, clients_now - clients)
    return result  # as pluggy wants it


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    """What the fixture has opened is not used any more."""
    _kept.drop(fixturedef)


def pytest_runtest_call() -> None:
    """Whether or not the app comes from a fixture."""
    _enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """After the fixtures' own teardown: close what the test has left, and report failures."""
    __tracebackhide__ = True
    errors: list[BaseException] = []
    try:
        yield
    except BaseException as error:
        errors.append(error)
    errors += _kept.end_others()
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


def _enable() -> None:
    """Have `websocket_connect` in the test clients of all apps there are."""
    if "flask_wshandler.extension" in sys.modules:
        from flask_wshandler.testing.client import enable_all

        enable_all()
