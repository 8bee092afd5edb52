"""The lamp's words: `static/lamp.js`, in a browser."""

import datetime

from playwright.sync_api import expect

SETUP = """async () => {
    document.querySelector("main").innerHTML = "<p data-lamp></p>";
    const { wireLamp } = await import("/static/lamp.js");
    window.connection = new EventTarget();
    wireLamp(connection);
}"""
ENTER = """([state, delayMs]) => {
    connection.state = state;
    connection.retryAt = delayMs && Date.now() + delayMs;
    connection.dispatchEvent(new Event("state"));
}"""


def test_lamp_counts_down(visit):
    """While it waits for the next try; each state has its words."""
    page = visit("/chat/")
    page.clock.install(time=datetime.datetime(2026, 1, 1))
    page.clock.pause_at(datetime.datetime(2026, 1, 2))
    page.evaluate(SETUP)
    lamp = page.locator("[data-lamp]")
    for state, text in (("connecting", "Connecting"), ("open", "On air"), ("waiting", "Off air")):
        page.evaluate(ENTER, [state, None])
        expect(lamp).to_have_text(text)
        expect(lamp).to_have_attribute("data-state", state)
    page.evaluate(ENTER, ["waiting", 3_400])
    for seconds in (4, 3, 2, 1, 0):
        expect(lamp).to_have_text(f"Off air · again in {seconds} s")
        page.clock.run_for(1_000)
    page.evaluate(ENTER, ["closed", None])
    page.clock.run_for(5_000)
    expect(lamp).to_have_text("Closed")
