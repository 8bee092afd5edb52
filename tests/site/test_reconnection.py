"""The pages when the network or the server goes and comes back."""

import contextlib
import json
import os
import re
import signal
import time

import pytest
from conftest import Network, Site, Visitors
from playwright.sync_api import expect
from websockets.sync.client import connect

from tests.deadlines import DEADLINE_S

GAME = "/game/ws.ashx"
ROBOT = {"additional_headers": {"Cookie": "player=Robot"}}
# What a browser says that connects to a server which is ending or has ended.
LOSSES = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_SOCKET_NOT_CONNECTED",
    "Connection closed before receiving a handshake response",
    "Unexpected response code: 503",
)
LAMP = "[data-lamp]"
OFF_AIR = re.compile("Off air|Connecting")


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


@pytest.fixture
def network(site):
    """What is between a page and the site."""
    with Network(site.port) as network:
        yield network


@pytest.fixture
def visit_by_network(browser, network):
    """Open a page that the network can lose."""
    opened = Visitors(browser, network.url)
    yield opened.open
    opened.close()
    others = [fault for fault in opened.faults if not any(loss in fault for loss in LOSSES)]
    assert others == []


def enter_game(page, name):
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".token.own")).to_have_count(1)


def say(page, text):
    page.locator("[data-composer] input").fill(text)
    page.locator("[data-composer] button").click()


def test_echo_goes_on_after_a_cut(visit_by_network, network):
    """The handler counts on; what was sent meanwhile has waited."""
    page = visit_by_network("/echo/")
    expect(page.locator(".response")).to_have_count(1)
    network.go_down()
    expect(page.locator(LAMP)).to_have_text(OFF_AIR)
    say(page, "hello")
    expect(page.locator("[data-log] li").last).to_contain_text("WAITS: hello")
    network.come_up()
    expect(page.locator(LAMP)).to_have_text("On air")
    expect(page.locator("[data-log] li").last).to_contain_text("RESPONSE: 2 hello")
    expect(page.locator(".error")).to_have_count(0)


def test_chat_loses_nothing_by_a_cut(visit, visit_by_network, network):
    """Both hear what the other has said meanwhile; nobody has gone."""
    ada, grace = visit_by_network("/chat/?name=Ada"), visit("/chat/?name=Grace")
    expect(ada.locator(".happened").last).to_contain_text("Grace has connected.")
    network.go_down()
    expect(grace.locator(".happened").last).to_contain_text("Ada has lost the connection.")
    say(grace, "Are you there?")
    expect(ada.locator(LAMP)).to_have_text(OFF_AIR)
    say(ada, "Soon")
    expect(ada.locator(".happened").last).to_contain_text("Waits until you are on the air: Soon")
    expect(ada.locator("[data-composer] input")).to_have_value("")
    network.come_up()
    for page in (ada, grace):
        lines = page.locator("[data-log] li")
        begin = lines.filter(has_text="Grace has connected.").count()
        expect(page.locator(".said .text").last).to_have_text("Soon")
        expect(page.locator(".said", has_text="Are you there?")).to_have_count(1)
        expect(page.locator(".said", has_text="Soon")).to_have_count(1)
        expect(page.locator(".happened", has_text="Ada is back.")).to_have_count(1)
        assert begin == 1


def test_player_keeps_the_place_over_a_cut(visit, visit_by_network, network):
    """On the same tile; what the others have done meanwhile is on the board."""
    ada, grace = visit_by_network("/game/"), visit("/game/")
    for page, name in ((ada, "Ada"), (grace, "Grace")):
        enter_game(page, name)
    expect(ada.locator(".token")).to_have_count(2)
    place = ada.locator(".token.own").get_attribute("style")
    network.go_down()
    expect(ada.locator("[data-result]")).to_contain_text("Your place is kept")
    ada.keyboard.press("ArrowLeft")
    grace.keyboard.press("ArrowLeft")
    grace.keyboard.press("ArrowUp")
    grace.keyboard.press("ArrowDown")
    scores = grace.locator(".scores")
    expect(scores).not_to_have_text(ada.locator(".scores").inner_text())
    network.come_up()
    expect(ada.locator("[data-result]")).to_be_empty()
    expect(ada.locator(".token.own")).to_have_attribute("style", place)
    for name in ("Ada", "Grace"):
        rows = [
            page.locator(".scores li").filter(has=page.locator("bdi", has_text=name))
            for page in (ada, grace)
        ]
        expect(rows[0].locator(".score")).to_have_text(rows[1].locator(".score").inner_text())


def test_live_page_shows_who_is_away(visit, visit_by_network, network):
    """And that they have come back."""
    page = visit("/live/")
    expect(visit_by_network("/echo/").locator(LAMP)).to_have_text("On air")
    network.go_down()
    expect(page.locator("[data-own=away]", has_text="1")).to_have_count(1)
    network.come_up()
    expect(page.locator("[data-own=returned]", has_text="1")).to_have_count(1)
    expect(page.locator("[data-own=away]", has_text="1")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "greeting"),
    [("/echo/", "SENT: WebSocket is on the air"), ("/chat/?name=Ada", "Ada has connected.")],
)
def test_reload_is_no_gap(visit, site, path, greeting):
    """A page has a new handler, and says nothing of anything missed; what it sends arrives."""
    page = visit(path)
    log = page.locator("[data-log]")
    greetings = log.locator("li", has_text=greeting)
    expect(greetings).to_have_count(1)
    site.reload()
    say(page, "hello")
    expect(greetings).to_have_count(2)
    expect(log).to_contain_text(re.compile(r"\d hello|said: hello"))
    expect(log).not_to_contain_text("missed")


@pytest.mark.parametrize("path", ["/", "/echo/", "/chat/?name=Ada", "/live/"])
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
    enter_game(page, "Ada")
    site.stop()
    expect(page.locator("[data-result]")).not_to_be_empty()
    site.start()
    expect(page.locator(LAMP)).to_have_text("On air", timeout=20_000)
    expect(page.locator("[data-result]")).to_be_empty()
    expect(page.locator(".scores .name")).to_have_text("Ada")


def test_crash_is_told(visit, site):
    """Whose handler is gone may have missed something."""
    echo, chat, game = visit("/echo/"), visit("/chat/?name=Ada"), visit("/game/")
    enter_game(game, "Ada")
    for page in (echo, chat):
        expect(page.locator(LAMP)).to_have_text("On air")
    site.kill()
    site.start()
    expect(echo.locator(".error")).to_contain_text("Something may have been missed")
    expect(echo.locator(".response", has_text="1 WebSocket is on the air")).to_have_count(2)
    expect(chat.locator("[data-log]")).to_contain_text("Something may have been missed")
    expect(game.locator("[data-result]")).to_have_text("Your place was lost. This is a new one.")
    expect(game.locator(".token.own")).to_have_count(1)


def entered(client):
    """Return the slot of a player who is told the whole state next."""
    return json.loads(client.recv(timeout=DEADLINE_S))["params"][0]


def who_left(client, timeout_s=DEADLINE_S):
    """Return the slots that the next message says are free."""
    message = json.loads(client.recv(timeout=timeout_s))
    return message["params"][0]["left"] if message.get("method") == "changed" else ()


def wait_for_leave(client, slot):
    """Receive changes until that player left; meanwhile walk, since only changes are told."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        for direction in ("left", "right"):
            step = {"jsonrpc": "2.0", "method": "step", "params": [direction]}
            client.send(json.dumps(step))
        with contextlib.suppress(TimeoutError):
            while True:
                if slot in who_left(client, 0.2):
                    return
    pytest.fail(f"the player in slot {slot} is still there after {DEADLINE_S} s")


def test_killed_worker_takes_its_players_along(site):
    """Nobody says good-bye for them, but the other workers notice."""
    with site.clients_on_two_workers(GAME, **ROBOT) as clients:
        first, second = (entered(client) for client in clients)
        os.kill(site.worker_of(clients[0]), signal.SIGKILL)
        while first not in who_left(clients[1]):
            pass
        assert first != second


def test_players_of_a_killed_server_are_gone(site):
    """The board is in a database, but those on it when all was killed do not stay."""
    with connect(f"ws://127.0.0.1:{site.port}{GAME}", **ROBOT) as ghost:
        slot = entered(ghost)
        site.kill()
    site.start()
    with connect(f"ws://127.0.0.1:{site.port}{GAME}", **ROBOT) as robot:
        if entered(robot) != slot:
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
