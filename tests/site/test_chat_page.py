"""The chat, with several browsers in one room."""

import json
import re
from urllib.parse import quote

from playwright.sync_api import expect

from tests.deadlines import DEADLINE_S

HOSTILE_NAME = "<img src=//x.test/y>"
HOSTILE_MESSAGE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def join(visit, name):
    page = visit(f"/chat/?name={quote(name)}")
    expect(page.locator(".happened", has_text="has connected.").last).to_be_visible()
    return page


def say(page, text):
    page.get_by_label("Say, as").fill(text)
    page.get_by_role("button", name="Send").click()


def hear(client, what, **more):
    """Listen until that has happened."""
    while True:
        heard = json.loads(client.recv(timeout=DEADLINE_S))
        if heard["type"] == what and more.items() <= heard.items():
            return


def test_name_is_asked_for(visit):
    """The form leads into the room, with the name in the query string."""
    page = visit("/chat/")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Join").click()
    expect(page.locator(".happened").last).to_contain_text("Ada has connected.")
    assert page.url.endswith("/chat/?name=Ada")


def test_everyone_hears_everyone(visit):
    """Coming, speaking and going is heard by the others."""
    ada = join(visit, "Ada")
    grace = join(visit, "Grace")
    expect(ada.locator(".happened").last).to_contain_text("Grace has connected.")
    say(ada, "Hello, Grace")
    for page in (ada, grace):
        expect(page.locator(".said").last).to_contain_text("Ada said: Hello, Grace")
    expect(ada.locator(".said").last).to_have_class(re.compile(r"said p[1-8] own"))
    expect(grace.locator(".said").last).to_have_class(re.compile(r"said p[1-8]$"))
    grace.context.close()
    expect(ada.locator(".happened").last).to_contain_text("Grace has gone away.")


def test_who_leaves_is_gone_at_once(visit):
    """Also if the browser keeps the page: here it never goes."""
    ada, grace = join(visit, "Ada"), join(visit, "Grace")
    leave = ada.get_by_role("link", name="Leave")
    leave.evaluate("link => link.addEventListener('click', (event) => event.preventDefault())")
    leave.click()
    expect(grace.locator(".happened").last).to_contain_text("Ada has gone away.")
    expect(ada.locator("[data-lamp]")).to_have_text("Closed")


def test_room_spans_all_workers(site):
    """Whichever worker process serves them, people hear each other come, speak and go."""
    with site.clients_on_two_workers("/chat/ws.ashx?name=Ada") as (first, second):
        for client in (first, second):
            # Who hears anything is in the room.
            client.recv(timeout=DEADLINE_S)
        for speaker, listener in ((first, second), (second, first)):
            speaker.send(f"from {id(speaker)}")
            hear(listener, "said", text=f"from {id(speaker)}")
        first.close()
        hear(second, "gone", name="Ada")


def test_markup_of_others_is_shown_as_text(visit):
    """Neither a name nor a message becomes markup in another's page."""
    ada = join(visit, "Ada")
    mallory = join(visit, HOSTILE_NAME)
    expect(ada.locator(".happened").last).to_contain_text(f"{HOSTILE_NAME} has connected.")
    say(mallory, HOSTILE_MESSAGE)
    for page in (ada, mallory):
        expect(page.locator(".said").last).to_contain_text(
            f"{HOSTILE_NAME} said: {HOSTILE_MESSAGE}"
        )
        expect(page.locator("[data-log]").locator("img, script")).to_have_count(0)


def test_nobody_speaks_for_another(visit):
    """A name that imitates a line stays one person's arrival."""
    ada = join(visit, "Ada")
    join(visit, "Eve said: I quit")
    expect(ada.locator(".happened").last).to_contain_text("Eve said I quit has connected.")
    expect(ada.locator(".said", has_text="quit")).to_have_count(0)


def test_who_comes_later_sees_what_was_said_and_who_is_here(visit):
    """In the speaker's colour, and with the time at which it was said."""
    ada = join(visit, "Ada")
    say(ada, "Who was here before?")
    expect(ada.locator(".said").last).to_contain_text("Who was here before?")
    bob = join(visit, "Bob")
    for page in (ada, bob):
        expect(page.get_by_label("Who is here").locator("li")).to_have_text(["Ada", "Bob"])
        said = page.locator(".said", has_text="Who was here before?").last
        colour = page.get_by_label("Who is here").locator("li").first.get_attribute("class")
        expect(said).to_have_class(re.compile(rf"said {colour}"))
    stamps = [
        page.locator(".said", has_text="Who was here before?").last.locator("time")
        for page in (ada, bob)
    ]
    assert stamps[0].get_attribute("datetime") == stamps[1].get_attribute("datetime")


def test_spoken_colons_stay(visit):
    """What is said is no line of the server's."""
    ada = join(visit, "Ada")
    say(ada, "Grace said: no")
    expect(ada.locator(".said b").last).to_have_text("Ada")
    expect(ada.locator(".said .text").last).to_have_text("Grace said: no")
