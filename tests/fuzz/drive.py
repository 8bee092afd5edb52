"""A connection on a transport in memory, driven by any bytes; and what has to be true of it."""

from websockets.frames import Close, Opcode
from websockets.protocol import Protocol, Side, State

from flask_wshandler.protocol import connection as product
from flask_wshandler.protocol.errors import check_close
from flask_wshandler.settings import Settings, limits_of

NO_STATUS_RECEIVED = 1005


class Lost(OSError):
    """What a socket's write raises when the network is gone."""


class MemoryTransport:
    """Takes as much of each write as `capacities` say, all of it when they are used up."""

    def __init__(self, capacities=()):
        self.written = bytearray()
        self.capacities = list(capacities)
        self.is_lost = False
        self.time_s = 1000.0

    def write(self, data):
        if self.is_lost:
            raise Lost
        size = min(len(data), self.capacities.pop() if self.capacities else len(data))
        self.written += data[:size]
        return size

    def request_turn(self):
        pass

    def request_wake(self, seconds):
        assert seconds >= 0

    def now_s(self):
        return self.time_s

    def report(self, fault):
        raise fault

    def unacknowledged_bytes(self):
        return 0


class Echo:
    """Callbacks that answer, and check their order."""

    def __init__(self):
        self.names = []
        self.messages = []
        #: What the connection has said it sends.
        self.sent = []

    def opened(self, connection):
        assert not self.names
        self.names.append("opened")
        self.connection = connection

    def message_received(self, message):
        assert self.names[0] == "opened"
        assert "closed" not in self.names
        assert self.connection.is_open
        self.names.append("message")
        self.messages.append(message)
        self.send(message)
        return 4000 if message == "close" else None

    def send(self, message):
        was_open = self.connection.is_open
        if self.connection.send(message):
            assert was_open
            self.sent.append(message.encode() if isinstance(message, str) else message)

    def closed(self, code, reason):
        assert "closed" not in self.names
        self.names.append("closed")
        assert code == 1006 or code == NO_STATUS_RECEIVED or check_close(code, "") is None
        assert len(reason.encode()) <= 123


class Driver:
    """One connection, from its opening to its end."""

    def __init__(self, *, max_message_bytes=1000, capacities=(), deflate=None, client_deflate=None):
        self.transport = MemoryTransport(capacities)
        self.callbacks = Echo()
        settings = Settings(
            max_message_size=max_message_bytes,
            max_queue_size=4000,
            ping_interval=20.0,
            ping_timeout=20.0,
        )
        self.connection = product.Connection(self.callbacks, limits_of(object(), settings), deflate)
        self.client_deflate = client_deflate
        self.is_drained = False
        self.connection.attach(self.transport)
        self.connection.open()
        self.check()

    # What may happen.

    def receive(self, data):
        if data and self.connection.wants_data:
            self.connection.receive_data(data)
        self.check()

    def send(self, message):
        self.callbacks.send(message)
        self.check()

    def close(self, code):
        self.connection.close(code)
        assert not self.connection.is_open
        self.check()

    def pass_time(self, seconds):
        self.transport.time_s += seconds
        wait_s = self.connection.on_time(self.transport.time_s)
        assert wait_s is None or wait_s >= 0
        self.check()

    def flush(self):
        self.connection.flush()
        self.check()

    def cork(self):
        self.connection.is_corked = True

    def uncork(self):
        self.connection.uncork()
        self.check()

    def drain(self):
        self.transport.capacities.clear()
        self.connection.uncork()
        self.connection.flush()
        self.is_drained = not self.connection.is_lost
        self.check()

    def lose_network(self):
        self.transport.is_lost = True

    def pause(self):
        self.connection.pause()

    def resume(self):
        self.connection.resume()
        self.check()

    # What has to be true.

    def check(self):
        """Of the state, after anything."""
        connection = self.connection
        assert not (connection.is_open and connection.is_closed)
        assert connection.queued_bytes >= 0
        assert connection.send_queue.queued_bytes <= 4000 + 2000 or connection.is_closed
        if not connection.is_open:
            assert not connection.send("never")
        if connection.is_closed:
            assert not connection.wants_data
        if connection.is_lost:
            assert connection.is_closed
            assert not connection.queued_bytes

    def finish(self):
        """End it, and read what it wrote as a client would."""
        connection = self.connection
        if not connection.is_closed:
            connection.receive_eof()
        count = len(self.callbacks.messages)
        connection.receive_data(b"\x81\x85\0\0\0\0never")
        assert len(self.callbacks.messages) == count
        connection.uncork()
        connection.finish()
        connection.detach()
        assert self.callbacks.names[-1] == "closed"
        self.check_written()

    def check_sent(self):
        """What was sent was written, in that order, but for what a full queue or a loss dropped."""
        frames = self.written_frames()
        written = [
            bytes(each.data) for each in frames if each.opcode in (Opcode.TEXT, Opcode.BINARY)
        ]
        sent = self.callbacks.sent
        assert written == sent[: len(written)]
        if self.is_drained and not self.callbacks.connection.dropped_messages:
            assert len(written) == len(sent)

    def check_written(self):
        """Nothing after a close."""
        frames = self.written_frames()
        opcodes = [frame.opcode for frame in frames]
        assert opcodes.count(Opcode.CLOSE) <= 1
        if Opcode.CLOSE in opcodes:
            assert opcodes[-1] is Opcode.CLOSE
            code = Close.parse(frames[-1].data).code
            assert code == NO_STATUS_RECEIVED or check_close(code, "") is None
            assert self.callbacks.connection.close_code == code

    def written_frames(self):
        """Frames that a strict client takes: whole but for the last."""
        client = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
        if self.client_deflate is not None:
            client.extensions = [self.client_deflate]
        client.receive_data(bytes(self.transport.written))
        assert client.parser_exc is None, client.parser_exc
        frames = client.events_received()
        assert all(frame.fin for frame in frames)
        return frames
