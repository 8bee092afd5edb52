"""The client where no WebSocket gets through: what the test vectors do not say."""

import contextlib
import queue

import pytest

from .conftest import Page, hello_text
from .http_peer import AWAY, HttpPeer
from .peer import Closed, Peer

FIRST = "r.first-session"
KNOWN_S = 600
TEXTS = [
    "",
    "\n",
    "\n\n",
    "a\n\nb\n",
    "a\rb",
    "\r\n",
    "data: x\ndata: y\n\ndata: z",
    'x\nevent: close\ndata: [1000,""]',
    'x\u2028event: close\ndata: [1000,""]',
    "x\n: no comment",
    "ä€😀",
    "\ufeffx",
    "\ufeff\r",
    "\0\x1f\x7f\u2029",
]
BINARIES = [b"", b"\n\n", bytes(range(256)), b"\xff\xfe"]


@pytest.fixture(scope="module")
def module_peer():
    with HttpPeer() as running:
        yield running


@pytest.fixture
def page(page):
    """What another test has found out is too long ago."""
    page.playwright.clock.fast_forward(1000 * (KNOWN_S + 1))
    return page


@contextlib.contextmanager
def another_page(page, peer):
    """One that has loaded nothing yet."""
    playwright = page.playwright.context.new_page()
    with contextlib.closing(playwright):
        playwright.goto(f"http://{peer.netloc}/page.html")
        playwright.wait_for_function("() => globalThis.page")
        yield Page(playwright, peer)


def drain(connection, count):
    """So many messages."""
    return [connection.receive() for _ in range(count)]


def transports(peer):
    """What has been asked for, but for files."""
    return [each for each in peer.requests if not each.startswith("/")]


def hexed(message):
    """As a page of the tests takes it."""
    return message if isinstance(message, str) else {"hex": message.hex()}


def on_wire(message):
    """Of the application's."""
    return "m" + message if isinstance(message, str) else b"m" + message


def poll(page, peer):
    """Connect by a poll; the first, which has not ended."""
    page.open()
    peer.next().accept()
    page.passes_s(3)
    first = peer.next()
    first.accept()
    first.send(hello_text())
    page.wait_for_state("open")
    return first


def next_poll(before, peer, **hello):
    """End one poll; the next, after its hello."""
    before.end()
    following = peer.next()
    following.accept()
    following.send(hello_text(**({"resumed": True} | hello)))
    return following


class TestWays:
    """By WebSocket, by a stream, by polls."""

    def test_a_refused_websocket_is_followed_by_a_stream_at_once(self, page, peer):
        """In the same try: no delay, and nothing is told."""
        page.open()
        connection = peer.next()
        assert transports(peer) == ["websocket", "stream"]
        assert (connection.transport, connection.accepted) == ("stream", "text/event-stream")
        assert connection.offer == ["wshandler.1"]
        assert (page.get("state"), page.get("attempt")) == ("connecting", 0)
        connection.accept()
        connection.send(hello_text())
        connection.send("mx")
        page.wait_until(lambda: page.taken == ["x"])
        assert page.run("page.states") == ["open"]
        assert page.events == ["open"]
        assert page.get("transport") == "stream"

    def test_the_first_message_is_there_soon(self, page, peer):
        """Half a second, by the clock on the wall; most of it is for other tests that run."""
        with another_page(page, peer) as other:
            other.run("() => { page.began = performance.now(); page.open({}); }")
            other.run(
                """() => page.connection.addEventListener(
                    "message", () => { page.took = performance.now() - page.began; })"""
            )
            connection = peer.next()
            connection.accept()
            connection.send(hello_text())
            connection.send("mx")
            other.wait_until(lambda: other.taken)
            assert other.run("page.took") < 500

    def test_a_silent_websocket_has_four_seconds(self, page, peer):
        """Something on the way lets it through, and nothing comes back."""
        peer.websockets = "silence"
        page.open()
        page.wait_until(lambda: transports(peer) == ["websocket"])
        page.passes_s(3.9)
        with pytest.raises(queue.Empty):
            peer.next(timeout_s=0.05)
        page.passes_s(0.2)
        assert peer.next().transport == "stream"
        assert page.get("state") == "connecting"

    @pytest.mark.parametrize("status", [200, 404, 503, None])
    def test_where_there_is_no_stream_it_waits_as_ever(self, page, peer, status):
        """And begins with a WebSocket again. A 200 without the marker is another page's."""
        page.open()
        for attempt in (1, 2):
            connection = page.come_back() if attempt > 1 else peer.next()
            connection.cut() if status is None else connection.refuse(status)
            page.wait_until(lambda: page.get("attempt") == attempt)  # noqa: B023  # at once
        page.come_back()
        assert transports(peer) == ["websocket", "stream"] * 3
        assert set(page.run("page.states")) == {"waiting", "connecting"}

    def test_what_cannot_be_loaded_is_done_without(self, page, peer):
        """As where it is turned off."""
        peer.missing.add("/fallback.js")
        with another_page(page, peer) as other:
            other.open()
            other.wait_for_state("waiting")
            other.passes_s(0.5)
            other.wait_until(lambda: other.get("attempt") == 2)
            assert transports(peer) == ["websocket"] * 2

    def test_it_may_be_turned_off(self, page, peer):
        """By option."""
        page.open(fallback=False)
        page.wait_for_state("waiting")
        assert transports(peer) == ["websocket"]

    def test_another_origin_is_not_asked(self, page, peer):
        """Its server would have to allow such requests before they are made."""
        peer.is_strict = False
        with another_page(page, peer) as other:
            address = f"http://{peer.netloc}/ws".replace("127.0.0.1", "localhost")
            other.run("(address) => { page.connection = new page.Connection(address); }", address)
            other.wait_for_state("waiting")
        assert transports(peer) == ["websocket"]
        assert "/fallback.js" not in peer.requests

    def test_who_does_not_need_it_does_not_load_it(self, page, peer):
        """And says what it has."""
        with Peer() as websockets, another_page(page, peer) as other:
            peer.websockets = websockets
            other.open()
            connection = websockets.next()
            connection.accept()
            connection.send(hello_text())
            other.wait_for_state("open")
            assert other.get("transport") == "websocket"
            connection.cut()
            other.wait_for_state("waiting")
        assert "/fallback.js" not in peer.requests

    def test_a_close_frame_is_an_answer(self, page, peer):
        """A WebSocket that brings one gets through."""
        with Peer() as websockets:
            peer.websockets = websockets
            page.open()
            connection = websockets.next()
            connection.accept()
            connection.close(1013)
            page.wait_for_state("waiting")
            peer.websockets = 400
        assert transports(peer) == ["websocket"]

    @pytest.mark.parametrize("when", ["begins", "asked", "accepted"])
    def test_after_close_nothing_is_asked_for(self, page, peer, when):
        """Whatever it was about to do."""
        page.open()
        if when != "begins":
            connection = peer.next()
        if when == "accepted":
            connection.accept()
        page.close()
        if when == "accepted":
            assert connection.receive() == Closed(AWAY)
        assert page.events == ["close"]
        page.passes_s(60)
        assert transports(peer) == ["websocket", "stream"][: len(transports(peer))]


class TestRemembering:
    """What has got through, for as long as the page stays."""

    def test_the_next_begins_with_what_has_worked(self, page, peer):
        """Returns, and other connections."""
        page.open()
        for _ in range(2):
            connection = page.come_back()
            connection.accept()
            connection.send(hello_text(resumed=bool(connection.offer[1:])))
            page.wait_for_state("open")
            connection.cut()
            page.wait_for_state("waiting")
        page.close()
        page.open()
        peer.next()
        assert transports(peer) == ["websocket", "stream", "stream", "stream"]

    def test_a_failed_try_begins_anew(self, page, peer):
        """The network may be another one."""
        page.connect()
        page.run("page.connection.close()")
        page.open()
        peer.next().refuse()
        page.come_back()
        assert transports(peer) == ["websocket", "stream", "stream", "websocket", "stream"]

    @pytest.mark.parametrize("when", ["later", "online"])
    def test_websockets_are_tried_again(self, page, peer, when):
        """After ten minutes, or in another network: by the next return, to the same handler."""
        first = page.connect(hello_text(ping=None))
        if when == "later":
            page.playwright.clock.fast_forward(1000 * KNOWN_S)
        else:
            page.run("dispatchEvent(new Event('online'))")
            assert first.receive() == "p"
        with Peer() as websockets:
            peer.websockets = websockets
            first.cut()
            page.wait_for_state("waiting")
            page.passes_s(0.5)
            again = websockets.next()
            assert again.offer[1].startswith(f"{FIRST}.0.0.")
            again.accept()
            again.send(hello_text(resumed=True))
            page.wait_for_state("open")
            assert page.get("transport") == "websocket"
            assert page.events == ["open"]
            peer.websockets = 400
            page.close()
            assert again.receive() == Closed(1000)
        page.open()
        assert peer.next().transport == "stream"
        assert transports(peer) == ["websocket", "stream", "websocket", "websocket", "stream"]


class TestStreams:
    """Down."""

    @pytest.mark.parametrize("is_split", [False, True])
    def test_every_message_arrives_as_it_was(self, page, is_split):
        """Also if each byte comes alone."""
        if is_split:
            page.run(
                """() => {
                    const { prototype } = ReadableStreamDefaultReader;
                    const { read } = prototype;
                    page.restore = () => { prototype.read = read; };
                    const rests = new WeakMap();
                    prototype.read = async function () {
                        let rest = rests.get(this) ?? [];
                        if (!rest.length) {
                            const { done, value } = await read.call(this);
                            if (done) return { done };
                            rest = value;
                        }
                        rests.set(this, rest.slice(1));
                        return { value: rest.slice(0, 1) };
                    };
                }"""
            )
        connection = page.connect()
        connection.write(": a comment\n\n")
        for message in TEXTS + BINARIES:
            connection.send(on_wire(message))
            connection.write(":\n\n")
        expected = [*map(hexed, TEXTS + BINARIES)]
        page.wait_until(lambda: len(page.taken) >= len(expected))
        page.run("page.restore?.()")
        assert page.taken == expected

    def test_a_mebibyte_arrives(self, page):
        """As text, with lines' ends of either kind, and as bytes."""
        connection = page.connect()
        for message in ("ab\n" * 2**18, "ä\r" * 2**18, bytes(range(256)) * 2**12):
            connection.send(on_wire(message))
        page.wait_until(lambda: page.run("page.taken.length") == 3)
        assert page.run("page.taken.map((each) => (each.hex ?? each).length)") == [
            3 * 2**18,
            2**19,
            2**21,
        ]

    def test_an_event_without_its_end_has_not_come(self, page):
        """It was cut."""
        connection = page.connect()
        connection.write("data: mx\n")
        connection.cut()
        page.wait_for_state("waiting")
        assert page.taken == []

    def test_a_body_that_is_torn_is_a_loss(self, page, peer):
        """As one that ends."""
        connection = page.connect()
        connection.tear()
        page.wait_for_state("waiting")
        assert page.come_back().offer[1].startswith(FIRST)

    def test_what_is_no_event_is_a_loss(self, page):
        """Base64 that is none."""
        connection = page.connect()
        connection.write("event: binary\ndata: ?\n\n")
        page.wait_for_state("waiting")

    def test_silence_is_a_loss(self, page, peer):
        """As with a WebSocket."""
        connection = page.connect()
        page.passes_s(25.1)
        assert connection.receive() == Closed(AWAY)
        assert page.come_back().transport == "stream"

    @pytest.mark.parametrize(
        ("code", "returns"), [(1000, None), (3005, None), (4409, None), (1012, "n"), (1011, "r")]
    )
    def test_a_close_event_is_as_a_close_frame(self, page, code, returns):
        """Whether it comes back, and for what."""
        connection = page.connect()
        connection.close(code, "since")
        if returns is None:
            page.wait_for_state("closed")
            assert page.run("page.closed") == {"code": code, "reason": "since", "wasClean": True}
        else:
            assert page.come_back().offer[1].startswith(f"{returns}.first-session.0.0.")


class TestPosts:
    """Up."""

    def test_every_message_arrives_as_it_was(self, page):
        """What is no Unicode becomes some, as with a WebSocket."""
        connection = page.connect()
        for message in TEXTS + BINARIES:
            assert page.send(hexed(message))
        assert drain(connection, len(TEXTS + BINARIES)) == [*map(on_wire, TEXTS + BINARIES)]
        page.run("page.connection.send('a\\ud800')")
        assert connection.receive() == "ma\ufffd"

    def test_a_mebibyte_arrives(self, page):
        """Of bytes; alone."""
        connection = page.connect(maxBufferedAmount=2**22)
        page.run(
            """() => {
                page.connection.send("before");
                page.connection.send(new Uint8Array(2 ** 20).fill(255));
                page.connection.send("x".repeat(2 ** 20));
            }"""
        )
        assert drain(connection, 3) == ["mbefore", b"m" + b"\xff" * 2**20, "m" + "x" * 2**20]

    def test_a_turn_is_one_post(self, page, peer):
        """And so is what comes meanwhile. There is one at a time."""
        page.connect()
        peer.has_posts = True
        page.run("() => { for (const each of 'abc') page.connection.send(each); }")
        post = peer.next_post()
        assert (post.session, post.content_type) == ("first-session", "application/json")
        assert (post.first, post.messages) == (1, ["ma", "mb", "mc"])
        page.send("d")
        page.send({"hex": "00"})
        with pytest.raises(queue.Empty):
            peer.next_post(timeout_s=0.05)
        post.answer()
        post = peer.next_post()
        assert (post.first, post.messages) == (4, ["md", b"m\0"])
        post.answer()

    def test_a_post_has_a_size(self, page, peer):
        """About 64 kB, or 500 messages; what is larger goes alone."""
        page.connect()
        peer.has_posts = True
        page.run(
            """() => {
                for (let n = 0; n < 1200; n += 1) page.connection.send(String(n));
                for (const size of [40_000, 20_000, 20_000, 100_000, 1]) {
                    page.connection.send("x".repeat(size));
                }
            }"""
        )
        counts = []
        while sum(counts) < 1205:
            post = peer.next_post()
            assert post.first == sum(counts) + 1
            counts.append(len(post.messages))
            post.answer()
        assert max(counts) <= 500
        assert len(counts) <= 8
        assert counts[-2:] == [1, 1]

    def test_notes_need_no_number(self, page, peer):
        """An acknowledgement, in the time of a WebSocket's."""
        connection = page.connect()
        connection.send("mx")
        page.wait_until(lambda: page.taken == ["x"])
        peer.has_posts = True
        page.passes_s(1)
        post = peer.next_post()
        assert post.messages == ["a1"]
        post.answer()

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [({"Retry_After": "2"}, 2), ({}, 1), ({"Retry_After": "9999"}, 30)],
        ids=["two", "none", "long"],
    )
    def test_what_is_too_much_is_sent_again(self, page, peer, status, headers, seconds):
        """When the server says, within half a minute; what comes meanwhile goes with it."""
        page.connect(hello_text(ping=None))
        peer.has_posts = True
        page.send("a")
        peer.next_post().answer(status, **headers)
        page.run("fetch('/page.html').then((response) => response.text())")
        page.send("b")
        page.passes_s(seconds - 0.1)
        with pytest.raises(queue.Empty):
            peer.next_post(timeout_s=0.05)
        page.passes_s(0.2)
        post = peer.next_post()
        assert (post.first, post.messages) == (1, ["ma", "mb"])
        post.answer()
        assert page.get("state") == "open"

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 500, None])
    def test_a_post_that_is_not_taken_is_a_loss(self, page, peer, status):
        """It comes back, and sends again what was not taken."""
        connection = page.connect()
        peer.has_posts = True
        page.send("a")
        post = peer.next_post()
        post.cut() if status is None else post.answer(status)
        with pytest.raises(queue.Empty):
            connection.receive(timeout_s=0.05)
        page.passes_s(0.3)
        assert connection.receive() == Closed(AWAY)
        peer.has_posts = False
        again = page.come_back()
        again.accept()
        again.send(hello_text(resumed=True))
        assert again.receive() == "ma"

    def test_a_close_event_may_be_slower_than_what_a_post_is_told(self, page, peer):
        """It says more: that this handler has ended in order, and how."""
        connection = page.connect()
        peer.has_posts = True
        page.send("a")
        peer.next_post().answer(404)
        page.run("fetch('/page.html').then((response) => response.text())")
        connection.close(1012)
        assert page.come_back().offer[1].startswith("n.first-session.")

    def test_a_post_that_is_stuck_is_a_loss(self, page, peer):
        """After twenty seconds."""
        connection = page.connect(hello_text(ping=None))
        peer.has_posts = True
        page.send("a")
        post = peer.next_post()
        page.passes_s(19)
        assert page.get("state") == "open"
        page.passes_s(1.1)
        with pytest.raises(queue.Empty):
            connection.receive(timeout_s=0.05)
        page.passes_s(0.3)
        assert connection.receive() == Closed(AWAY)
        page.wait_for_state("waiting", "connecting")
        post.answer()

    def test_what_is_too_large_ends_the_connection(self, page, peer):
        """As with a WebSocket: it would be too large the next time."""
        page.connect()
        peer.has_posts = True
        page.send("a")
        peer.next_post().answer(413)
        page.wait_for_state("closed")
        assert page.run("page.closed.code") == 1009


class TestPolls:
    """Where streams are held back."""

    @pytest.mark.parametrize("has_head", [False, True])
    def test_a_mute_stream_is_followed_by_a_poll(self, page, peer, has_head):
        """After three seconds, in the same try."""
        page.open()
        stream = peer.next()
        if has_head:
            stream.accept()
        page.passes_s(2.9)
        with pytest.raises(queue.Empty):
            peer.next(timeout_s=0.05)
        page.passes_s(0.2)
        first = peer.next()
        if has_head:
            assert stream.receive() == Closed(AWAY)
        assert (first.transport, page.get("state")) == ("poll", "connecting")
        first.accept()
        first.send(hello_text())
        first.send("mx")
        first.end()
        page.wait_until(lambda: page.taken == ["x"])
        assert peer.next().offer[1].startswith(f"{FIRST}.1.0.")
        assert (page.get("transport"), page.run("page.states")) == ("poll", ["open"])

    def test_polls_are_one_after_the_other(self, page, peer):
        """Each a return with what it has; the page is told of nothing."""
        each = poll(page, peer)
        tries = []
        for number in range(1, 5):
            each.send(f"m{number}")
            each = next_poll(each, peer)
            returns, session, received, acknowledged, count = each.offer[1].split(".")
            assert (returns, session) == ("r", "first-session")
            assert (received, acknowledged) == (str(number), "0")
            tries.append(int(count))
        assert tries == sorted(set(tries))
        assert page.taken == ["1", "2", "3", "4"]
        assert (page.run("page.states"), page.events) == (["open"], ["open"])

    def test_a_hello_comes_with_what_follows_it(self, page, peer):
        """Held back until the poll's end; it is waited for as long as for a ping."""
        held = poll(page, peer)
        held.end()
        for number in range(3):
            held = peer.next()
            page.passes_s(24)
            held.accept()
            held.send(hello_text(resumed=True))
            held.send(f"m{number}")
            held.end()
        page.wait_until(lambda: len(page.taken) == 3)
        assert page.run("page.states") == ["open"]

    def test_what_is_sent_does_not_wait_for_a_poll(self, page, peer):
        """Nor is it sent again at a hello. What was taken goes in the next offer."""
        each = poll(page, peer)
        page.send("a")
        assert each.receive() == "ma"
        each.end()
        held = peer.next()
        held.go_on(each)
        page.send("b")
        assert held.receive() == "mb"
        held.accept()
        held.send(hello_text(resumed=True, received=1))
        held.send("a2")
        held = next_poll(held, peer, received=2)
        assert held.offer[1].startswith(f"{FIRST}.0.2.")
        page.send("c")
        assert held.receive() == "mc"

    def test_nothing_is_acknowledged_by_posts(self, page, peer):
        """The next poll says it."""
        each = poll(page, peer)
        each.send("mx")
        each.send("p")
        each = next_poll(each, peer)
        page.passes_s(2)
        page.send("y")
        assert each.receive() == "my"

    def test_a_post_may_be_faster_than_its_poll(self, page, peer):
        """Then it is sent again, in a while."""
        each = poll(page, peer)
        peer.has_posts = True
        page.send("a")
        peer.next_post().answer(404)
        each = next_poll(each, peer)
        page.run("fetch('/page.html').then((response) => response.text())")
        page.passes_s(0.3)
        post = peer.next_post()
        assert (post.first, post.messages) == (1, ["ma"])
        post.answer()
        assert page.run("page.states") == ["open"]

    def test_a_new_handler_is_told_of(self, page, peer):
        """It gets what was not acknowledged."""
        each = poll(page, peer)
        page.send("a")
        assert each.receive() == "ma"
        again = next_poll(each, peer, session="second-session", resumed=False, lost=True)
        assert again.receive() == "ma"
        page.wait_until(lambda: page.events == ["open", "gap", "open"])
        assert page.run("page.states") == ["open"]

    def test_polls_go_on_with_the_handler_after_one_that_has_ended_in_order(self, page, peer):
        """Only the first of them asks for a new one."""
        poll(page, peer).close(1012)
        again = page.come_back()
        assert again.offer[1].startswith("n.first-session.")
        again.accept()
        again.send(hello_text(session="second-session"))
        again.end()
        assert peer.next().offer[1].startswith("r.second-session.")

    def test_a_poll_that_fails_is_a_loss(self, page, peer):
        """It waits, and polls again."""
        poll(page, peer).end()
        peer.next().refuse()
        page.wait_for_state("waiting")
        assert page.come_back().transport == "poll"

    @pytest.mark.parametrize("when", ["poll", "between"])
    def test_close_reaches_the_server(self, page, peer, when):
        """Though it may need one more poll."""
        each = poll(page, peer)
        if when == "between":
            peer.has_posts = True
            page.close(3001, "bye")
            post = peer.next_post()
            assert post.messages == ["c3001 bye"]
            each.end()
            each = peer.next()
            post.answer()
            each.accept()
            each.close(3001)
        else:
            page.close(3001)
            assert each.receive() == Closed(3001)
        assert page.events == ["open", "close"]
        with pytest.raises(queue.Empty):
            peer.next(timeout_s=0.1)


class TestLeaving:
    """How the server hears of it."""

    def test_a_code_and_a_reason_arrive_behind_all_messages(self, page, peer):
        """In one turn."""
        page.connect()
        peer.has_posts = True
        page.run("() => { page.connection.send('last'); page.connection.close(3001, 'bye'); }")
        post = peer.next_post()
        assert (post.first, post.messages) == (1, ["mlast", "c3001 bye"])
        post.answer()
        assert page.run("page.closed") == {"code": 3001, "reason": "bye", "wasClean": True}

    def test_a_page_that_is_hidden_for_good_says_so(self, page, peer):
        """What a browser does by itself for a WebSocket."""
        with another_page(page, peer) as other:
            connection = other.connect()
            other.playwright.goto("about:blank")
            # A browser lets both go at once.
            assert Closed(1001) in drain(connection, 2)

    def test_a_page_in_the_back_forward_cache_just_leaves(self, page, peer):
        """And returns."""
        connection = page.connect()
        page.run("page.hide()")
        assert connection.receive() == Closed(AWAY)
        page.run("page.show()")
        again = peer.next()
        assert again.offer[1].startswith(FIRST)


def test_nothing_is_logged_but_by_the_browser(page, peer):
    """Which names the requests that have failed."""
    logged = []

    def note(message):
        logged.append(message)

    page.playwright.on("console", note)
    connection = page.connect()
    connection.tear()
    page.come_back().refuse()
    page.wait_for_state("waiting")
    page.close()
    page.playwright.remove_listener("console", note)
    of_browser = ("WebSocket connection to", "Failed to load resource")
    assert [each.text for each in logged if not each.text.startswith(of_browser)] == []
