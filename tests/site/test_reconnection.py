"""The pages when the server goes and comes back."""

import contextlib
import json
import os
import re
import signal
import time

import pytest
from conftest import Site, Visitors
from playwright.sync_api import expect
from websockets.sync.client import connect

from tests.deadlines import DEADLINE_S

GAME = "/game/ws.ashx"
ROBOT = {"additional_headers": {"Cookie": "player=Robot"}}
# What a browser says that connects to a server which is ending or has ended.
LOSSES = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "Connection closed before receiving a handshake response",
    "Unexpected response code: 503",
)
LAMP = "[data-lamp]"


@pytest.fixture
def site(tmp_path):
    """A site of this test's own, to be stopped and started."""
    running = Site(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def visitors(browser, site):
    """Like the shared one, but here the browser may complain about lost connections."""
    opened = Visitors(browser, site.url)
    yield opened
    opened.close()
    others = [fault for fault in opened.faults if not any(loss in fault for loss in LOSSES)]
    assert others == []


@pytest.mark.parametrize("path", ["/echo/", "/chat/?name=Ada", "/live/"])
def test_page_comes_back(visit, site, path):
    """A page shows that it is off the air, tries again, and is on the air without a reload."""
    page = visit(path)
    expect(page.locator(LAMP)).to_have_text("On air")
    site.stop()
    expect(page.locator(LAMP)).to_have_text(re.compile(r"Off air · again in \d+ s|Connecting"))
    site.start()
    expect(page.locator(LAMP)).to_have_text("On air", timeout=20_000)


def test_game_comes_back(visit, site):
    """A player gets a place on the new board by the name in the cookie."""
    page = visit("/game/")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".token.own")).to_have_count(1)
    site.stop()
    expect(page.locator("[data-result]")).not_to_be_empty()
    site.start()
    expect(page.locator(LAMP)).to_have_text("On air", timeout=20_000)
    expect(page.locator("[data-result]")).to_be_empty()
    expect(page.locator(".scores .name")).to_have_text("Ada")


def wait_for_leave(client, slot):
    """Receive changes until that player left; meanwhile walk, since only changes are told."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        client.send("left")
        client.send("right")
        with contextlib.suppress(TimeoutError):
            while True:
                if slot in json.loads(client.recv(timeout=0.2)).get("left", ()):
                    return
    pytest.fail(f"the player in slot {slot} is still there after {DEADLINE_S} s")


def test_killed_worker_takes_its_players_along(site):
    """Nobody says good-bye for them, but the other workers notice."""
    with site.clients_on_two_workers(GAME, **ROBOT) as clients:
        first, second = (json.loads(client.recv(timeout=DEADLINE_S)) for client in clients)
        os.kill(site.worker_of(clients[0]), signal.SIGKILL)
        while first["you"] not in json.loads(clients[1].recv(timeout=DEADLINE_S)).get("left", ()):
            pass
        assert first["you"] != second["you"]


def test_players_of_a_killed_server_are_gone(site):
    """The board is in a database, but those on it when all was killed do not stay."""
    with connect(f"ws://127.0.0.1:{site.port}{GAME}", **ROBOT) as ghost:
        slot = json.loads(ghost.recv(timeout=DEADLINE_S))["you"]
        site.kill()
    site.start()
    with connect(f"ws://127.0.0.1:{site.port}{GAME}", **ROBOT) as robot:
        if json.loads(robot.recv(timeout=DEADLINE_S))["you"] != slot:
            wait_for_leave(robot, slot)


def test_killed_worker_leaves_the_live_page(visit, site):
    """Its figures go, and its successor's come."""
    page = visit("/live/")
    with site.clients_on_two_workers("/echo/ws.ashx") as clients:
        victim, other = (site.worker_of(client) for client in clients)
        expect(page.locator(".worker")).to_have_count(2)
        os.kill(victim, signal.SIGKILL)
        expect(page.locator(".worker", has_text=f"Worker {victim}")).to_have_count(0)
        expect(page.locator(".worker", has_text=f"Worker {other}")).to_have_count(1)
        with site.clients_on_two_workers("/echo/ws.ashx") as others:
            assert victim not in [site.worker_of(client) for client in others]
            expect(page.locator(".worker")).to_have_count(2)


def test_delays_grow_and_differ(visit, site):
    """Back-off with jitter: clients that lost one server do not all come back at once."""
    page = visit("/echo/")
    expect(page.locator(LAMP)).to_have_text("On air")
    site.stop()
    delays = page.evaluate(
        """async (address) => {
            const { Connection } = await import("/static/connection.js");
            const connection = new Connection(address);
            const delays = [];
            const enough = new Promise((resolve) => {
                connection.addEventListener("lost", () => {
                    if (delays.push(connection.retryDelayMs) === 4) resolve();
                });
            });
            connection.open();
            await enough;
            connection.close();
            return delays;
        }""",
        "/echo/ws.ashx",
    )
    for attempt, delay_ms in enumerate(delays):
        ceiling_ms = 500 * 2**attempt
        assert ceiling_ms / 2 <= delay_ms <= ceiling_ms
