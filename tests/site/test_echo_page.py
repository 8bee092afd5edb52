"""The tutorial's page."""

import re

from playwright.sync_api import expect


def send(page, text):
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def lines(page):
    return page.locator("[data-log] li")


def test_page_says_it_is_on_the_air(visit):
    """The first line is the tutorial's, and so is the answer."""
    page = visit("/echo/")
    expect(lines(page)).to_contain_text(
        ["SENT: WebSocket is on the air", "RESPONSE: 1 WebSocket is on the air"]
    )


def test_every_client_is_counted_alone(visit):
    """The counter is the handler's, and each client has a handler of its own."""
    first, second = visit("/echo/"), visit("/echo/")
    for page in (first, second):
        expect(lines(page)).to_have_count(2)
        send(page, "hello")
        expect(lines(page).last).to_contain_text("RESPONSE: 2 hello")


def test_markup_is_shown_as_text(visit):
    """What comes back is never markup."""
    page = visit("/echo/")
    expect(lines(page)).to_have_count(2)
    send(page, "<img src=x onerror=alert(1)>")
    expect(lines(page).last).to_contain_text("2 <img src=x onerror=alert(1)>")
    expect(page.locator("[data-log] img")).to_have_count(0)


def test_end_is_an_error_line(visit):
    """A message that the handler refuses as too long ends the connection for good, visibly."""
    page = visit("/echo/")
    expect(lines(page)).to_have_count(2)
    page.get_by_label("Message").evaluate("box => box.removeAttribute('maxlength')")
    send(page, "x" * 5000)
    expect(page.locator(".error")).to_contain_text(
        re.compile(r"ERROR: The connection has ended \(1009")
    )
    expect(page.locator("[data-lamp]")).to_have_text("Closed")
    send(page, "more")
    expect(lines(page).last).to_contain_text("ERROR: This could not be sent.")
    expect(page.get_by_label("Message")).to_have_value("more")


def test_keyboard_sends(visit):
    """Enter is enough, and the box is ready for the next message."""
    page = visit("/echo/")
    expect(lines(page)).to_have_count(2)
    page.keyboard.type("one")
    page.keyboard.press("Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(lines(page).last).to_contain_text("RESPONSE: 3 two")
