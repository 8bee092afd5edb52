"""A real connection on a socket pair, with callbacks that record and a clock that tests move."""

import contextlib
import dataclasses
import select
import socket
import threading
import time

from websockets.frames import Frame, Opcode

from flask_wshandler.protocol.connection import Connection
from flask_wshandler.runtime.timer import Timer
from flask_wshandler.settings import Settings, limits_of
from flask_wshandler.transports.blocking import BlockingServer
from flask_wshandler.transports.epoll import EpollServer
from tests.deadlines import DEADLINE_S, wait_for


class ManualClock:
    """Stands until it is advanced."""

    def __init__(self):
        self._now_s = 1000.0
        self._conditions = set()
        self._waiting = set()

    def now_s(self):
        return self._now_s

    def wait(self, condition, seconds):
        self._conditions.add(condition)
        self._waiting.add(condition)
        condition.wait()
        self._waiting.discard(condition)

    def advance(self, seconds):
        """Move on, and let who waits do what is due: else one more step would look like a halt."""
        self._now_s += seconds
        woken = []
        for condition in list(self._conditions):
            with condition:
                if condition in self._waiting:
                    self._waiting.discard(condition)
                    woken.append(condition)
                condition.notify_all()
        until_s = time.monotonic() + 1
        while not self._waiting.issuperset(woken) and time.monotonic() < until_s:
            time.sleep(0.0005)


class Recording:
    """Callbacks that note what happens; `answer` is called with each message."""

    def __init__(self, answer=None):
        self.events = []
        self.answer = answer
        self.connection = None
        self.is_closed = threading.Event()
        self.verdict = None

    def opened(self, connection):
        self.connection = connection
        self.events.append(("opened",))

    def message_received(self, message):
        self.events.append(("message", message))
        return self.answer(self.connection, message) if self.answer else None

    def session_check_came(self):
        self.events.append(("checked",))
        return self.verdict

    def closed(self, code, reason):
        self.events.append(("closed", code, reason))
        self.is_closed.set()

    @property
    def messages(self):
        return [event[1] for event in self.events if event[0] == "message"]


def echo(connection, message):
    connection.send(message)


def client_settings(**changes):
    settings = Settings(ping_interval=None)
    changes.setdefault("ping_interval", None)
    handler = type("Handler", (), {k: v for k, v in changes.items() if k != "close_timeout"})()
    found = limits_of(handler, settings)
    return dataclasses.replace(found, close_timeout=changes.get("close_timeout", 5.0))


class Owner:
    """Keeps the account that an engine would."""

    def __init__(self):
        self.released_count = 0

    def started(self, channel):
        pass

    def finished(self, channel):
        pass

    def released(self, channel):
        self.released_count += 1


class Rig:
    """One way of serving, and the peers it serves."""

    def __init__(self, kind, clock):
        self.clock = clock
        self.timer = Timer(clock)
        self.owner = Owner()
        self.kind = kind
        self.transport = EpollServer(self.timer, 8) if kind == "epoll" else None
        self._closing = []
        self._serving = []

    def serve(
        self,
        answer=echo,
        deflate=None,
        receive_buffer=None,
        budget=None,
        socket_class=socket.socket,
        **changes,
    ):
        """A peer's socket and the callbacks of its connection."""
        ours, peer = socket.socketpair()
        ours = socket_class(fileno=ours.detach())
        peer.settimeout(DEADLINE_S)
        if receive_buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_buffer)
        callbacks = Recording(answer)
        connection = Connection(callbacks, client_settings(**changes), deflate, budget=budget)
        callbacks.connection = connection
        self._closing += [peer, ours]
        if self.transport is not None:
            self.transport.adopt(ours, connection, b"", self.owner)
        else:
            thread = threading.Thread(
                target=BlockingServer(self.timer).serve,
                args=(ours, connection, b"", self.owner),
                daemon=True,
            )
            thread.start()
            self._serving.append(thread)
        wait_for(lambda: callbacks.events, "opening")
        return peer, callbacks

    def stop(self):
        for sock in self._closing:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._serving:
            thread.join(DEADLINE_S)  # a server closes a socket when its request is over
        for sock in self._closing:
            sock.close()
        if self.transport is not None:
            self.transport.stop()
        self.timer.stop()


def frame(opcode, payload=b"", fin=True, rsv1=False):
    if isinstance(payload, str):
        payload = payload.encode()
    whole = Frame(Opcode(opcode), payload, fin).serialize(mask=True)
    return bytes((whole[0] | rsv1 << 6,)) + whole[1:]


def text(payload):
    return frame(Opcode.TEXT, payload)


class FrameReader:
    """Reads a server's frames from a socket."""

    def __init__(self, sock):
        self._socket = sock
        self._buffer = b""

    def _read(self, size):
        while len(self._buffer) < size:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._buffer += data
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read(self):
        first, size = self._read(2)
        if size >= 126:
            size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
        return Opcode(first & 15), self._read(size)


def is_readable(sock):
    return bool(select.select([sock], [], [], 0)[0])


def events_of(reader, data):
    """What `data` completes, asked for as a connection does: the quick way first."""
    message = reader.receive_whole_text(data)
    return reader.receive_data(data) if message is None else [message]
