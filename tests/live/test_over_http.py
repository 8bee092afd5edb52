"""Where no WebSocket gets through, on every kind of server: the same handlers."""

import contextlib
import itertools
import json
import select
import signal
import time

import pytest

from tests.deadlines import DEADLINE_S

from .over_http import Polling, Streaming, entry
from .returning import Returning
from .wire import RawClient

_ids = itertools.count()
BOTH = [Streaming, Polling]


@pytest.fixture
def id():
    return f"http-{next(_ids)}"


@pytest.fixture(params=BOTH)
def client(server, id, request):
    return request.param(server, f"/record/returning/{id}")


def events_of(server, id):
    return [event["event"] for event in server.events(id) if event["event"] != "message"]


def test_the_head_of_the_answer(client):
    """What proxies and browsers are told."""
    header = client.stream.header
    assert header("Content-Type") == "text/event-stream"
    assert header("Cache-Control") == "no-store, no-transform"
    assert header("X-Accel-Buffering") == "no"
    assert header("X-WSHandler-Send") == "/wshandler/send"
    assert header("Connection") == "close"
    assert header("Transfer-Encoding") == "chunked"
    assert header("Content-Length") is None
    assert header("Date")


def test_a_first_hello(client):
    """As on a WebSocket."""
    assert client.hello | {"session": ""} == {
        "session": "",
        "received": 0,
        "resumed": False,
        "lost": False,
        "ping": 20.0,
        "protocol": None,
    }


MESSAGES = [
    "hello", "", " ", "two\nlines", "\n", "\n\nx\n", "a\r\nb", "\r", "data: x", "ö€😀\0",
    b"", b"\0\xff\n\r", b"m" * 70_000, "x" * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("kind", BOTH)
def test_any_message(server, kind):
    """Both ways, unchanged."""
    client = kind(server, "/echo")
    for message in MESSAGES:
        assert client.ask(message) == message
    client.close()


@pytest.mark.parametrize("kind", BOTH)
def test_many_messages_at_once(server, kind):
    """In one post, and the answers in order."""
    client = kind(server, "/echo")
    assert client.post([entry(f"{number}") for number in range(300)], 1) == 204
    assert [client.recv() for _ in range(300)] == [f"{number}" for number in range(300)]
    client.close()


def test_the_same_handler_goes_on(server, client, id):
    """After a loss, as on a WebSocket; polls are no loss."""
    before = client.ask("count x")
    assert client.ask("count y").split()[:2] == ["2", "2"]
    assert events_of(server, id) == ["open"]
    client.stream.wire.reset()
    if isinstance(client, Streaming):
        server.wait_for_event("away", id)
    client.come_back(resumed=True, received=2)
    if isinstance(client, Streaming):
        assert client.recv() == "while you were away"
    count, number, connection_id, _ = client.ask("count z").split()
    assert (count, number) == ("3", "3")
    assert connection_id == before.split()[2]
    client.close()
    assert server.wait_for_event("close", id)["code"] == 1000


def test_the_client_closes(server, client, id):
    """With a code; the server says it again."""
    assert client.close(4001) == (4001, "")
    assert server.wait_for_event("close", id)["code"] == 4001
    assert client.post([entry("late")], 1) == 404


@pytest.mark.parametrize("kind", BOTH)
def test_the_server_closes(server, id, kind):
    """With a code and a reason in the place of a close frame, behind what was sent."""
    client = kind(server, f"/record/recorder/{id}")
    client.send("burst_and_close 3")
    assert [client.recv() for _ in range(3)] == ["burst 0", "burst 1", "burst 2"]
    assert client.read_close() == (4000, "after the burst")
    assert server.wait_for_event("close", id)["code"] == 4000
    assert client.stream.read_event() is None
    assert client.stream.has_ended_well


@pytest.mark.parametrize("kind", BOTH)
def test_a_callback_raises(server, id, kind):
    """1011, as on a WebSocket."""
    client = kind(server, f"/record/recorder/{id}")
    client.send("raise it")
    assert client.read_close()[0] == 1011
    assert server.wait_for_event("error", id)


def test_a_broadcast(server, id):
    """To clients of every transport."""
    stream, poll = (kind(server, f"/record/returning/{id}-{kind.transport}") for kind in BOTH)
    socket = server.connect("/record/returning/socket")
    stream.ask("count")
    poll.ask("count")
    assert server.get("/broadcast/news").status == 200
    assert stream.recv() == poll.recv() == socket.recv() == "news"
    stream.close()
    poll.close()


@pytest.mark.parametrize("kind", BOTH)
def test_a_function(server, kind):
    """flask-sock's: it is in `receive` all the while."""
    client = kind(server, "/function/ann")
    assert client.recv().startswith("ann ")
    client.send("x")
    assert client.recv()
    client.close()


def test_http_1_0(server):
    """No chunks: the end of the connection is the end."""
    client = Streaming(server, "/echo", version="HTTP/1.0")
    assert client.stream.header("Transfer-Encoding") is None
    assert client.ask("hello\n") == "hello\n"
    assert client.close(4002) == (4002, "")
    assert client.stream.read_event() is None
    poll = Polling(server, "/echo", version="HTTP/1.0")
    assert poll.stream.read_event() is None


def test_what_the_handler_knows(server):
    """Its transport, the subprotocol, and the request; the secret is not in it."""
    client = Streaming(server, "/context?subprotocol=b", "a", "b", headers=[("X-Test", "x")])
    assert client.hello["protocol"] == "b"
    seen = json.loads(client.ask("x"))
    assert (seen["subprotocol"], seen["protocols"]) == ("b", ["a", "b"])
    assert seen["transport"] == "stream"
    client.cut()
    client.come_back(resumed=True)
    assert client.session.split("~")[2] not in json.dumps(seen)
    assert client.session.split("~")[2] not in server.log
    client.close()


def test_from_one_transport_to_another(server, id):
    """The session stays the same: its numbers go on."""
    client = Streaming(server, f"/record/returning/{id}")
    assert client.ask("count").startswith("1 1 ")
    poll = Polling.__new__(Polling)
    poll.__dict__.update(client.__dict__)
    poll.come_back(resumed=True, received=1)
    assert poll.ask("count").startswith("2 2 ")
    socket = Returning.__new__(Returning)
    socket.__dict__.update(poll.__dict__)
    socket.come_back(resumed=True, received=2)
    assert socket.ask("count").startswith("3 3 ")
    assert poll.post([entry("count")], 4) == 404  # it speaks by its WebSocket now
    client.__dict__.update(socket.__dict__)
    client.come_back(resumed=True, received=3)
    assert client.ask("count").startswith("4 4 ")
    assert client.close() == (1000, "")
    server.wait_for_event("close", id)
    assert events_of(server, id) == ["open", "close"]


# Requests that are none.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"X-WSHandler-Offer": ""}, 400),
        ({"X-WSHandler-Offer": "chat"}, 400),
        ({"X-WSHandler-Offer": "wshandler.1, r.abcdefgh.1.1.1, r.abcdefgi.1.1.1"}, 400),
        ({"X-WSHandler": "carrier-pigeon"}, 426),
    ],
)
def test_a_request_that_is_refused(server, headers, status):
    """As a handshake would be; the view's own answer to what is none."""
    offer = {"X-WSHandler": "stream", "X-WSHandler-Offer": "wshandler.1"}
    assert server.get("/echo", headers=offer | headers).status == status


def test_it_can_be_turned_off(start):
    """Then nothing of it is there."""
    server = start("gthread", WSHANDLER_FALLBACK=False)
    offer = {"X-WSHandler": "stream", "X-WSHandler-Offer": "wshandler.1"}
    assert server.get("/echo", headers=offer).status == 426
    with server.raw() as client:
        client.send(
            b"POST /wshandler/send HTTP/1.1\r\nHost: x\r\nX-WSHandler-Session: a~b~c\r\n"
            b"Content-Length: 2\r\n\r\n[]"
        )
        assert client.read_response() == 404


# What is posted.


@pytest.fixture
def stream(server, id):
    return Streaming(server, f"/record/returning/{id}")


@pytest.mark.parametrize(
    "body",
    [
        "", "{}", "null", '"m"', "[1]", '["x"]', '[""]', '["h{}"]', '[{"b": "!"}]', '[{"b": ""}]',
        '[{"b": "YQ=="}]', '["m\\ud800"]', "[" * 10_000, '[["m"]]',
        '["m", null]', "\xff",
    ],
)  # fmt: skip
def test_a_body_of_another_shape(stream, body):
    """400, and nothing of it is taken."""
    assert stream.post(None, 1, body=body) == 400
    assert stream.ask("count").startswith("1 1 ")
    stream.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": None}, 415),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-WSHandler-First": "0"}, 400),
        ({"X-WSHandler-First": "-1"}, 400),
        ({"X-WSHandler-First": "9" * 17}, 400),
        ({"X-WSHandler-First": "\u0661"}, 400),
        ({"X-WSHandler-First": None}, 400),
        ({"X-WSHandler-Session": "a~b~c"}, 404),
        ({"X-WSHandler-Session": "x" * 5000}, 404),
        ({"X-WSHandler-Session": ""}, 404),
    ],
)
def test_headers_that_are_wrong(stream, headers, status):
    """Whoever sends them."""
    headers = {k: v if v is None else v.encode().decode("latin-1") for k, v in headers.items()}
    assert stream.post(["mx"], 1, headers=headers) == status
    assert stream.ask("count").startswith("1 1 ")
    stream.close()


def test_posts_without_a_bus(start):
    """What comes to another worker is to be said again: it may come to the right one."""
    client = Streaming(start("gthread", "--workers", "2", WSHANDLER_BUS="none"), "/echo")
    seen = set()
    until_s = time.monotonic() + DEADLINE_S
    while len(seen) < 2 and time.monotonic() < until_s:
        seen.add(client.post(["p"]))
    assert seen == {204, 503}


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_guessed_session(stream, part):
    """Each part of it counts."""
    parts = stream.session.split("~")
    parts[part] = parts[part][::-1]
    assert stream.post(["mx"], 1, headers={"X-WSHandler-Session": "~".join(parts)}) == 404
    stream.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "HEAD"])
def test_another_method(stream, method):
    """Also the question that browsers ask before a request to another origin."""
    assert stream.post(["mx"], 1, method=method) == 405
    stream.close()


def test_what_was_posted_before(stream):
    """Is passed over; what is missing is said."""
    assert stream.post(["mcount a", "mcount b"], 1) == 204
    assert stream.post(["mcount a", "mcount b", "mcount c"], 1) == 204
    assert stream.post(["mcount e"], 5) == 409
    assert [stream.recv().split()[-1] for _ in range(3)] == ["a", "b", "c"]
    stream.sent = 3
    assert stream.ask("count d").split()[0] == "4"
    stream.close()


def test_an_acknowledgement_that_is_late(stream):
    """One of less than a later one, from a request that was overtaken, changes nothing."""
    for _ in range(3):
        stream.ask("count")
    assert stream.post(["a3"]) == 204
    assert stream.post(["a1"]) == 204
    assert stream.ask("count").startswith("4 ")
    assert stream.post(["a9"]) == 204
    assert stream.read_close()[0] == 1002


def test_a_message_that_is_too_large(start):
    """413; the connection stays."""
    server = start("gthread", WSHANDLER_MAX_MESSAGE_SIZE=1000)
    client = Streaming(server, "/echo")
    assert client.ask("x" * 1000) == "x" * 1000
    assert client.ask("ä" * 500) == "ä" * 500
    assert client.post([entry("x" * 1001)], 3) == 413
    assert client.post([entry("ä" * 501)], 3) == 413
    assert client.post([entry(b"x" * 1001)], 3) == 413
    assert client.post([entry("x" * 2_000_000)], 3) == 413
    assert client.ask("x") == "x"
    client.close()


def test_more_than_the_handler_keeps_up_with(start, id):
    """429; the same again is taken later."""
    server = start("gthread", WSHANDLER_MAX_MESSAGE_SIZE=100_000)
    client = Streaming(server, f"/record/returning/{id}")
    client.send("sleep 0.5")
    server.wait_for_event("message", id)
    big = [entry("x" * 90_000)]
    assert client.post(big, 2) == 204
    assert client.post(big, 3) == 429
    assert client.last_response.getheader("Retry-After") == "1"
    assert client.recv() == "awake"
    server.wait_for(lambda: client.post(big, 3) == 204, "room")
    client.sent = 3
    assert client.ask("count").startswith("4 4 ")


def test_a_post_that_does_not_come(start):
    """It is waited for a while, and holds nobody else up for longer."""
    server = start("gthread")
    client = Streaming(server, "/echo")
    begun = (
        f"POST /wshandler/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-WSHandler-Session: {client.session}\r\nContent-Length: 9\r\n\r\n[".encode()
    )
    with contextlib.ExitStack() as open_ones:
        slow_ones = []

        def is_waited_for():
            # One that has come while another was read was refused itself.
            if not slow_ones or select.select([slow_ones[-1].socket], [], [], 0)[0]:
                slow_ones.append(open_ones.enter_context(RawClient(server.host)))
                slow_ones[-1].send(begun)
            return client.post(["p"]) == 429

        server.wait_for(is_waited_for, "reading of it")
        assert slow_ones[-1].read_response() == 408
    assert client.ask("x") == "x"


def test_another_user_has_stolen_the_session(start, id):
    """Of the app's session, that is."""
    server = start("gthread")
    cookie = server.get("/login/7").getheader("Set-Cookie").partition(";")[0]
    client = Streaming(server, f"/record/returning/{id}", headers=[("Cookie", cookie)])
    assert client.post(["mcount"], 1) == 404
    other = server.get("/login/8").getheader("Set-Cookie").partition(";")[0]
    assert client.post(["mcount"], 1, headers={"Cookie": other}) == 404
    assert client.post(["mcount"], 1, headers={"Cookie": cookie}) == 204
    assert client.recv().startswith("1 ")


# Ends.


def test_who_does_not_poll_again_is_away(start, id):
    """After the time in which a client must be heard of; then it is waited for."""
    server = start("gthread", WSHANDLER_PING_TIMEOUT=0.3, WSHANDLER_RESUME_S=0.3)
    client = Polling(server, f"/record/returning/{id}")
    assert server.wait_for_event("close", id)["code"] == 1006
    assert events_of(server, id) == ["open", "away", "close"]
    client.come_back(resumed=False, lost=True)


def test_a_client_that_says_nothing(start, id):
    """It is asked, as by a ping, and lost if it does not answer."""
    server = start("gthread", WSHANDLER_PING_INTERVAL=0.2, WSHANDLER_PING_TIMEOUT=0.3)
    client = Streaming(server, f"/record/returning/{id}")
    assert client.stream.read_event() == ("", "p")
    assert client.post(["a0"]) == 204
    server.wait_for_event("away", id)


def test_a_page_that_is_left_says_so_though_its_stream_has_ended(start, id):
    """Its browser does both at once: the handler need not wait for a return."""
    server = start("gthread")
    client = Streaming(server, f"/record/returning/{id}")
    client.cut()
    server.wait_for_event("away", id)
    assert client.post(["mx"], 1) == 404
    assert client.post(["mx", "c1001 "], 1) == 204
    assert server.wait_for_event("close", id)["code"] == 1001
    assert server.wait_for_event("message", id)["message"] == "x"
    assert client.post(["c1001 "]) == 404


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_poll_after_a_stream_ends_at_once(start, is_lost):
    """Its hello may be held back until then, and the client waits for it."""
    client = Streaming(start("gthread"), "/echo")
    if is_lost:
        client.cut()
    poll = Polling.__new__(Polling)
    poll.__dict__.update(client.__dict__)
    poll.come_back(resumed=True)
    assert poll.stream.read_event() is None
    assert poll.stream.has_ended_well
    poll.close()


def test_a_poll_ends_in_time(start):
    """Before a proxy would end it."""
    server = start("gthread", WSHANDLER_PING_INTERVAL=0.2)
    client = Polling(server, "/echo")
    assert client.stream.read_event() is None
    client.come_back(resumed=True)
    assert client.stream.read_event() == ("", "p")
    assert client.stream.read_event() is None
    assert client.stream.has_ended_well


@pytest.mark.parametrize("kind", BOTH)
def test_nobody_is_waited_for(start, id, kind):
    """With `WSHANDLER_RESUME_S` 0 the loss is the end, and polls are none."""
    server = start("gthread", WSHANDLER_RESUME_S=0)
    client = kind(server, f"/record/returning/{id}")
    for number in range(3):
        assert client.ask("count").startswith(f"{number + 1} ")
    client.come_back(resumed=True)
    client.cut()
    assert server.wait_for_event("close", id)["code"] == 1006


@pytest.mark.parametrize("server_kind", ["gthread", "gevent", "werkzeug"])
def test_a_stop_says_what_was_taken(start, id, server_kind):
    """A last acknowledgement, exact, then the close; also to a client that polls again."""
    server = start(server_kind)
    clients = [kind(server, f"/record/returning/{id}-{kind.transport}") for kind in BOTH]
    for client in clients:
        for number in range(5):
            assert client.ask("count").startswith(f"{number + 1} ")
    [stream, poll] = clients
    assert poll.stream.read_event() is None
    poll.come_back(resumed=True)  # and has nothing to wait for
    server.signal(signal.SIGINT if server_kind == "werkzeug" else signal.SIGTERM)
    code, _ = stream.read_close()
    assert code in (1001, 1012)
    assert poll.read_close()[0] == code
    for client in clients:
        client.leave()  # as who has been told that this is the connection's end
        assert server.wait_for_event("close", f"{id}-{client.transport}")["code"] == code
    server.wait_for_end()


def test_slow_posts_of_nobody_hold_no_thread(start):
    """Refused at once; and the server does not wait for what has not come, either."""
    server = start("gthread", "--threads", "2", "--keep-alive", "30")
    with contextlib.ExitStack() as slow:
        for _ in range(6):
            client = slow.enter_context(RawClient(server.host))
            client.send(
                b"POST /wshandler/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"X-WSHandler-Session: 00000000~a~b\r\nContent-Length: 9000\r\n\r\n["
            )
            assert client.read_response() == 404
            client.send(b'"')
        assert server.get("/stats").status == 200
        assert Streaming(server, "/echo").ask("x") == "x"
