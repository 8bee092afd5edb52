"""The Python client, over real sockets."""

import contextlib
import gc
import random
import re
import ssl
import subprocess
import threading
import time

import pytest

from flask_wshandler.client import (
    ConnectionClosed,
    ConnectTimeout,
    Gap,
    HandshakeFailed,
    HandshakeRefused,
    State,
    connect,
)
from flask_wshandler.client.backoff import Backoff
from flask_wshandler.client.patience import Clock
from tests.deadlines import DEADLINE_S, wait_for

from .cutting_proxy import Cut, CuttingProxy
from .server import ResumableServer, Scripted

AT_ONCE = {"_jitter": lambda limit_s: 0.0}
FAST = {"_clock": Clock(speed=50), "open_timeout": 3000, **AT_ONCE}
"""A clock that is 50 times as fast; a handshake is not."""
STREAM = "0a1b2c3d4e5f"
COUNT = 2000
CUTS = 20


@pytest.fixture
def server():
    with ResumableServer() as server:
        yield server


def client_threads():
    return [thread for thread in threading.enumerate() if thread.name == "wshandler-client"]


@pytest.fixture(autouse=True)
def begins_without_clients():
    """Those of an earlier test end by themselves, perhaps a moment later."""
    wait_for(lambda: not client_threads())


class TestMessages:
    """Both ways, over one network connection."""

    def test_go_and_come(self, server):
        """Texts and binaries, also empty ones."""
        with connect(server.uri) as client:
            session = server.session()
            for message in ("hello", "", "héllo \U0001f600", b"\x00\xff", b""):
                session.send(message)
                assert client.recv(DEADLINE_S) == message
                client.send(message)
            client.send(bytearray(b"1"))
            client.send(memoryview(b"2"))
            taken = session.wait_taken(7)
        assert taken == ["hello", "", "héllo \U0001f600", b"\x00\xff", b"", b"1", b"2"]

    def test_an_iteration_gives_them_and_ends_with_1000(self, server):
        """No exception: it was wanted."""
        with connect(server.uri) as client:
            session = server.session()
            session.send("a")
            session.send("b")
            session.websocket.close(1000)
            assert list(client) == ["a", "b"]
            assert client.state is State.CLOSED
            assert client.close_code == 1000

    def test_an_iteration_raises_for_any_other_end(self, server):
        """What had come before is given first."""
        with connect(server.uri) as client:
            session = server.session()
            session.send("a")
            session.websocket.close(4403, "go away")
            messages = iter(client)
            assert next(messages) == "a"
            with pytest.raises(ConnectionClosed, match="4403 go away") as caught:
                next(messages)
            assert (caught.value.code, caught.value.reason) == (4403, "go away")
            with pytest.raises(ConnectionClosed, match="4403"):
                client.send("x")

    def test_are_waited_for_as_long_as_said(self, server):
        """TimeoutError, and the connection is as it was."""
        with connect(server.uri) as client:
            with pytest.raises(TimeoutError):
                client.recv(0.01)
            with pytest.raises(TimeoutError):
                client.recv(0)
            server.session().send("late")
            assert client.recv(DEADLINE_S) == "late"

    @pytest.mark.parametrize("message", [None, 1, ["a"], {"a": 1}])
    def test_of_other_types_are_a_mistake(self, server, message):
        """TypeError, in the caller."""
        with connect(server.uri) as client, pytest.raises(TypeError, match="str or bytes"):
            client.send(message)

    def test_that_are_no_utf_8_are_a_mistake(self, server):
        """In the caller as well; nothing has happened."""
        with connect(server.uri) as client:
            with pytest.raises(UnicodeEncodeError):
                client.send("\ud800")
            client.send("x")
            assert server.session().wait_taken(1) == ["x"]

    def test_come_from_many_threads_each_in_its_order(self, server):
        """None is lost, none comes twice."""
        with connect(server.uri) as client:
            session = server.session()

            def send(name):
                for number in range(250):
                    client.send(f"{name} {number}")

            threads = [threading.Thread(target=send, args=(name,)) for name in "abcdefgh"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            taken = session.wait_taken(2000)
        for name in "abcdefgh":
            mine = [message for message in taken if message[0] == name]
            assert mine == [f"{name} {number}" for number in range(250)]

    def test_are_acknowledged_by_the_clock(self):
        """One second; here a fiftieth of it."""
        with (
            ResumableServer(ping=3600) as server,
            connect(server.uri, **FAST),
        ):
            session = server.session()
            session.send("x")
            with session.has_taken:
                assert session.has_taken.wait_for(lambda: not len(session.endpoint), DEADLINE_S)

    def test_larger_than_max_size_end_it(self, server):
        """With 1009, as by RFC 6455; it would be the same next time."""
        with connect(server.uri, max_size=1000) as client:
            server.session().send("x" * 1001)
            with pytest.raises(ConnectionClosed, match="1009"):
                client.recv(DEADLINE_S)

    @pytest.mark.parametrize("place", [None, f"{STREAM}.{'1' * 64}"])
    @pytest.mark.parametrize("message", ["x", b"x"])
    def test_as_large_as_max_size_come(self, server, message, place):
        """What the protocol puts before them does not count; of a larger one it doesn't, either."""
        with connect(server.uri, max_size=100) as client:
            session = server.session()
            session.send(message * 100, place)
            assert client.recv(DEADLINE_S) == message * 100
            session.send(message * 101, place)
            with pytest.raises(ConnectionClosed, match="1009"):
                client.recv(DEADLINE_S)

    def test_of_a_plain_server_are_as_large_as_max_size(self, server):
        """There all of it is the application's."""
        server.is_plain = True
        with connect(server.uri, max_size=100) as client:
            client.send("m" * 100)
            assert client.recv(DEADLINE_S) == "m" * 100
            client.send("m" * 101)
            with pytest.raises(ConnectionClosed, match="1009"):
                client.recv(DEADLINE_S)

    def test_come_compressed(self):
        """If both want it."""
        with ResumableServer(compression="deflate") as server, connect(server.uri) as client:
            server.session().send("x" * 100_000)
            client.send("y" * 100_000)
            assert client.recv(DEADLINE_S) == "x" * 100_000
            assert server.session().wait_taken(1) == ["y" * 100_000]
            assert "deflate" in server.requests[0].headers["Sec-WebSocket-Extensions"]

    def test_are_not_compressed_where_that_is_not_wanted(self, server):
        """The option."""
        with connect(server.uri, compression=None):
            assert "Sec-WebSocket-Extensions" not in server.requests[0].headers


class TestReturns:
    """Over several network connections."""

    def test_lose_nothing(self):
        """2,000 messages each way, 20 cuts at random bytes: none lost, none twice, in order."""
        random_of_this_test = random.Random(1)
        kinds = list(Cut)
        plan = [
            (random_of_this_test.randint(500, 15_000), kinds[number % 3]) for number in range(CUTS)
        ]
        downwards = [f"down {number} " + "x" * 80 for number in range(COUNT)]
        upwards = [f"up {number} " + "y" * 80 for number in range(COUNT)]
        with (
            ResumableServer(ping=1, says_every_s=0.02) as server,
            CuttingProxy(server.port, plan) as proxy,
            connect(proxy.uri, **FAST) as client,
        ):
            session = server.session()

            def send_down():
                for message in downwards:
                    session.send(message)

            def send_up():
                for message in upwards:
                    client.send(message)

            threads = [threading.Thread(target=target) for target in (send_down, send_up)]
            for thread in threads:
                thread.start()
            received = [client.recv(DEADLINE_S) for _ in downwards]
            taken = session.wait_taken(COUNT)
            for thread in threads:
                thread.join()
            wait_for(lambda: not proxy.plan)
            assert client.gaps == 0
            with pytest.raises(TimeoutError):
                client.recv(0)
        assert received == downwards
        assert taken == upwards == session.taken
        assert len(proxy.cuts) == CUTS
        assert len(server.order) == 1

    def test_send_what_was_sent_meanwhile(self, server):
        """`send` keeps it; the state says that it waits."""
        with connect(server.uri, **AT_ONCE) as client:
            session = server.session()
            server.refusals += [(503, {}, "")] * 2
            server.cut(session)
            wait_for(lambda: client.state is State.WAITING or session.returns)
            client.send("meanwhile")
            assert session.wait_taken(1) == ["meanwhile"]
            wait_for(lambda: client.state is State.OPEN)

    def test_are_bounded_in_what_is_kept(self, server):
        """1 MiB that the server has not taken; then `send` waits, and says so."""
        with connect(server.uri, close_timeout=0.1, **AT_ONCE) as client:
            session = server.session()
            server.refusals += [(503, {"Retry-After": "3600"}, "")]
            server.cut(session)
            server.wait_requests(2)
            sent = 0
            with pytest.raises(TimeoutError, match="has not taken"):
                while True:
                    client.send(b"x" * 100_000, timeout=0.01)
                    sent += 1
            assert sent == 10
            with pytest.raises(TimeoutError):
                client.send("x" * 100_000, timeout=0)

    def test_go_on_sending_when_there_is_room(self, server):
        """A `send` that waits is woken by acknowledgements."""
        with connect(server.uri) as client:
            for _ in range(50):
                client.send(b"x" * 100_000, timeout=DEADLINE_S)
            assert len(server.session().wait_taken(50)) == 50

    def test_notice_silence(self):
        """`ping` + 5 s, by a clock that is 50 times as fast."""
        with (
            ResumableServer(ping=1, says_every_s=0.02) as server,
            CuttingProxy(server.port, [(700, Cut.SILENCE)]) as proxy,
            connect(proxy.uri, **FAST) as client,
        ):
            session = server.session()
            client.send("x" * 700)
            assert session.wait_taken(1) == ["x" * 700]
            assert session.returns == 1

    def test_find_the_session_gone(self, server):
        """A gap: counted at once, and `on_gap` is called at its place among the messages."""
        told = []
        with connect(server.uri, on_gap=told.append, **AT_ONCE) as client:
            session = server.session()
            session.send("before")
            client.send("u1")
            session.wait_taken(1)
            wait_for(lambda: client._link._session._endpoint.received == 1)
            server.forget()
            server.cut(session)
            new = server.session(1)
            new.send("after")
            assert new.wait_taken(1) == ["u1"]
            assert client.gaps == 1
            assert client.recv(DEADLINE_S) == "before"
            assert told == []
            assert client.recv(DEADLINE_S) == "after"
            assert told == [Gap.MESSAGES]

    def test_find_a_log_cut_short(self, server):
        """A gap of the history, which is told where it is among the messages."""
        told = []
        with connect(server.uri, on_gap=told.append, **AT_ONCE) as client:
            session = server.session()
            session.send("one", f"{STREAM}.1")
            session.miss(f"{STREAM}.4")
            session.send(b"five", f"{STREAM}.5")
            assert client.recv(DEADLINE_S) == "one"
            assert told == []
            assert client.recv(DEADLINE_S) == b"five"
            assert told == [Gap.HISTORY]
            assert client.gaps == 1

    def test_say_how_far_they_are_in_logs(self, server):
        """At each return, of the messages that have come, received by the application or not."""
        with connect(server.uri, **AT_ONCE) as client:
            session = server.session()
            session.send("one", f"{STREAM}.1")
            session.send("two", f"{STREAM}.2")
            wait_for(lambda: client._link._session._endpoint.received == 2)
            server.forget()
            server.cut(session)
            server.wait_requests(2)
            assert f"p.{STREAM}.2" in server.requests[1].headers["Sec-WebSocket-Protocol"]
            assert "p." not in server.requests[0].headers["Sec-WebSocket-Protocol"]

    def test_need_not_repeat(self, server):
        """Then a message arrives at most once."""
        with connect(server.uri, repeat=False, **AT_ONCE) as client:
            session = server.session()
            client.send("u1")
            session.wait_taken(1)
            server.forget()
            server.cut(session)
            new = server.session(1)
            wait_for(lambda: client.gaps)
            client.send("u2")
            assert new.wait_taken(1) == ["u2"]

    def test_to_a_new_session_after_a_stop_are_no_gap(self, server):
        """1012 by a close frame: all before it had arrived."""
        with connect(server.uri, **AT_ONCE) as client:
            session = server.session()
            server.forget()
            session.websocket.close(1012)
            server.session(1).send("x")
            assert client.recv(DEADLINE_S) == "x"
            assert client.gaps == 0

    def test_end_where_another_has_taken_over(self, server):
        """4409: it is elsewhere."""
        with connect(server.uri) as client:
            server.session().websocket.close(4409)
            with pytest.raises(ConnectionClosed, match="4409"):
                client.recv(DEADLINE_S)
        assert len(server.requests) == 1

    def test_end_when_they_are_refused(self, server):
        """The login has ended meanwhile, say. The cause has the answer."""
        with connect(server.uri, **AT_ONCE) as client:
            server.refusals.append((403, {}, "no longer"))
            server.cut(server.session())
            with pytest.raises(ConnectionClosed, match="403: no longer") as caught:
                client.recv(DEADLINE_S)
            assert caught.value.code == 1006
            assert isinstance(caught.value.__cause__, HandshakeRefused)

    def test_go_on_while_the_server_is_away(self):
        """Nobody listens for a while."""
        with (
            ResumableServer() as server,
            CuttingProxy(server.port) as proxy,
            connect(proxy.uri, _jitter=lambda limit_s: 0.01) as client,
        ):
            session = server.session()
            target, proxy.target = proxy.target, ("127.0.0.1", 1)
            server.cut(session)
            wait_for(lambda: client._link._backoff._tries > 3)
            client.send("x")
            proxy.target = target
            assert session.wait_taken(1) == ["x"]


class TestPlainServers:
    """Who does not answer the offer."""

    def test_are_spoken_to_plainly(self, server):
        """No first characters; the client comes back, and sends what was sent meanwhile."""
        server.is_plain = True
        with connect(server.uri, **AT_ONCE) as client:
            client.send("a1")
            assert client.recv(DEADLINE_S) == "a1"
            client.send(b"\x00")
            assert client.recv(DEADLINE_S) == b"\x00"
            client.send("cut")
            server.wait_requests(2)
            client.send("later")
            assert client.recv(DEADLINE_S) == "later"
            assert client.gaps == 0
        assert server.requests[1].headers["Sec-WebSocket-Protocol"] == "wshandler.1"

    def test_that_are_mute_are_pinged(self):
        """After 20 s, and lost after 40; by a fast clock."""
        with (
            Scripted(accepting, is_kept=True) as server,
            connect(server.uri, _clock=Clock(speed=500), open_timeout=30_000, **AT_ONCE),
        ):
            wait_for(lambda: len(server.heard) >= 2)
            server.kept[0].settimeout(DEADLINE_S)
            assert server.kept[0].recv(2)[:1] == b"\x89"


def accepting(request, *rest):
    """A 101 for a request's bytes."""
    import base64
    import hashlib

    key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + b"".join(rest) + b"\r\n"
    )


class TestHandshakes:
    """What is said in them, and what is answered."""

    @pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 426])
    def test_that_would_be_refused_again_raise(self, server, status):
        """With the status, the headers and the body."""
        server.refusals.append((status, {"X-Why": "so"}, "because"))
        with pytest.raises(HandshakeRefused, match=f"{status}: because") as caught:
            connect(server.uri, transport="websocket")
        assert caught.value.status == status
        assert caught.value.headers["x-why"] == "so"
        assert caught.value.body == b"because"
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_that_may_succeed_later_are_tried_again(self, server, status):
        """Within `open_timeout`."""
        server.refusals += [(status, {}, "")] * 2
        with connect(server.uri, transport="websocket", **AT_ONCE) as client:
            assert client.state is State.OPEN
        assert len(server.requests) == 3

    def test_wait_as_long_as_the_server_wants(self, server):
        """Retry-After, in seconds of a clock that is 50 times as fast."""
        server.refusals.append((503, {"Retry-After": "10"}, ""))
        begun_s = time.monotonic()
        with connect(server.uri, **FAST):
            assert time.monotonic() - begun_s >= 10 / 50

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("120", 60),
            ("-1", 0),
            ("soon", 0),
            ("", 0),
            ("9" * 400, 60),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
            ("Wed, 21 Oct 2815 07:28:00 GMT", 60),
            ("Wed, 99 Oct 2815 07:28:00 GMT", 0),
        ],
    )
    def test_wait_no_longer_than_a_minute(self, value, seconds):
        """Whatever the server wants."""
        refusal = HandshakeRefused("the server", 503, {"Retry-After": value}, b"")
        backoff = Backoff(lambda limit_s: 0.0)
        assert backoff.next_delay_s(refusal.retry_after_s) == seconds

    @pytest.mark.parametrize(
        ("seconds", "was_cut", "limit_s"), [(4.9, False, 4), (5, False, 0.5), (0, True, 0.5)]
    )
    def test_come_later_and_later_unless_the_last_was_good(self, seconds, was_cut, limit_s):
        """One of five seconds was, and one that the network has cut amid messages."""
        backoff = Backoff(lambda limit_s: limit_s)
        assert [backoff.next_delay_s() for _ in range(3)] == [0.5, 1, 2]
        backoff.ended(seconds, was_cut=was_cut)
        assert backoff.next_delay_s() == limit_s

    def test_are_tried_for_as_long_as_said(self, server):
        """ConnectTimeout is a TimeoutError; its cause says what was wrong."""
        server.refusals += [(503, {}, "full")] * 10_000
        with pytest.raises(ConnectTimeout, match="503: full") as caught:
            connect(server.uri, open_timeout=0.2, _jitter=lambda limit_s: 0.02)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.__cause__.status == 503
        wait_for(lambda: not client_threads())

    def test_that_are_never_answered_time_out(self):
        """Neither is a hello that never comes waited for longer."""
        with Scripted(b"", is_kept=True) as server, pytest.raises(ConnectTimeout):
            connect(server.uri, open_timeout=0.1)
        greeting = lambda request: accepting(request, b"Sec-WebSocket-Protocol: wshandler.1\r\n")  # noqa: E731
        with Scripted(greeting, is_kept=True) as server, pytest.raises(ConnectTimeout):
            connect(server.uri, open_timeout=0.1)
        wait_for(lambda: not client_threads())

    def test_where_nobody_listens_time_out(self):
        """A network error may pass."""
        with pytest.raises(ConnectTimeout) as caught:
            connect("ws://127.0.0.1:1/", open_timeout=0.1)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            lambda request: accepting(request, b"Sec-WebSocket-Protocol: chat.v9\r\n"),
            lambda request: accepting(request).replace(b"Accept: ", b"Accept: x"),
            b"HTTP/1.1 101 S\r\n" + b"a: b\r\n" * 1000,
        ],
    )
    def test_that_are_no_websockets_raise(self, answer):
        """It would be the same next time."""
        with Scripted(answer, is_kept=True) as server, pytest.raises(HandshakeFailed):
            connect(server.uri, transport="websocket")

    def test_carry_what_is_said(self, server):
        """At each return, too."""
        with connect(
            server.uri,
            additional_headers={"Authorization": "Bearer x"},
            origin="https://example.org",
            user_agent_header="robot/1",
            subprotocols=["chat.v2"],
            **AT_ONCE,
        ) as client:
            assert client.protocol == "chat.v2"
            server.cut(server.session())
            server.wait_requests(2)
        for request in server.requests:
            assert request.headers["Authorization"] == "Bearer x"
            assert request.headers["Origin"] == "https://example.org"
            assert request.headers["User-Agent"] == "robot/1"
            assert "chat.v2" in request.headers["Sec-WebSocket-Protocol"]

    @pytest.mark.parametrize(
        ("uri", "options"),
        [
            ("http://example.org/", {}),
            ("nonsense", {}),
            ("ws://example.org/#fragment", {}),
            ("ws://example.org/", {"ssl": ssl.create_default_context()}),
            ("ws://example.org/", {"compression": "gzip"}),
            ("ws://example.org/", {"proxy": "socks5://127.0.0.1:1"}),
            ("ws://example.org/", {"proxy": "http://"}),
            ("ws://example.org/", {"subprotocols": "chat.v2"}),
            ("ws://example.org/", {"subprotocols": ["a b"]}),
            ("ws://example.org/", {"subprotocols": ["a\r\nX: y"]}),
        ],
    )
    def test_that_can_not_be_are_mistakes(self, uri, options):
        """ValueError at once, and no thread."""
        with pytest.raises(ValueError):
            connect(uri, **options)
        assert not client_threads()

    def test_go_through_a_proxy(self, server):
        """The name and the password are in its address."""
        with HttpProxy(server.port) as proxy:
            with connect(server.uri, proxy=f"http://ada:pass%20word@127.0.0.1:{proxy.port}") as one:
                one.send("x")
                assert server.session().wait_taken(1) == ["x"]
            assert proxy.heads[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1" % server.port)
            assert b"Proxy-Authorization: Basic YWRhOnBhc3Mgd29yZA==" in proxy.heads[0]

    def test_are_refused_by_a_proxy(self, server):
        """It says whose refusal that is."""
        answer = b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n"
        with (
            Scripted(answer) as proxy,
            pytest.raises(HandshakeRefused, match="the proxy") as caught,
        ):
            connect(server.uri, proxy=f"http://127.0.0.1:{proxy.port}")
        assert caught.value.status == 407


class HttpProxy(CuttingProxy):
    """Forwards what begins with CONNECT."""

    def __init__(self, port):
        super().__init__(port)
        self.heads = []

    def serve(self, near, budget, cut):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += near.recv(1)
        self.heads.append(head)
        near.sendall(b"HTTP/1.1 200 Connected\r\nVia: x\r\n\r\n")
        super().serve(near, budget, cut)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(key, certificate) of 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")
    key, cert = directory / "key.pem", directory / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1,DNS:chat.example.org"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return key, cert


class TestTls:
    """wss://"""

    @pytest.fixture
    def tls_server(self, certificate):
        key, cert = certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        with ResumableServer(ssl=context) as server:
            yield server

    @pytest.mark.parametrize("name", [None, "chat.example.org"])
    def test_is_spoken(self, tls_server, certificate, name):
        """Also large messages both ways at once, and over a cut."""
        uri = f"wss://127.0.0.1:{tls_server.port}/"
        context = ssl.create_default_context(cafile=certificate[1])
        with connect(uri, ssl=context, server_hostname=name, **AT_ONCE) as client:
            session = tls_server.session()
            for number in range(10):
                session.send(b"%d" % number + b"x" * 100_000)
                client.send(b"%d" % number + b"y" * 90_000)
            for number in range(10):
                assert client.recv(DEADLINE_S)[:1] == b"%d" % number
            tls_server.cut(session)
            client.send("again")
            assert session.wait_taken(11)[-1] == "again"

    def test_is_not_spoken_with_strangers(self, tls_server):
        """A certificate that nobody vouches for is no reason to try again."""
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(f"wss://127.0.0.1:{tls_server.port}/")
        wait_for(lambda: not client_threads())


class TestEnds:
    """How a connection is closed, and left."""

    def test_wait_until_all_is_taken(self, server):
        """Also over a loss: what was sent before `close` arrives."""
        with connect(server.uri, **AT_ONCE) as client:
            session = server.session()
            server.cut(session)
            client.send("x")
        assert session.taken == ["x"]
        assert client.close_code == 1000

    def test_come_once(self, server):
        """The second `close` does nothing; the code is told to the server."""
        client = connect(server.uri)
        websocket = server.session().websocket
        client.close(4321, "enough")
        client.close()
        wait_for(lambda: websocket.close_code is not None)
        assert (websocket.close_code, websocket.close_reason) == (4321, "enough")
        assert client.close_code == 4321
        assert client.state is State.CLOSED
        assert not client_threads()

    def test_after_an_exception_are_1011(self, server):
        """And wait for nothing."""
        with contextlib.suppress(ZeroDivisionError), connect(server.uri) as client:
            websocket = server.session().websocket
            raise ZeroDivisionError
        assert client.close_code == 1011
        wait_for(lambda: websocket.close_code == 1011)

    @pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 2000, 4000, 5000])
    def test_with_codes_that_can_not_be_are_mistakes(self, server, code):
        """4000 too: it says that the client comes back."""
        with connect(server.uri) as client:
            with pytest.raises(ValueError):
                client.close(code)
            assert client.state is State.OPEN

    def test_wake_who_waits(self, server):
        """A `recv`, an iteration and a `send` of other threads."""
        client = connect(server.uri)
        ends = []

        def receive():
            try:
                client.recv()
            except ConnectionClosed as error:
                ends.append(error.code)

        def iterate():
            ends.append(list(client))

        threads = [threading.Thread(target=target) for target in (receive, iterate)]
        for thread in threads:
            thread.start()
        client.close()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert sorted(ends, key=str) == [1000, []]

    def test_do_not_wait_for_a_server_that_does_not_answer(self):
        """`close_timeout`."""
        hello = b'\x81\x37h{"session":"0123456789","received":0,"resumed":false}'
        hello = hello[:1] + bytes([len(hello) - 2]) + hello[2:]
        greeting = lambda request: (  # noqa: E731
            accepting(request, b"Sec-WebSocket-Protocol: wshandler.1\r\n") + hello
        )
        with Scripted(greeting, is_kept=True) as server:
            client = connect(server.uri, close_timeout=0.1)
            client.send("x")
            client.close()
            assert client.close_code == 1000
            wait_for(lambda: not client_threads())

    def test_come_at_once_while_it_waits_to_come_back(self, server):
        """Nothing is kept, so nothing is waited for."""
        client = connect(server.uri, _jitter=lambda limit_s: 3600.0)
        server.cut(server.session())
        wait_for(lambda: client.state is State.WAITING)
        client.close()
        assert client.close_code == 1000
        wait_for(lambda: not client_threads())

    def test_come_by_the_garbage_collector_with_a_warning(self, server):
        """Nobody has closed it; the thread goes, and the server is told."""
        client = connect(server.uri)
        websocket = server.session().websocket
        with pytest.warns(ResourceWarning, match="was not closed"):
            del client
            gc.collect()
        wait_for(lambda: websocket.close_code == 1001)
        wait_for(lambda: not client_threads())

    def test_are_one_thread_s(self, server):
        """However often it has come back."""
        with connect(server.uri, **AT_ONCE):
            session = server.session()
            for number in range(5):
                server.cut(session)
                server.wait_back(session, number + 1)
                assert len(client_threads()) == 1
        assert not client_threads()


class TestSlowness:
    """Of the application, and of the server."""

    def test_of_the_application_holds_the_server_up(self, server):
        """What is not received waits in the network, not here."""
        with connect(server.uri) as client:
            session = server.session()
            count = 300
            thread = threading.Thread(
                target=lambda: [session.send(b"%03d" % n + b"x" * 100_000) for n in range(count)]
            )
            thread.start()
            wait_for(lambda: client._link._inbox.is_full)
            assert client._link._inbox.size_bytes < 3 * 1024 * 1024
            for number in range(count):
                assert client.recv(DEADLINE_S)[:3] == b"%03d" % number
            thread.join()

    def test_of_the_application_is_no_silence(self):
        """It is not the server that says nothing."""
        with (
            ResumableServer(ping=1, says_every_s=0.02) as server,
            connect(server.uri, **FAST) as client,
        ):
            session = server.session()
            for number in range(200):
                session.send(str(number))
            wait_for(lambda: client._link._inbox.is_full)
            time.sleep(0.3)  # fifteen seconds of its clock
            assert [client.recv(DEADLINE_S) for _ in range(200)] == list(map(str, range(200)))
            assert session.returns == 0
