"""The server's figures, as they move."""

import re

import pytest
from playwright.sync_api import expect


def figure(page, name):
    return page.locator(f"[data-figure={name}]")


def assert_changes(locator, attribute):
    expect(locator).to_have_attribute(attribute, re.compile(r"\d"))
    expect(locator).not_to_have_attribute(attribute, locator.get_attribute(attribute))


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_charts_move(visit, motion):
    """New figures are drawn as they come; between them the chart glides, unless motion disturbs."""
    page = visit("/live/", reduced_motion=motion)
    for chart in ("messages", "connections"):
        assert_changes(page.locator(f"[data-chart={chart}] .line").first, "d")
        if motion == "no-preference":
            assert_changes(page.locator(f"[data-chart={chart}] .moving"), "transform")


def test_connections_are_counted(visit):
    """What the page opens and closes shows in the figures, and costs no threads."""
    page = visit("/live/")
    expect(figure(page, "connections")).to_have_text("1")
    page.get_by_role("button", name="Open 25 connections").click()
    expect(figure(page, "connections")).to_have_text("26", timeout=20_000)
    assert int(figure(page, "threads").inner_text()) < 20
    page.get_by_role("button", name="Close them").click()
    expect(figure(page, "connections")).to_have_text("1", timeout=20_000)


def test_messages_are_counted(visit):
    """A burst shows in both directions, and is over by itself."""
    page = visit("/live/")
    page.get_by_role("button", name="Send a burst").click()
    for name in ("received_per_s", "sent_per_s"):
        expect(figure(page, name)).to_have_text(re.compile(r"\d\d"), timeout=10_000)
    expect(page.get_by_role("button", name="Send a burst")).to_be_enabled(timeout=20_000)
    expect(figure(page, "received_per_s")).to_have_text("0", timeout=10_000)


def test_two_watchers_see_the_same(visit):
    """The figures go to everyone who watches."""
    pages = [visit("/live/"), visit("/live/")]
    for page in pages:
        expect(figure(page, "connections")).to_have_text("2")


def test_each_worker_shows_its_own(visit, site):
    """All workers publish, also one that none of the pages is connected to; the sums are right."""
    page = visit("/live/")
    with site.clients_on_two_workers("/echo/ws.ashx") as clients:
        workers = page.locator(".worker")
        expect(workers).to_have_count(2)
        pids = sorted(site.worker_of(client) for client in clients)
        for index, pid in enumerate(pids):
            expect(workers.nth(index).locator("h3")).to_contain_text(f"Worker {pid}")
        expect(figure(page, "connections")).to_have_text("3")
        # The page's worker has two connections, the other one.
        expect(workers.locator("[data-own=connections]", has_text="1")).to_have_count(1)
        expect(workers.locator("[data-own=connections]", has_text="2")).to_have_count(1)


def test_ends_are_counted_by_code(visit, site):
    """What this page closes, and what another loses; bytes move with a burst."""
    page = visit("/live/")
    ended = page.locator("[data-closes]")
    page.get_by_role("button", name="Open 25 connections").click()
    expect(figure(page, "connections")).to_have_text("26", timeout=20_000)
    before = ended.locator("[data-code='1000'] b")
    count = int(before.inner_text()) if before.count() else 0
    page.get_by_role("button", name="Close them").click()
    expect(ended.locator("[data-code='1000'] b")).to_have_text(str(count + 25), timeout=20_000)
    expect(ended.locator("[data-code='1000']")).to_contain_text("closed")
    page.get_by_role("button", name="Send a burst").click()
    for name in ("received_bytes_per_s", "sent_bytes_per_s"):
        expect(figure(page, name)).to_have_text(re.compile(r"\d{3}"), timeout=10_000)
