"""The client in a browser: what the test vectors, which are no browser's, do not say."""

import contextlib
import json
import queue

import pytest

from .conftest import hello_text
from .peer import Closed

FIRST = "r.first-session"


def drain(connection, count):
    """So many messages."""
    return [connection.receive() for _ in range(count)]


def nothing_is_asked_for(peer, page):
    """No try within a minute of the page's time."""
    page.passes_s(60)
    with pytest.raises(queue.Empty):
        peer.next(timeout_s=0.05)


class TestNames:
    """What is there for whoever knows WebSocket."""

    @pytest.mark.parametrize(
        ("address", "url"),
        [
            ("/ws?a=1", "ws://{}/ws?a=1"),
            ("ws", "ws://{}/ws"),
            ("http://{}/ws", "ws://{}/ws"),
            ("https://example.org/", "wss://example.org/"),
            ("wss://example.org/ws", "wss://example.org/ws"),
        ],
    )
    def test_addresses_become_those_of_websockets(self, page, peer, address, url):
        """Relative ones are the page's."""
        made = page.run(
            """(address) => {
                const connection = new page.Connection(address);
                connection.close();
                return connection.url;
            }""",
            address.format(peer.netloc),
        )
        assert made == url.format(peer.netloc)

    @pytest.mark.parametrize("arguments", ['"http://["', '"/ws", { protocols: ["a b"] }'])
    def test_a_mistake_is_raised_at_once(self, page, arguments):
        """As a WebSocket does."""
        raised = page.run(
            f"""() => {{
                try {{ new page.Connection({arguments}); }} catch (error) {{ return error.name; }}
            }}"""
        )
        assert raised in ("SyntaxError", "TypeError")

    def test_states_are_told_in_order(self, page, peer):
        """With the numbers of a WebSocket, and when the next try is."""
        page.open()
        assert (page.get("state"), page.get("readyState")) == ("connecting", 0)
        first = peer.next()
        first.accept()
        first.send(hello_text())
        page.wait_for_state("open")
        assert (page.get("readyState"), page.get("retryAt")) == (1, None)
        first.cut()
        page.wait_for_state("waiting")
        assert (page.get("readyState"), page.get("attempt")) == (0, 1)
        assert 0 <= page.get("retryAt") - page.run("Date.now()") <= 500
        page.close()
        assert (page.get("readyState"), page.get("retryAt")) == (3, None)
        assert page.run("page.states") == ["open", "waiting", "closed"]
        assert page.run("page.closed") == {"code": 1000, "reason": "", "wasClean": True}

    def test_the_application_is_told_its_subprotocol(self, page):
        """That in the hello; the network connection's is another."""
        page.connect(hello_text(protocol="chat.v2"), protocols="chat.v2")
        assert page.get("protocol") == "chat.v2"

    def test_subprotocols_may_stand_where_a_websocket_has_them(self, page, peer):
        """A string or several, as the second argument."""
        for protocols in ("chat.v2", ["chat.v2", "chat.v1"]):
            page.run("(all) => page.open(all)", protocols)
            offer = peer.next().offer
            assert offer == ["wshandler.1", *([protocols] if protocols == "chat.v2" else protocols)]
            page.close()

    def test_each_event_has_a_property(self, page, peer):
        """Called behind the listeners, with `this`, and changed at any time."""
        page.open()
        page.run(
            """() => {
                const { connection } = page;
                page.told = [];
                for (const type of ["open", "message", "gap", "state", "error", "close"]) {
                    connection.addEventListener(type, () => page.told.push(type));
                    connection[`on${type}`] = function (event) {
                        page.told.push(`on${event.type}`, this === connection);
                    };
                }
            }"""
        )
        connection = peer.next()
        connection.accept()
        connection.send(hello_text())
        page.wait_for_state("open")
        assert page.run("page.told") == ["state", "onstate", True, "open", "onopen", True]
        page.run("() => { page.told = []; page.connection.onmessage = null; }")
        connection.send("mx")
        page.wait_until(lambda: page.run("page.told") == ["message"])
        page.close()
        assert page.run("page.told.slice(-3)") == ["close", "onclose", True]

    def test_a_property_that_throws_ends_nothing(self, page):
        """It is reported as that of a WebSocket, and the connection goes on."""
        connection = page.connect()
        page.run(
            """() => {
                page.reported = 0;
                addEventListener("error", (event) => {
                    page.reported += 1;
                    event.preventDefault();
                }, { once: true });
                page.connection.onmessage = () => { throw new Error("the page's own"); };
            }"""
        )
        connection.send("mx")
        connection.send("p")
        assert connection.receive() == "a1"
        assert page.run("page.reported") == 1

    def test_binaries_come_as_the_page_wants_them(self, page):
        """Blobs, if it does not say."""
        connection = page.connect()
        page.run("page.connection.binaryType = 'blob'")
        page.run(
            """() => page.connection.addEventListener("message", async ({ data }) => {
                page.blob = [...new Uint8Array(await data.arrayBuffer())];
            })"""
        )
        connection.send(b"m\x01\x02")
        page.wait_until(lambda: page.run("page.blob"))
        assert page.run("page.blob") == [1, 2]

    @pytest.mark.parametrize("code", [1001, 1006, 2000, 5000])
    @pytest.mark.parametrize("is_waiting", [False, True])
    def test_a_code_that_a_page_may_not_use_changes_nothing(self, page, code, is_waiting):
        """It raises, as that of a WebSocket does."""
        connection = page.connect()
        if is_waiting:
            connection.cut()
            page.wait_for_state("waiting")
        state = page.get("state")
        raised = page.run(
            "(code) => { try { page.connection.close(code) } catch (error) { return error.name } }",
            code,
        )
        assert raised == "InvalidAccessError"
        assert page.get("state") == state


class TestOpen:
    """The event that says: a new handler."""

    def test_is_told_of_a_new_handler_only(self, page):
        """At first and after a gap, not at a return to the same one."""
        connection = page.connect()
        assert page.events == ["open"]
        for resumed, events in ((True, ["open"]), (False, ["open", "gap", "open"])):
            connection.cut()
            connection = page.come_back()
            connection.accept()
            connection.send(hello_text(resumed=resumed, lost=not resumed))
            page.wait_for_state("open")
            assert page.events == events

    def test_is_not_told_after_a_listener_has_closed(self, page, peer):
        """Nothing is told after the close event."""
        page.open()
        page.run(
            """() => page.connection.addEventListener("state", () => page.connection.close(3000))"""
        )
        connection = peer.next()
        connection.accept()
        connection.send(hello_text())
        assert connection.receive() == Closed(3000)
        assert page.events == ["close"]


class TestSending:
    """At every time, of every kind."""

    def test_what_is_sent_in_any_state_arrives_once_and_in_order(self, page, peer):
        """Before the hello, while it is open, while it waits, at each try."""
        page.open()
        page.send("0")
        connection = peer.next()
        connection.accept()
        page.send("1")
        connection.send(hello_text())
        assert drain(connection, 2) == ["m0", "m1"]
        page.send("2")
        assert connection.receive() == "m2"
        connection.send("a1")
        connection.cut()
        page.send("3")
        page.wait_for_state("waiting")
        page.send("4")
        connection = page.come_back()
        page.send("5")
        connection.accept()
        page.send("6")
        connection.send(hello_text(received=2, resumed=True))
        page.send("7")
        assert drain(connection, 6) == [f"m{number}" for number in range(2, 8)]
        connection.send("a8")
        page.wait_until(lambda: page.get("bufferedAmount") == 0)

    def test_two_losses_in_a_row_double_nothing(self, page):
        """The second one in the midst of what was to be sent again."""
        connection = page.connect()
        for number in range(4):
            page.send(str(number))
        drain(connection, 4)
        for received in (1, 3):
            connection.cut()
            connection = page.come_back()
            connection.accept()
            connection.send(hello_text(received=received, resumed=True))
            assert connection.receive() == f"m{received}"
        assert connection.offer[-1] == f"{FIRST}.0.1.2"

    def test_ten_thousand_queued_messages_arrive_in_order(self, page):
        """In one turn of the page."""
        connection = page.connect()
        connection.cut()
        page.wait_for_state("waiting")
        taken = "Array.from({ length: 10_000 }, (_, n) => page.send(String(n))).every(Boolean)"
        assert page.run(taken)
        connection = page.come_back()
        connection.accept()
        connection.send(hello_text(resumed=True))
        assert drain(connection, 10_000) == [f"m{number}" for number in range(10_000)]
        connection.send("a10000")
        page.wait_until(lambda: page.get("bufferedAmount") == 0)

    def test_there_is_room_for_one_mebibyte(self, page):
        """Of texts as they are on the wire. What is acknowledged makes room."""
        connection = page.connect()
        half = 2**19
        assert page.run("(half) => page.send('ä'.repeat(half / 2))", half)
        assert page.run("(half) => page.send({ hex: '00'.repeat(half) })", half)
        assert page.get("bufferedAmount") == 2 * half
        assert not page.send("x")
        assert page.send("")
        drain(connection, 3)
        connection.send("a1")
        page.wait_until(lambda: page.get("bufferedAmount") == half)
        assert page.send("x")
        assert connection.receive() == "mx"

    def test_there_is_room_for_so_many_empty_messages(self, page):
        """They need memory, too."""
        page.connect().cut()
        page.wait_for_state("waiting")
        assert page.run("() => { let n = 0; while (page.send('')) n += 1; return n; }") == 16_384

    def test_the_page_may_say_how_much_there_is_room_for(self, page):
        """In bytes."""
        page.connect(maxBufferedAmount=3)
        assert page.send("abc")
        assert not page.send("d")

    def test_a_blob_keeps_its_place(self, page):
        """Though it has to be read first; so do views of parts of a buffer, and texts."""
        connection = page.connect()
        page.run(
            """() => {
                const bytes = Uint8Array.of(1, 2, 3, 4);
                page.connection.send(new Blob(["blob"]));
                page.connection.send("text");
                page.connection.send(bytes.subarray(1, 3));
                page.connection.send(bytes.buffer);
                page.connection.send(new DataView(bytes.buffer, 3));
                page.connection.send(new Blob([]));
                bytes.fill(0);
            }"""
        )
        assert drain(connection, 6) == [
            b"mblob",
            "mtext",
            b"m\x02\x03",
            b"m\x01\x02\x03\x04",
            b"m\x04",
            b"m",
        ]

    def test_a_blob_that_cannot_be_read_is_left_out(self, page):
        """And the page is told."""
        connection = page.connect()
        page.run(
            """() => {
                const blob = new Blob(["gone"]);
                blob.arrayBuffer = () => Promise.reject(new DOMException("", "NotReadableError"));
                page.connection.send(blob);
                page.connection.send("next");
            }"""
        )
        assert connection.receive() == "mnext"
        assert page.events == ["open", "error"]
        assert page.get("bufferedAmount") == 4

    def test_nothing_is_taken_after_the_end(self, page):
        """It would never be sent."""
        page.connect()
        page.close()
        assert not page.send("x")


class TestComingBack:
    """When, and when not."""

    def test_delays_grow_by_chance_up_to_thirty_seconds(self, page, peer):
        """So clients that have lost one server do not all come at once."""
        page.open()
        page.run("page.delays = []")
        page.run(
            """() => page.connection.addEventListener("state", () => {
                const { state, retryAt } = page.connection;
                if (state === "waiting") page.delays.push(retryAt - Date.now());
            })"""
        )
        peer.next().refuse()
        for _ in range(11):
            page.come_back().refuse()
        page.wait_until(lambda: len(page.run("page.delays")) == 12)
        for attempt, delay_ms in enumerate(page.run("page.delays")):
            assert 0 <= delay_ms <= min(30_000, 500 * 2**attempt) + 1
        assert page.get("attempt") == 12

    # Not exactly five: the clock of the page has fractions of milliseconds, and tells none.
    @pytest.mark.parametrize(("lasts_s", "attempt"), [(4.9, 2), (5.1, 1)])
    def test_delays_begin_anew_after_a_good_connection(self, page, lasts_s, attempt):
        """One of five seconds is."""
        page.connect().cut()
        connection = page.come_back()
        connection.accept()
        connection.send(hello_text(resumed=True))
        page.wait_for_state("open")
        page.passes_s(lasts_s)
        connection.cut()
        page.wait_for_state("waiting")
        assert page.get("attempt") == attempt

    def test_delays_begin_anew_after_a_cut_amid_messages(self, page):
        """The network was to blame for it, and no server."""
        page.connect().cut()
        connection = page.come_back()
        connection.accept()
        connection.send(hello_text(resumed=True))
        page.wait_for_state("open")
        connection.send("mx")
        page.wait_until(lambda: page.run("page.taken") == ["x"])
        connection.cut()
        page.wait_for_state("waiting")
        assert page.get("attempt") == 1

    @pytest.mark.parametrize("is_network", [True, False])
    def test_it_tries_at_once_when_the_network_or_the_page_is_back(self, page, peer, is_network):
        """No time passes."""
        page.connect().cut()
        page.wait_for_state("waiting")
        if is_network:
            page.playwright.context.set_offline(True)
            page.playwright.context.set_offline(False)
        else:
            page.run("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")
        assert peer.next().offer == ["wshandler.1", f"{FIRST}.0.0.1"]

    def test_a_connection_that_seems_open_is_probed_then(self, page):
        """An answer within five seconds, or it is lost."""
        connection = page.connect()
        page.run("dispatchEvent(new Event('online'))")
        assert connection.receive() == "p"
        connection.send("a0")
        connection.send("mx")
        page.wait_until(lambda: page.taken == ["x"])
        page.passes_s(6)
        assert connection.receive() == "a1"
        assert page.get("state") == "open"
        page.run("dispatchEvent(new Event('online'))")
        assert connection.receive() == "p"
        page.passes_s(5)
        assert connection.receive() == Closed(4000)
        page.wait_for_state("waiting", "connecting")

    def test_after_sleep_it_comes_back_at_once(self, page):
        """No timer has run meanwhile; the first that comes late tells."""
        connection = page.connect()
        page.playwright.clock.fast_forward(3_600_000)
        assert connection.receive() == Closed(4000)
        again = page.come_back()
        assert again.offer[-1] == f"{FIRST}.0.0.1"

    def test_a_clock_that_is_set_back_does_not_hide_a_loss(self, page):
        """Nobody would notice the silence for hours."""
        connection = page.connect()
        page.run(
            "() => { const { now } = Date; Date.now = () => now() - 3_600_000; page.now = now }"
        )
        page.passes_s(5)
        page.run("() => { Date.now = page.now; }")
        assert connection.receive() == Closed(4000)

    def test_a_try_is_over_after_twenty_seconds(self, page, peer):
        """A server may take it, and say nothing."""
        page.open()
        peer.next().accept()
        page.passes_s(20)
        page.wait_for_state("waiting")
        assert page.come_back().offer == []

    @pytest.mark.parametrize("when", ["asked", "accepted", "open", "waiting"])
    def test_after_close_it_never_comes_back(self, page, peer, when):
        """Whatever it was about to do."""
        page.open()
        connection = peer.next()
        if when != "asked":
            connection.accept()
        if when in ("open", "waiting"):
            connection.send(hello_text())
            page.wait_for_state("open")
        if when == "waiting":
            connection.cut()
            page.wait_for_state("waiting")
        page.close()
        assert page.events[-1] == "close"
        if when == "asked":
            connection.refuse()
        nothing_is_asked_for(peer, page)
        page.run("dispatchEvent(new Event('online'))")
        page.run("page.show()")
        nothing_is_asked_for(peer, page)

    def test_a_close_in_a_listener_is_the_last_thing(self, page, peer):
        """No message is delivered behind it."""
        connection = page.connect()
        page.run(
            "() => page.connection.addEventListener('message', () => page.connection.close(3001))"
        )
        connection.send("m1")
        connection.send("m2")
        assert connection.receive() == Closed(3001)
        assert page.taken == ["1"]
        nothing_is_asked_for(peer, page)

    def test_who_has_been_taken_over_stays_away(self, page, peer):
        """The connection is another page's now."""
        page.connect().close(4409)
        page.wait_for_state("closed")
        assert page.run("page.closed.code") == 4409
        nothing_is_asked_for(peer, page)


class TestPlainServers:
    """That know nothing of wshandler.1."""

    def test_tries_alternate_until_one_has_opened(self, page, peer):
        """Chromium fails what gets no answer to its offer, and does not say why."""
        page.open()
        first = peer.next()
        assert first.offer == ["wshandler.1"]
        first.accept(None)
        second = page.come_back()
        assert second.offer == []
        second.refuse()
        third = page.come_back()
        assert third.offer == ["wshandler.1"]
        third.accept(None)
        fourth = page.come_back()
        assert fourth.offer == []
        fourth.accept(None)
        page.wait_for_state("open")
        page.send("hello")
        assert fourth.receive() == "hello"
        fourth.send("mx")
        page.wait_until(lambda: page.taken == ["mx"])

    def test_what_has_worked_twice_is_kept_to(self, page, peer):
        """Once may have been a server that was just starting when it was offered."""
        page.open()
        peer.next().accept(None)
        for _ in range(2):
            connection = page.come_back()
            if connection.offer:
                connection.accept(None)
                connection = page.come_back()
            connection.accept(None)
            page.wait_for_state("open")
            connection.cut()
        for _ in range(3):
            connection = page.come_back()
            assert connection.offer == []
            connection.refuse()

    def test_a_server_that_was_starting_is_offered_it_again(self, page, peer):
        """At the first loss."""
        page.open()
        peer.next().refuse()
        plain = page.come_back()
        assert plain.offer == []
        plain.accept(None)
        page.wait_for_state("open")
        plain.cut()
        connection = page.come_back()
        assert connection.offer == ["wshandler.1"]
        connection.accept()
        connection.send(hello_text())
        page.wait_for_state("open")
        assert page.events == ["open", "open"]

    def test_what_has_worked_is_not_given_up(self, page):
        """A long outage is no reason: a plain connection would be another handler's."""
        connection = page.connect()
        connection.cut()
        for tries in range(1, 6):
            connection = page.come_back()
            assert connection.offer == ["wshandler.1", f"{FIRST}.0.0.{tries}"]
            connection.refuse()

    def test_its_own_buffer_counts(self, page, peer):
        """What a WebSocket has not sent yet."""
        page.open(protocols=["chat"])
        peer.next().accept("chat")
        page.wait_for_state("open")
        amounts = page.run(
            """() => {
                const taken = page.send("x".repeat(2 ** 20));
                return [taken, page.connection.bufferedAmount > 0, page.send("x".repeat(2 ** 20))];
            }"""
        )
        assert amounts == [True, True, False]


class TestGaps:
    """Told if something may be lost, and only then."""

    def test_what_was_not_acknowledged_may_be_dropped(self, page):
        """By option; what is new has the numbers of that."""
        connection = page.connect(repeat=False)
        page.send("lost")
        assert connection.receive() == "mlost"
        connection.cut()
        connection = page.come_back()
        connection.accept()
        connection.send(hello_text(session="second-session", lost=True))
        page.wait_until(lambda: page.events == ["open", "gap", "open"])
        page.send("new")
        assert connection.receive() == "mnew"
        connection.send("a1")
        page.wait_until(lambda: page.get("bufferedAmount") == 0)

    def test_they_are_of_the_history_or_not(self, page):
        """So a page need not load anew for what it knows to be old."""
        connection = page.connect()
        page.run(
            """() => {
                page.gaps = [];
                page.connection.ongap = ({ history }) => page.gaps.push(history);
            }"""
        )
        connection.send("g0a1b2c3d4e5f.1")
        connection.cut()
        connection = page.come_back()
        connection.accept()
        connection.send(hello_text(session="second-session", lost=True))
        page.wait_until(lambda: page.run("page.gaps") == [True, False])

    def test_a_blob_that_is_read_meanwhile_is_dropped_with_the_rest(self, page):
        """And counts no more."""
        connection = page.connect(repeat=False)
        page.run(
            """() => {
                const blob = new Blob(["slow"]);
                blob.arrayBuffer = () => new Promise((_, fail) => { page.fail = fail; });
                page.connection.send(blob);
            }"""
        )
        connection.cut()
        connection = page.come_back()
        connection.accept()
        connection.send(hello_text(session="second-session", lost=True))
        page.wait_until(lambda: "gap" in page.events)
        page.send("new")
        page.run("page.fail(new Error())")
        assert connection.receive() == "mnew"
        assert page.get("bufferedAmount") == 3


class TestNonsense:
    """From a server that does not speak as it has said."""

    @pytest.mark.parametrize(
        "values",
        [
            {"session": "short"},
            {"session": "has spaces in it"},
            {"session": "x" * 129},
            {"session": None},
            {"received": "0"},
            {"received": 0.5},
            {"received": -1},
            {"received": None},
            {"resumed": None},
            {"resumed": True},
            {"ping": 0},
            {"ping": -20},
        ],
        ids=json.dumps,
    )
    def test_a_hello_that_is_wrong_ends_the_connection(self, page, peer, values):
        """The server's part is wrong each time: it is not tried again."""
        page.open()
        connection = peer.next()
        connection.accept()
        connection.send(hello_text(**values))
        assert connection.receive() == Closed(4002)
        assert page.run("page.closed") == {"code": 1002, "reason": "", "wasClean": False}

    @pytest.mark.parametrize("text", ["h", "hnull", "h[]", "h1", "h" + "[" * 100_000])
    def test_a_hello_that_is_none_ends_the_connection(self, page, peer, text):
        """Whatever JSON it is."""
        page.open()
        connection = peer.next()
        connection.accept()
        connection.send(text)
        assert connection.receive() == Closed(4002)

    @pytest.mark.parametrize("text", ["a1.5", "a1e0", "a0x1", "aInfinity", "aNaN", "a1\n"])
    def test_a_number_that_is_none_ends_the_connection(self, page, text):
        """Though JavaScript would take it for one."""
        connection = page.connect()
        page.send("x")
        connection.send(text)
        assert [connection.receive(), connection.receive()] == ["mx", Closed(4002)]


class TestThePage:
    """What it leaves behind, and what may be around it."""

    def test_a_duplicated_tab_has_a_connection_of_its_own(self, page, peer):
        """It has a copy of what is stored, and the first is not disturbed."""
        first = page.connect()
        with page.playwright.expect_popup() as opened:
            page.run("() => { open(location.href); }")
        with contextlib.closing(opened.value) as duplicate:
            duplicate.wait_for_url("**/page.html")
            duplicate.evaluate("page.open()")
            assert peer.next().offer == ["wshandler.1"]
        first.send("p")
        assert first.receive() == "a0"

    def test_nothing_is_stored(self, page):
        """Anywhere that a page can reach."""
        page.connect()
        assert page.run("[localStorage.length, sessionStorage.length, document.cookie]") == [
            0,
            0,
            "",
        ]

    def test_a_frozen_page_gets_what_came_meanwhile(self, page):
        """Once, and goes on."""
        connection = page.connect()
        devtools = page.playwright.context.new_cdp_session(page.playwright)
        devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
        for number in range(3):
            connection.send(f"m{number}")
        devtools.send("Page.setWebLifecycleState", {"state": "active"})
        page.wait_until(lambda: page.taken == ["0", "1", "2"])
        page.passes_s(1)
        messages = []
        while not messages or messages[-1] == "p":  # it was shown again
            messages.append(connection.receive())
        assert messages[-1] == "a3"

    def test_the_content_security_policy_is_strict(self, page):
        """So whatever else works here works with script-src 'self'."""
        page.run(
            """() => {
                const script = document.createElement("script");
                script.textContent = "page.isInjected = true";
                document.body.append(script);
            }"""
        )
        assert not page.run("page.isInjected")

    def test_a_closed_connection_listens_to_nothing(self, page):
        """The page would keep it for as long as it stays."""
        page.connect()
        devtools = page.playwright.context.new_cdp_session(page.playwright)
        before = listeners_of_window(devtools)
        page.close()
        assert before - listeners_of_window(devtools) == 4


def listeners_of_window(devtools):
    """How many there are."""
    window = devtools.send("Runtime.evaluate", {"expression": "window"})["result"]["objectId"]
    found = devtools.send("DOMDebugger.getEventListeners", {"objectId": window})
    return len(found["listeners"])
