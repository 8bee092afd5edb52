"""What holds for all of the site's pages."""

from urllib.request import urlopen

import pytest

PAGES = ["/", "/echo/", "/chat/", "/chat/?name=Ada", "/game/", "/live/"]
CONNECTED_PAGES = ["/", "/echo/", "/chat/?name=Ada", "/live/"]
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def enter_game(page, name="Ada"):
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Play").click()
    page.locator(".token.own").wait_for()


def assert_fits(page):
    width, available = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= available


def schemes_of(page):
    """Show the page dark, then light."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        yield scheme


def assert_fits_in_both_schemes(page):
    for _ in schemes_of(page):
        assert_fits(page)


@pytest.mark.parametrize("path", CONNECTED_PAGES)
def test_page_connects(visit, path):
    """Each page gets its WebSocket, and says so."""
    page = visit(path)
    page.locator("[data-lamp][data-state=open]", has_text="On air").wait_for()


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("path", PAGES)
def test_page_fits_its_screen(visit, path, device):
    """Nothing sticks out to the side, with the source code open, too; dark and light."""
    page = visit(path, **device)
    assert_fits_in_both_schemes(page)
    details = page.locator("details.source summary")
    if details.count():
        details.click()
        assert_fits_in_both_schemes(page)


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_game_fits_its_screen(visit, device):
    """The board and, on a phone, the arrows are in sight without scrolling."""
    page = visit("/game/", **device)
    enter_game(page)
    for _ in schemes_of(page):
        assert_fits(page)
        last = page.locator("[data-pad]" if device is PHONE else "[data-board]").bounding_box()
        assert last["y"] + last["height"] <= device["viewport"]["height"] + 16


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_game_fits_its_screen_in_any_font(visit, device):
    """One that is so wide that the text above the board takes two lines more."""
    page = visit("/game/", bypass_csp=True, **device)
    enter_game(page)
    page.add_style_tag(content="* { font-family: monospace !important; }")
    page.add_style_tag(content=".page-head { padding-bottom: 3.5rem; }")
    last = "[data-pad]" if device is PHONE else "[data-board]"
    page.wait_for_function(
        f"document.querySelector('{last}').getBoundingClientRect().bottom <= innerHeight + 16"
    )
    assert_fits(page)


def test_theme_follows_the_system(visit):
    """Without a choice, dark is dark and light is light."""
    background = "getComputedStyle(document.body).backgroundColor"
    dark = visit("/", color_scheme="dark").evaluate(background)
    light = visit("/", color_scheme="light").evaluate(background)
    assert dark != light


def test_theme_can_be_chosen(visit):
    """The button overrides the system, and the choice goes from page to page."""
    page = visit("/", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    button = page.get_by_role("button", name="Theme: auto")
    button.click()
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: dark").wait_for()
    dark = page.evaluate(background)
    assert dark != light
    page.get_by_role("link", name="Echo", exact=True).first.click()
    page.locator(".response").first.wait_for()
    assert page.evaluate(background) == dark


def test_front_page_leads_to_the_stations(visit):
    """Each card opens its page."""
    for heading in ("Echo", "Chat", "Game", "Live"):
        page = visit("/")
        page.locator(".stations").get_by_role("link", name=heading).click()
        page.get_by_role("heading", level=1, name=heading).wait_for()


def test_first_tab_stop_skips_the_dial(visit):
    """Who uses the keyboard gets to the page's content at once."""
    page = visit("/live/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("path", PAGES)
def test_page_forbids_foreign_content(site, path):
    """The policy lets a page load and run the site's own files, and nothing inline."""
    with urlopen(site.url + path) as response:
        policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert f"connect-src 'self' ws://127.0.0.1:{site.port} " in policy
