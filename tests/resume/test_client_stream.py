"""The Python client over HTTP: streams of real servers, and of those that mean no good."""

import contextlib
import json
import re
import select
import socket
import ssl
import threading

import pytest

from flask_wshandler.client import ConnectionClosed, HandshakeFailed, HandshakeRefused, connect
from flask_wshandler.client.patience import Clock
from tests.deadlines import DEADLINE_S, wait_for
from tests.live.serving import Server, certificate

from .cutting_proxy import Cut, CuttingProxy
from .server import ResumableServer, Scripted
from .test_client import AT_ONCE, begins_without_clients, client_threads  # noqa: F401

MESSAGES = [
    "hello",
    "",
    "héllo \U0001f600",
    "one\nline\n\n",
    "cr\rlf\r\n",
    'quotes " and \\ and \x00',
    b"\x00\xff\r\n",
    b"",
    "x" * 1_000_000,
    b"y" * 900_000,
]


@pytest.fixture(scope="module", params=["sync", "gthread"])
def server(request, tmp_path_factory):
    """A worker of gunicorn."""
    with serve(request.param, tmp_path_factory) as server:
        yield server


@contextlib.contextmanager
def serve(kind, tmp_path_factory, **settings):
    directory = tmp_path_factory.mktemp("streamed")
    server = Server(kind, directory, app="tests.resume.streamed_app:app", **settings)
    try:
        yield server
    finally:
        server.stop()


def events(server):
    return (server.directory / "events").read_text().splitlines()


def streaming(server, **options):
    return connect(server.url("/echo"), transport="stream", **{**AT_ONCE, **options})


class TestMessages:
    """Both ways."""

    def test_go_and_come_as_they_are(self, server):
        """Texts with any line's ends, binaries, empty ones, and a megabyte."""
        with streaming(server) as client:
            assert client.transport == "stream"
            for message in MESSAGES:
                client.send(message)
                assert client.recv(DEADLINE_S) == message

    def test_of_one_moment_go_together(self, server):
        """In order; by far fewer requests than there are messages."""
        with CountingProxy(server.port) as proxy:
            with connect(f"{proxy.uri}echo", transport="stream") as client:
                for number in range(1000):
                    client.send(str(number))
                assert [client.recv(DEADLINE_S) for _ in range(1000)] == [
                    str(number) for number in range(1000)
                ]
            assert proxy.posts < 300

    def test_are_as_large_as_max_size(self, server):
        """And no larger: 1009."""
        with streaming(server, max_size=1000) as client:
            for message in ("é" * 500, b"\r" * 1000, "\r" * 1000, "\n" * 1000):
                client.send(message)
                assert client.recv(DEADLINE_S) == message
            client.send("x" * 1001)
            with pytest.raises(ConnectionClosed, match="1009"):
                client.recv(DEADLINE_S)

    def test_larger_than_the_server_takes_end_it(self, tmp_path_factory):
        """413, which is 1009 for both ends."""
        with serve("gthread", tmp_path_factory, WSHANDLER_MAX_MESSAGE_SIZE=1000) as server:
            with streaming(server) as client:
                client.send("y" * 1000)
                assert client.recv(DEADLINE_S) == "y" * 1000
                client.send("x" * 1001)
                with pytest.raises(ConnectionClosed, match="1009"):
                    client.recv(DEADLINE_S)
            wait_for(lambda: any(line.startswith("closed 1009") for line in events(server)))


class TestCuts:
    """Of the stream and of POSTs, which are connections alike for a proxy."""

    @pytest.mark.parametrize("kind", [Cut.RESET, Cut.HALF_CLOSE])
    def test_lose_nothing(self, server, kind):
        """300 echoes over as many connections as it takes."""
        plan = [(900 + 97 * number, kind) for number in range(12)]
        self.check(server, plan, 300)

    def test_without_a_word_lose_nothing(self, tmp_path_factory):
        """Neither where nothing is said any more: a clock that is fast does not wait for long."""
        with serve("gthread", tmp_path_factory) as server:
            self.check(server, [(1500, Cut.SILENCE), (600, Cut.SILENCE)], 100)

    def check(self, server, plan, count):
        sent = [f"{number} " + "x" * 50 for number in range(count)]
        with (
            CuttingProxy(server.port, plan) as proxy,
            connect(
                f"{proxy.uri}echo",
                transport="stream",
                open_timeout=20,
                _clock=Clock(speed=20),
                **AT_ONCE,
            ) as client,
        ):
            for message in sent:
                client.send(message)
            assert [client.recv(DEADLINE_S) for _ in sent] == sent
            assert len(proxy.cuts) >= 2
            assert client.gaps == 0
            with pytest.raises(TimeoutError):
                client.recv(0.05)


class TestEnds:
    """How they are told."""

    def test_of_the_server_have_their_code(self, server):
        """A close event, in the place of a close frame."""
        with streaming(server) as client:
            client.send("close 4321 héllo")
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(DEADLINE_S)
            assert (caught.value.code, caught.value.reason) == (4321, "héllo")
        wait_for(lambda: "closed 4321 héllo" in events(server))

    def test_of_the_client_have_theirs(self, server):
        """Behind what was sent, and the thread goes."""
        client = streaming(server)
        client.send("last")
        client.close(4007, "bye")
        assert client.close_code == 4007
        wait_for(lambda: "closed 4007 bye" in events(server))
        wait_for(lambda: not client_threads())

    def test_are_given_by_an_iteration(self, server):
        """With 1000 there is no exception."""
        with streaming(server) as client:
            client.send("a")
            client.send("close 1000 so")
            assert list(client) == ["a"]


class TestTls:
    """wss://"""

    def test_is_spoken_on_both_sockets(self, tmp_path_factory):
        """With the same trust."""
        with serve("tls", tmp_path_factory) as server:
            certificate(server.directory)
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with streaming(server, ssl=context) as client:
                for message in MESSAGES:
                    client.send(message)
                    assert client.recv(DEADLINE_S) == message
            with pytest.raises(ssl.SSLCertVerificationError):
                streaming(server)


class RewritingProxy(CuttingProxy):
    """Takes the word Upgrade out of requests while it `strips`, and counts WebSockets and POSTs."""

    def __init__(self, port):
        super().__init__(port)
        self.strips = False
        self.swallows = False
        self.upgrades = 0
        self.posts = 0
        self.near = []

    def pump(self, near, far, budget):
        self.near.append(near)
        while True:
            ready, _, _ = select.select([near, far, self.stopped], [], [])
            if self.stopped in ready:
                return False
            for channel in ready:
                data = channel.recv(65536)
                if not data:
                    return False
                if channel is near:
                    self.upgrades += b"Upgrade: websocket" in data
                    self.posts += data.count(b"POST /")
                    if self.swallows and b"Upgrade: websocket" in data:
                        self.swallow(near)
                        return False
                    if self.strips:
                        data = re.sub(rb"(Upgrade|Connection): [^\r]*\r\n", b"", data)
                (far if channel is near else near).sendall(data)

    def cut_all(self):
        for near in self.near:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)


CountingProxy = RewritingProxy


class AheadClock(Clock):
    """A clock that is put forward."""

    ahead_s = [0.0]  # noqa: RUF012

    def now_s(self):
        return super().now_s() + self.ahead_s[0]


class TestChoice:
    """transport="auto"."""

    def test_is_a_websocket_where_one_gets_through(self, server):
        """And says so."""
        with connect(server.url("/echo")) as client:
            assert client.transport == "websocket"

    def test_is_a_stream_where_upgrades_are_stripped(self, server):
        """For ten minutes; then a WebSocket is tried first again."""
        clock = AheadClock()
        clock.ahead_s[0] = 0.0
        with RewritingProxy(server.port) as proxy:
            proxy.strips = True
            with connect(f"{proxy.uri}echo", _clock=clock, **AT_ONCE) as client:
                assert client.transport == "stream"
                self.check(client, "one")
                upgrades = proxy.upgrades
                proxy.strips = False
                proxy.cut_all()
                self.check(client, "two")
                assert (client.transport, proxy.upgrades) == ("stream", upgrades)
                clock.ahead_s[0] = 601.0
                proxy.cut_all()
                wait_for(lambda: client.transport == "websocket")
                self.check(client, "three")
                assert client.gaps == 0

    def check(self, client, message):
        client.send(message)
        assert client.recv(DEADLINE_S) == message

    def test_is_a_stream_where_upgrades_are_not_answered(self, server):
        """After half of `open_timeout`."""
        with RewritingProxy(server.port) as proxy:
            proxy.swallows = True
            with connect(f"{proxy.uri}echo", open_timeout=4) as client:
                assert client.transport == "stream"
                self.check(client, "x")

    def test_moves_from_one_to_the_other_with_the_network(self, server):
        """The same handler goes on."""
        with (
            RewritingProxy(server.port) as proxy,
            connect(f"{proxy.uri}echo", **AT_ONCE) as client,
        ):
            self.check(client, "one")
            proxy.strips = True
            proxy.cut_all()
            wait_for(lambda: client.transport == "stream")
            self.check(client, "two")
            assert client.gaps == 0

    def test_is_none_where_the_app_refuses(self, server):
        """Its own answer is told."""
        with pytest.raises(HandshakeRefused, match="403: not you") as caught:
            connect(server.url("/forbidden"))
        assert caught.value.body == b"not you"

    def test_gives_no_further_request_to_a_busy_server(self):
        """429 and 503 are its own answers."""
        with ResumableServer() as server:
            server.refusals += [(503, {}, ""), (429, {}, "")]
            with connect(server.uri, **AT_ONCE) as client:
                assert client.transport == "websocket"
            assert len(server.requests) == 3

    def test_is_for_known_words(self):
        """ValueError at once."""
        with pytest.raises(ValueError, match="transport"):
            connect("ws://127.0.0.1:1/", transport="poll")

    def test_of_a_stream_needs_a_stream(self):
        """A page is none, whatever its status."""
        page = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        with Scripted(page) as server, pytest.raises(HandshakeFailed, match="a page"):
            connect(server.uri, transport="stream")


HELLO = 'h{"session":"0123456789abcdef","received":0,"resumed":false,"ping":20}'
GREETING = f"data: {HELLO}\n\n".encode()
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-WSHandler: stream\r\n"
    b"X-WSHandler-Send: /app/send\r\n\r\n"
)


class PostServer:
    """Begins each stream with the same, and answers POSTs as it is told, with 204 at last."""

    def __init__(self, *answers, body=GREETING, head=HEAD):
        self.answers = list(answers)
        self.opening = head + body
        self.posts = []
        self.streams = []
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"ws://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.threads = [threading.Thread(target=self.accept)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        for channel in self.sockets:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                channel, _ = self.listener.accept()
                self.sockets.append(channel)
                self.threads.append(threading.Thread(target=self.serve, args=(channel,)))
                self.threads[-1].start()

    def serve(self, channel):
        with channel, contextlib.suppress(OSError), channel.makefile("rb") as file:
            while request := self.read(file):
                line, headers, body = request
                if line.startswith(b"GET"):
                    self.streams.append(headers)
                    channel.sendall(self.opening)
                    continue
                assert line == b"POST /app/send HTTP/1.1\r\n"
                self.posts.append((headers, json.loads(body)))
                answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 204 N\r\n\r\n"
                if not answer:
                    return
                channel.sendall(answer)

    def read(self, file):
        line = file.readline()
        headers = {}
        while (field := file.readline().decode()).strip():
            name, _, value = field.partition(":")
            headers[name.lower()] = value.strip()
        return line and (line, headers, file.read(int(headers.get("content-length", 0))))


def answer(status, *headers):
    lines = [f"HTTP/1.1 {status} X", *headers, "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


def streaming_from(server, **options):
    return connect(
        server.uri, **{"transport": "stream", "close_timeout": 0.1, **AT_ONCE, **options}
    )


def posted(server, count):
    """What the first POSTs have said."""
    wait_for(lambda: len(server.posts) >= count)
    return [entries for _, entries in server.posts[:count]]


class TestPosts:
    """What they say, and what is made of the answers."""

    def test_say_who_and_which(self):
        """And have the headers of the first request; one connection for all."""
        with (
            PostServer() as server,
            streaming_from(
                server, origin="https://example.org", additional_headers={"Cookie": "a=b"}
            ) as client,
        ):
            for number in range(3):
                client.send(f"m{number}")
                posted(server, number + 1)
            client.send(b"\x00")
            posted(server, 4)
            assert len(server.sockets) == 2
        offer = server.streams[0]["x-wshandler-offer"]
        assert offer == "wshandler.1"
        assert [headers["x-wshandler-first"] for headers, _ in server.posts[:4]] == list("1234")
        assert [entries for _, entries in server.posts[:4]] == [
            ["mm0"],
            ["mm1"],
            ["mm2"],
            [{"b": "bQA="}],
        ]
        for headers in [server.streams[0], *(headers for headers, _ in server.posts)]:
            assert headers["origin"] == "https://example.org"
            assert headers["cookie"] == "a=b"
        assert server.posts[0][0]["x-wshandler-session"] == "0123456789abcdef"

    @pytest.mark.parametrize(
        "first",
        [answer(429, "Retry-After: 0"), answer(503, "Retry-After: 0"), b"", b"SSH-2.0\r\n\r\n"],
    )
    def test_are_sent_again(self, first):
        """As they were, on the same stream; a busy server says when."""
        with PostServer(first) as server, streaming_from(server) as client:
            client.send("x")
            assert posted(server, 2) == [["mx"], ["mx"]]
            assert {headers["x-wshandler-first"] for headers, _ in server.posts} == {"1"}
            assert len(server.streams) == 1

    def test_that_were_kept_open_are_sent_again(self):
        """A server may close an idle connection at any time."""
        with PostServer() as server, streaming_from(server) as client:
            client.send("a")
            posted(server, 1)
            server.sockets[1].shutdown(socket.SHUT_RDWR)
            client.send("b")
            assert posted(server, 2)[1] == ["mb"]
            assert len(server.streams) == 1

    @pytest.mark.parametrize("status", [404, 409])
    def test_have_the_client_come_back(self, status):
        """With the session."""
        with PostServer(answer(status)) as server, streaming_from(server) as client:
            client.send("x")
            wait_for(lambda: len(server.streams) >= 2)
            assert "r.0123456789abcdef.0.0.1" in server.streams[1]["x-wshandler-offer"]
            assert posted(server, 2)[1] == ["mx"]

    def test_without_answers_have_it_come_back(self):
        """Three of them."""
        with PostServer(b"", b"", b"") as server, streaming_from(server) as client:
            client.send("x")
            wait_for(lambda: len(server.streams) >= 2)
            assert posted(server, 4) == [["mx"]] * 4

    @pytest.mark.parametrize(
        ("status", "code"), [(400, 1002), (302, 1002), (401, 1008), (403, 1008)]
    )
    def test_that_are_refused_end_it(self, status, code):
        """It would be the same the next time."""
        with PostServer(answer(status)) as server, streaming_from(server) as client:
            client.send("x")
            with pytest.raises(ConnectionClosed, match=f"{code} .* {status}"):
                client.recv(DEADLINE_S)

    def test_that_are_too_large_end_it(self):
        """With 1009, which the server is told."""
        with PostServer(answer(413)) as server, streaming_from(server) as client:
            client.send("x")
            with pytest.raises(ConnectionClosed, match="1009"):
                client.recv(DEADLINE_S)
            wait_for(lambda: server.posts[-1][1][-1][:5] == "c1009")

    def test_that_are_too_large_together_go_one_by_one(self):
        """Nothing is lost by that."""
        server = PostServer(answer(503, "Retry-After: 1"), answer(204), *[answer(413)] * 2)
        with server, streaming_from(server) as client:
            client.send("x")
            posted(server, 1)
            for number in range(4):
                client.send(str(number))
            wait_for(lambda: "m3" in server.posts[-1][1])
        sizes = [len(entries) for _, entries in server.posts[2:5]]
        assert sizes == [4, 2, 1]

    def test_are_watched(self):
        """One that is never answered is given up after `open_timeout`."""
        with (
            Scripted(HEAD + GREETING, b"", is_kept=True) as server,
            streaming_from(server, _clock=Clock(speed=50), open_timeout=20) as client,
        ):
            client.send("x")
            wait_for(lambda: len(server.heard) >= 3)
            client._close(1000, "", is_patient=False)


def closes_after(body, **options):
    with PostServer(body=GREETING + body) as server:
        with streaming_from(server, max_size=1000, **options) as client:
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    client.recv(DEADLINE_S)
            code, reason = caught.value.code, caught.value.reason
            wait_for(lambda: server.posts and server.posts[-1][1][-1] == f"c{code} {reason}")
        return code


class TestHostileServers:
    """They are left, and fill no memory."""

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"event: binary\ndata: !!\n\n", 1002),
            (b"event: other\ndata: x\n\n", 1002),
            (b"event: close\ndata: nonsense\n\n", 1002),
            (b'event: close\ndata: [99,""]\n\n', 1002),
            (b"event: close\ndata: " + b"[" * 1000 + b"\n\n", 1002),
            (b"data: x\n\n", 1002),
            (b"data: m\xff\n\n", 1007),
            (b"data: m" + b"x" * 1001 + b"\n\n", 1009),
            (b"data: m" + b"x" * 5000, 1009),
            (b":" + b"x" * 5000, 1009),
            (b"data:\n" * 5000, 1009),
        ],
    )
    def test_that_breach_what_was_agreed_upon_are_told(self, body, code):
        """The code of RFC 6455 for it."""
        assert closes_after(body) == code

    def test_may_say_what_is_ignored(self):
        """Comments, other fields, events without data."""
        body = f": hi\nretry: 5\n\ndata: {HELLO}\nid: 1\n\nevent: x\n\ndata:ma\ndata: b\n\n"
        with PostServer(body=body.encode()) as server, streaming_from(server) as client:
            assert client.recv(DEADLINE_S) == "a\nb"

    @pytest.mark.parametrize(
        "opening",
        [
            b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000,
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
            HEAD.replace(b"/app/send", b"http://other.example/"),
            HEAD.replace(b"/app/send", b"//other.example/"),
            HEAD.replace(b"X-WSHandler: stream", b"X-WSHandler: poll"),
        ],
    )
    def test_that_begin_no_stream_are_left(self, opening):
        """HandshakeFailed."""
        with Scripted(opening, is_kept=True) as server, pytest.raises(HandshakeFailed):
            connect(server.uri, transport="stream")

    def test_that_never_end_a_head_have_their_time(self):
        """A byte now and then, or one answer of the kind 1xx after the other."""
        endless = b"HTTP/1.1 100 C\r\n\r\n" * 500
        with Scripted(endless, is_kept=True) as server, pytest.raises(TimeoutError):
            connect(server.uri, transport="stream", open_timeout=0.2)

    def test_with_bad_chunks_are_come_back_to(self):
        """As after any loss."""
        head = HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = b"0%x\r\n%b\r\nnonsense\r\n" % (len(GREETING), GREETING)
        with PostServer(head=head, body=body) as server, streaming_from(server):
            wait_for(lambda: len(server.streams) >= 3)

    def test_that_end_amid_an_event_have_not_said_it(self):
        """The client comes back for it."""
        whole = f"data: {HELLO}\n\ndata: mwhole\n\n".encode()
        for size in range(0, len(whole), 9):
            answers = (HEAD + whole[:size], HEAD + whole)
            with Scripted(*answers) as server, streaming_from(server) as client:
                assert client.recv(DEADLINE_S) == "whole"
                client._close(1000, "", is_patient=False)
