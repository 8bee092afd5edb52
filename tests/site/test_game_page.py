"""The game, played in several browsers."""

import contextlib
import json
import re

from flask import Flask
from playwright.sync_api import expect
from websockets.sync.client import connect

from example_site.game import HEIGHT, MAX_PLAYERS, WIDTH
from example_site.game_store import GameStore

ROBOT = "player=Robot"
HOSTILE_NAME = "<img src=//x.test/y>"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


# A key that is down for longer than a step takes makes two steps, and on a busy machine that is how
# long Playwright's `press` may take between its two halves.
TAP = """code => {
  for (const type of ["keydown", "keyup"]) {
    document.body.dispatchEvent(new KeyboardEvent(type, { code, bubbles: true }));
  }
}"""


def play(visit, name, **options):
    page = visit("/game/", **options)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".token.own")).to_have_count(1)
    return page


def row(page, name):
    return page.locator(".scores li").filter(has=page.locator("bdi", has_text=name))


def score(page, name):
    return row(page, name).locator(".score")


def position(token):
    """Return the tile a player stands on, as (x, y)."""
    x, y = re.findall(r"([\d.]+)px", token.get_attribute("style"))
    return float(x) - 0.5, float(y) - 0.5


def place(x, y):
    """Return what the style of a token on that tile says."""
    return re.compile(rf"translate\({x + 0.5:g}px, {y + 0.5:g}px\)")


def step(page, keys=("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight")):
    """Press the first of these keys that leads to a free tile; wait until the player is there."""
    own = page.locator(".token.own")
    x, y = position(own)
    taken = [position(token) for token in page.locator(".token:not(.own)").all()]
    targets = [(x, y - 1), (x, y + 1), (x - 1, y), (x + 1, y)]
    key, target = next(
        (key, (x, y))
        for key, (x, y) in zip(keys, targets, strict=True)
        if 0 <= x < WIDTH and 0 <= y < HEIGHT and (x, y) not in taken
    )
    page.evaluate(TAP, key)
    expect(own).to_have_attribute("style", place(*target))
    return target


def arguments(client):
    """Return what the next call of a player's page is given."""
    return json.loads(client.recv(timeout=10))["params"]


@contextlib.contextmanager
def player_without_browser(site):
    """A connected player, and the state it was sent."""
    with connect(
        f"ws://127.0.0.1:{site.port}/game/ws.ashx", additional_headers={"Cookie": ROBOT}
    ) as client:
        yield client, arguments(client)[1]


def test_players_see_each_other(visit):
    """Who joins, moves or goes does so on all boards."""
    ada, grace = play(visit, "Ada"), play(visit, "Grace")
    for page in (ada, grace):
        expect(page.locator(".token")).to_have_count(2)
        expect(page.locator(".scores .name")).to_have_text([re.compile("Ada|Grace")] * 2)
    target = step(ada)
    expect(grace.locator(".token:not(.own)")).to_have_attribute("style", place(*target))
    expect(score(ada, "Ada")).not_to_have_text("1")
    expect(score(grace, "Ada")).to_have_text(score(ada, "Ada").inner_text())
    ada.context.close()
    expect(grace.locator(".token")).to_have_count(1)
    expect(row(grace, "Ada")).to_have_count(0)


def test_late_joiner_sees_the_whole_board(visit):
    """What was painted before is there for who comes later."""
    ada = play(visit, "Ada")
    for _ in range(3):
        step(ada, ("KeyW", "KeyS", "KeyA", "KeyD"))
    expect(score(ada, "Ada")).not_to_have_text("1")
    grace = play(visit, "Grace")
    for page in (ada, grace):
        painted = page.locator(".tiles rect:not([data-owner='0'])")
        expect(painted).to_have_count(int(score(page, "Ada").inner_text()) + 1)


def test_board_spans_all_workers(visit, site):
    """Players see each other, whichever worker process serves them."""
    robots = site.clients_on_two_workers("/game/ws.ashx", additional_headers={"Cookie": ROBOT})
    with robots as clients:
        slots = [arguments(client)[0] for client in clients]
        ada = play(visit, "Ada")
        expect(ada.locator(".token")).to_have_count(3)
        for client, slot in zip(clients, slots, strict=True):
            # One of these at least is free, and paints a second tile.
            for direction in ("up", "down", "left"):
                step = {"jsonrpc": "2.0", "method": "step", "params": [direction]}
                client.send(json.dumps(step))
            expect(ada.locator(f".scores .p{slot} .score")).not_to_have_text("1")
    expect(ada.locator(".token")).to_have_count(1)


def test_page_that_missed_a_change_asks_for_the_whole(visit, site):
    """It shows what is missing, and has a place again if that was what was lost."""
    ada = play(visit, "Ada")
    app = Flask("test")
    app.config["GAME_DATABASE"] = str(site.game_database)
    store = GameStore()
    store.init_app(app)
    # A change that nobody is told of.
    with store.change() as game:
        (seat,) = game.saved().seats
        game.leave(seat.connection_id)
    with player_without_browser(site) as (_, state):
        assert len(state["players"]) == 1
        expect(ada.locator(".token")).to_have_count(2)
        expect(ada.locator(".token.own")).to_have_count(1)
        expect(row(ada, "Ada")).to_have_count(1)
        step(ada)


def test_held_key_walks_on(visit):
    """Holding a key walks until the wall."""
    ada = play(visit, "Ada")
    ada.keyboard.down("ArrowLeft")
    expect(ada.locator(".token.own")).to_have_attribute("style", re.compile(r"translate\(0\.5px"))
    ada.keyboard.up("ArrowLeft")
    ada.keyboard.down("ArrowRight")
    expect(ada.locator(".token.own")).to_have_attribute("style", re.compile(r"translate\(19\.5px"))
    ada.keyboard.up("ArrowRight")
    expect(score(ada, "Ada")).to_have_text(re.compile(r"[2-9]\d|1\d\d"))


def test_finger_steers(visit):
    """The arrow buttons and dragging on the board do what the keys do."""
    # With motion, the page is covered while it fades in, and the drag below does not wait.
    ada = play(visit, "Ada", reduced_motion="reduce", **PHONE)
    token = ada.locator(".token.own")
    board = ada.locator("[data-board]").bounding_box()
    x, y = board["x"] + board["width"] / 2, board["y"] + board["height"] / 2
    ada.mouse.move(x, y)
    ada.mouse.down()
    ada.mouse.move(x - 40, y + 5, steps=4)
    expect(token).to_have_attribute("style", re.compile(r"translate\(0\.5px"))
    ada.mouse.up()
    ada.locator("[data-step=right]").tap()
    expect(token).to_have_attribute("style", re.compile(r"translate\(1\.5px"))


def test_arrow_buttons_work_without_a_pointer(visit):
    """A screen reader's click is one step."""
    ada = play(visit, "Ada", **PHONE)
    token = ada.locator(".token.own")
    before = token.get_attribute("style")
    for direction in ("left", "up", "right"):
        ada.locator(f"[data-step={direction}]").focus()
        ada.keyboard.press("Enter")
    expect(token).not_to_have_attribute("style", before)


def test_markup_of_others_is_shown_as_text(visit):
    """A player's name is text on the board and in the list."""
    ada = play(visit, "Ada")
    play(visit, HOSTILE_NAME)
    expect(ada.locator(".token:not(.own) .token-name")).to_have_text(HOSTILE_NAME)
    expect(row(ada, HOSTILE_NAME)).to_have_count(1)
    expect(ada.locator("[data-game] img, [data-game] image")).to_have_count(0)


def test_name_is_kept_and_can_be_changed(visit):
    """The cookie survives a reload; the link forgets it."""
    ada = play(visit, "  Ada \t Lovelace ")
    ada.reload()
    expect(row(ada, "Ada Lovelace").locator(".you")).to_have_text("you")
    ada.get_by_role("button", name="Play under another name").click()
    expect(ada.get_by_label("Your name")).to_be_focused()


def test_name_without_letters_is_refused(visitors):
    """What can't be shown is no name; the page says so beside the box."""
    page = visitors.open("/game/")
    page.get_by_label("Your name").fill(":::")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_label("Your name")).to_have_accessible_description(
        "That name has no letters that can be shown."
    )
    # The browser's own line about status 400.
    assert [fault for fault in visitors.faults if "400" not in fault] == []
    visitors.faults.clear()


def test_full_game_says_so(visit, site):
    """One player too many is told why, and gets in when a place is free."""
    with contextlib.ExitStack() as robots:
        clients = [
            robots.enter_context(player_without_browser(site))[0] for _ in range(MAX_PLAYERS)
        ]
        ada = visit("/game/")
        ada.get_by_label("Your name").fill("Ada")
        ada.get_by_role("button", name="Play").click()
        expect(ada.locator("[data-result]")).to_have_text("The game is full: 8 are playing.")
        clients[0].close()
        expect(ada.locator(".token")).to_have_count(MAX_PLAYERS)
        expect(ada.locator("[data-result]")).to_be_empty()
