"""The Python client against servers that mean no good, and networks without luck."""

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest

from flask_wshandler.client import ConnectionClosed, State, connect
from flask_wshandler.client.link import _MAX_UNWRITTEN_BYTES
from flask_wshandler.client.patience import Clock
from tests.deadlines import DEADLINE_S, wait_for

from .server import ResumableServer, Scripted
from .test_client import AT_ONCE, FAST, accepting, client_threads

PROGRAM = """
from flask_wshandler.client import connect

def fill(client):
    while True:
        client.send("x" * 100_000)

with connect({uri!r}) as client:
    print("ready", flush=True)
    {wait}
"""
SUBPROTOCOL_LINE = b"Sec-WebSocket-Protocol: wshandler.1\r\n"
HELLO = 'h{"session":"0123456789abcdef","received":0,"resumed":true,"ping":%s}'


def frame(payload, opcode=1, is_final=True):
    """Of a server: without a mask."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 2**16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([opcode | (0x80 if is_final else 0)]) + length + payload


def greeting(ping="null", *frames):
    """What a server says to a handshake."""
    rest = frame(HELLO % ping) + b"".join(frames)
    return lambda request: accepting(request, SUBPROTOCOL_LINE) + rest


def closes_with(*frames):
    """The code with which a client ends that hears those frames."""
    with (
        Scripted(greeting("20", *frames), is_kept=True) as server,
        connect(server.uri, close_timeout=0.1, max_size=1000) as client,
    ):
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                client.recv(DEADLINE_S)
        return caught.value.code


class TestBreaches:
    """Of RFC 6455 and wshandler.1: the client ends, and does not come back to that."""

    @pytest.mark.parametrize(
        ("code", "frames"),
        [
            (1002, [frame("m", opcode=3)]),
            (1002, [frame("m", opcode=0)]),
            (1002, [frame("m" * 126, opcode=9)]),
            (1002, [b"\xf1\x01m"]),
            (1002, [b"\x81\x81aaaam"]),
            (1002, [frame("x")]),
            (1002, [frame("a1")]),
            (1002, [frame("a" + "9" * 900)]),
            (1002, [frame("h{}")]),
            (1002, [frame(b"\x00", opcode=2)]),
            (1007, [frame(b"m\xff\xfe")]),
            (1009, [frame("m" + "x" * 1001)]),
            (1009, [frame("m" * 600, is_final=False), frame("m" * 600, opcode=0)]),
            (1009, [b"\x81\x7f\x7f" + b"\xff" * 7]),
        ],
    )
    def test_end_it(self, code, frames):
        """With the code that RFC 6455 has for it."""
        assert closes_with(*frames) == code

    @pytest.mark.parametrize(
        "hello",
        [
            "h",
            "h[]",
            "hnull",
            "h" + "[" * 5000,
            'h{"session":"short","received":0,"resumed":false}',
            'h{"session":"0123456789,chat","received":0,"resumed":false}',
            'h{"session":"0123456789\\r\\nX: y","received":0,"resumed":false}',
            'h{"session":"0123456789","received":-1,"resumed":false}',
            'h{"session":"0123456789","received":1e3,"resumed":false}',
            'h{"session":"0123456789","received":' + "9" * 5000 + ',"resumed":false}',
            'h{"session":"0123456789","received":0,"resumed":1}',
            'h{"session":"0123456789","received":0,"resumed":false,"ping":-1}',
            'h{"session":"0123456789","received":0,"resumed":false,"ping":NaN}',
            'h{"session":"0123456789","received":0,"resumed":false,"ping":"20"}',
            'h{"session":"0123456789","received":0,"resumed":false,"protocol":1}',
        ],
    )
    def test_of_the_hello_end_it(self, hello):
        """`connect` raises, and says nothing of what might be a secret."""
        answer = lambda request: accepting(request, SUBPROTOCOL_LINE) + frame(hello)  # noqa: E731
        with (
            Scripted(answer, is_kept=True) as server,
            pytest.raises(ConnectionClosed, match="1002") as caught,
        ):
            connect(server.uri, close_timeout=0.1)
        assert "0123456789" not in str(caught.value)

    @pytest.mark.parametrize("ping", ["1e308", "9" * 400, "1e-300", "Infinity"])
    def test_of_good_sense_do_not(self, ping):
        """Times that no clock has."""
        with (
            Scripted(greeting(ping, frame("mx")), is_kept=True) as server,
            connect(server.uri, close_timeout=0.1) as client,
        ):
            assert client.recv(DEADLINE_S) == "x"
            assert client.state is State.OPEN


class TestFloods:
    """They fill no memory."""

    def flooded(self, flood, seconds=1.0):
        """How many bytes the client has taken, at most, while a server has sent that."""

        def send(channel):
            channel.settimeout(seconds)
            try:
                while True:
                    channel.sendall(flood)
            except OSError:
                pass

        with Scripted(greeting("20"), is_kept=True) as server:
            client = connect(server.uri, close_timeout=0.1)
            tracemalloc.start()
            try:
                thread = threading.Thread(target=send, args=server.kept)
                thread.start()
                time.sleep(seconds)
                grown = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            server.kept[0].shutdown(socket.SHUT_RDWR)
            thread.join()
            client._close(1000, "", is_patient=False)
        return grown

    @pytest.mark.parametrize(
        "flood", [frame("m") * 5000, frame("m" + "x" * 1000) * 60], ids=["small", "large"]
    )
    def test_of_messages(self, flood):
        """Nobody receives them: then nothing is read."""
        assert self.flooded(flood) < 8 * 1024 * 1024

    def test_of_probes(self):
        """However many there are, one answer waits."""
        assert self.flooded(frame("p") * 5000) < 2 * _MAX_UNWRITTEN_BYTES

    def test_of_pings(self):
        """Whose pongs the server does not read."""
        assert self.flooded(frame("x" * 125, opcode=9) * 500) < 4 * _MAX_UNWRITTEN_BYTES

    def test_of_fragments(self):
        """Empty ones, of which no limit of size is reached."""
        begin = frame("m", is_final=False)
        empty = frame("", opcode=0, is_final=False) * 10_000
        with Scripted(greeting("20", begin), is_kept=True) as server:
            client = connect(server.uri, close_timeout=0.1)
            tracemalloc.start()
            for _ in range(10):
                server.kept[0].sendall(empty)
            server.kept[0].sendall(frame("end", opcode=0))
            assert client.recv(DEADLINE_S) == "end"
            grown = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            client._close(1000, "", is_patient=False)
        assert grown < 8 * 1024 * 1024


class TestStandstill:
    """A server that is there, and does nothing."""

    def test_of_a_server_that_reads_nothing_holds_nobody(self):
        """`send` returns until 1 MiB is kept, then times out; `close` has its time as well."""
        with Scripted(greeting("null"), is_kept=True) as server:
            client = connect(server.uri, close_timeout=0.2)
            with pytest.raises(TimeoutError):
                while True:
                    client.send(b"x" * 65_536, timeout=0.05)
            begun_s = time.monotonic()
            client.close()
            assert time.monotonic() - begun_s < 5
            wait_for(lambda: not client_threads())

    def test_costs_no_processor(self):
        """Open, full, away or waiting: the thread sleeps."""
        with ResumableServer(ping=3600, says_every_s=3600) as server:
            client = connect(server.uri, _jitter=lambda limit_s: 3600.0)
            session = server.session()
            self.check_idle()
            for _ in range(200):
                session.send("x")
            wait_for(lambda: client._link._inbox.is_full)
            self.check_idle()
            [client.recv() for _ in range(200)]
            client._link._wake()
            self.check_idle()
            server.cut(session)
            wait_for(lambda: client.state is State.WAITING)
            client.send("x")
            self.check_idle()
            client._close(1000, "", is_patient=False)

    def check_idle(self):
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(0.3)
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert used < 0.1

    def test_of_the_way_is_noticed_while_much_is_sent(self):
        """The thread never waits in a write."""
        with Scripted(greeting("1"), is_kept=True) as server, connect(server.uri, **FAST) as client:
            client.send(b"x" * 900_000)
            wait_for(lambda: len(server.heard) >= 2)
            client._close(1000, "", is_patient=False)


class TestCrashes:
    """Whatever a server does, it comes back, later and later, or ends."""

    def test_at_each_byte_of_what_a_server_says(self):
        """The stream's end after each of them: `recv` gives the message, or waits, or ends."""
        whole = greeting("20", frame("mx"), frame(b"\x03\xf4", opcode=8))
        sizes = list(range(0, 320, 7))

        def cut(request):
            return whole(request)[: sizes.pop(0)] if sizes else whole(request)

        with (
            Scripted(cut) as server,
            connect(server.uri, transport="websocket", _jitter=lambda limit_s: 0.001) as client,
        ):
            wait_for(lambda: not sizes or client.state is State.CLOSED)
            assert client.recv(DEADLINE_S) == "x"

    def test_with_what_comes_by_chance(self):
        """Bytes of a seeded random generator behind a good hello: an end, or a return."""
        random_of_this_test = random.Random(7)
        for _ in range(30):
            noise = random_of_this_test.randbytes(random_of_this_test.randint(1, 300))
            with Scripted(greeting("20", noise)) as server:
                client = connect(server.uri, close_timeout=0.1, _jitter=lambda limit_s: 3600.0)
                wait_for(lambda client=client: client.state in (State.WAITING, State.CLOSED))
                client._close(1000, "", is_patient=False)

    def test_that_close_in_the_same_breath(self):
        """A plain server's 101, message and close at once, with something to be sent besides."""
        closing = frame(b"\x03\xf4", opcode=8)
        plain = lambda request: accepting(request) + frame("bye") + closing  # noqa: E731
        with Scripted(plain, is_kept=True) as server, connect(server.uri, **AT_ONCE) as client:
            for _ in range(20):
                assert client.recv(DEADLINE_S) == "bye"
                client.send("x")
            client._close(1000, "", is_patient=False)

    def test_over_and_over_are_not_answered_by_a_storm(self):
        """A hello and a reset each time: the limit of the delay doubles all the same."""
        limits = []

        def jitter(limit_s):
            limits.append(limit_s)
            return 0.0

        with Scripted(greeting("20")) as server, connect(server.uri, _jitter=jitter) as client:
            wait_for(lambda: len(limits) > 8)
            client._close(1000, "", is_patient=False)
        assert limits[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]


class TestProcesses:
    """A connection is its process's."""

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_child_neither_uses_nor_ends_it(self):
        """It says so, and the parent's goes on."""
        with ResumableServer() as server, connect(server.uri, _clock=Clock()) as client:
            child = os.fork()
            if child == 0:
                try:
                    with pytest.raises(RuntimeError, match="after a fork"):
                        client.send("of the child")
                    client.__del__()
                    os._exit(7)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            client.send("x")
            assert server.session().wait_taken(1) == ["x"]

    @pytest.mark.skipif(os.name != "posix", reason="signals are a Unix's")
    @pytest.mark.parametrize("wait", ["client.recv()", "list(client)", "fill(client)"])
    def test_control_c_ends_a_program_that_waits(self, wait):
        """Wherever it does; the server is told."""
        with ResumableServer(ping=3600, says_every_s=3600) as server:
            program = PROGRAM.format(uri=server.uri, wait=wait)
            process = subprocess.Popen(
                [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            session = server.session()
            websocket = session.websocket
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=DEADLINE_S)
            assert b"KeyboardInterrupt" in errors
            wait_for(lambda: websocket.close_code == 1011)
