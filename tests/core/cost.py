"""What a message costs in Python, as a multiple of a fixed piece of Python: counted, not timed.

Counted are the interpreter's instructions and the calls of functions written in C, from the moment
a poller is told that a socket is readable until the answer is written. A count is the same on a
busy machine, where the processor time of the very same program was up to 1.6 times the usual one,
for a minute. What it does not show: a C function that takes longer.
"""

import contextlib
import contextvars
import gc
import socket
import sys
import threading

from flask import Flask, request, session, url_for

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.handlers.callbacks import HandlerCallbacks
from flask_wshandler.handlers.context import WebSocketContext
from flask_wshandler.handlers.request_snapshot import RequestSnapshot
from flask_wshandler.protocol.connection import Connection
from flask_wshandler.protocol.send_queue import QueueBudget
from flask_wshandler.runtime.timer import MonotonicClock, Timer
from flask_wshandler.settings import Settings, limits_of
from flask_wshandler.transports.channel import READABLE, Channel

from .rig import Owner

TOGETHER = 10
C_CALL = 5
"""Instructions that a call of a C function counts as."""

PAYLOAD = b"a message of thirty-two bytes..."
FRAME = b"\x81\xa0\0\0\0\0" + PAYLOAD
ECHO = b"\x81\x20" + PAYLOAD


class Echo(WebSocketHandler):
    """Answers a message with the same."""

    def on_message(self, message):
        self.send(message)


USES = {
    "request.path": lambda handler: request.path,
    "request.args": lambda handler: request.args,
    "context.query_string": lambda handler: handler.context.query_string,
    "session": lambda handler: session.get("name"),
    "url_for": lambda handler: url_for("static", filename="some.js"),
}
"""What callbacks look at."""


class Using(Echo):
    """Looks at something before it answers."""

    def __init__(self, use):
        self.use = use

    def on_message(self, message):
        self.use(self)
        self.send(message)


class Host:
    """Of a channel whose turns are taken by the test."""

    def __init__(self):
        self.timer = Timer(MonotonicClock())

    def request_turn(self, channel, events):
        channel.serve(events)

    def release(self, channel):
        pass


_speaker = contextvars.ContextVar("speaker")


class Yardstick:
    """Does what a message needs at the least: calls, a lock, a context, bytes. Never changes."""

    __slots__ = ("_is_closed", "_lock", "_names", "_out")

    def __init__(self):
        self._is_closed = False
        self._lock = threading.Lock()
        self._names = {}
        self._out = []

    def take(self, data):
        first, text = self._open(data)
        if first & 15 == 1:
            self._handle(text)
        return self._flush()

    def _open(self, data):
        size = data[1] & 127
        mask = int.from_bytes(data[2:6] * 8, "little")
        payload = int.from_bytes(data[6 : 6 + size], "little") ^ mask
        return data[0], payload.to_bytes(size, "little").decode()

    def _handle(self, text):
        token = _speaker.set(self)
        try:
            self._call(text)
        finally:
            _speaker.reset(token)

    def _call(self, text):
        self._names[text] = self
        self._answer(text)
        self._names.pop(text)

    def _answer(self, text):
        if not self._may_send(text):
            return False
        with self._lock:
            self._out.append(self._frame(text))
            return True

    def _may_send(self, text):
        return not self._is_closed and isinstance(text, (str, bytes))

    def _frame(self, text):
        data = text.encode()
        return bytes((0x81, len(data))) + data

    def _flush(self):
        with self._lock:
            out = b"".join(self._out)
            self._out.clear()
        return out


def instructions(function):
    """What a call of `function` takes, in this thread."""
    count = 0
    thread = threading.get_ident()

    def instruction_came(code, offset):
        nonlocal count
        count += threading.get_ident() == thread

    def profile(frame, event, arg):
        nonlocal count
        if event == "c_call":
            count += C_CALL

    with _no_collection():
        with each_instruction(instruction_came):
            function()
        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            function()
        finally:
            sys.setprofile(before)
    return count


@contextlib.contextmanager
def _no_collection():
    """What other tests have left may have its weak references' callbacks run when it is found."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def each_instruction(tell):
    """Call `tell(code, offset)` before each instruction of this thread, perhaps of others."""
    if sys.version_info < (3, 12):

        def trace(frame, event, arg):
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
            if event == "opcode":
                tell(frame.f_code, frame.f_lasti)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)
        return
    # Since then a trace function sees the instructions of some functions only.
    monitoring = sys.monitoring
    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "cost")
    try:
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, tell)
        monitoring.set_events(tool, monitoring.events.INSTRUCTION)
        yield
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


def serve(app, sock, handler):
    """A channel that echoes what comes in `sock`, in Flask's contexts."""
    settings = Settings(ping_interval=None)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    with app.test_request_context("/echo?room=1&name=ann", headers=headers) as handshake:
        snapshot = RequestSnapshot(app, handshake.request, handshake.session)
    handler.context = WebSocketContext(snapshot)
    callbacks = HandlerCallbacks(handler, snapshot, running={})
    connection = Connection(
        callbacks,
        limits_of(handler, settings),
        budget=QueueBudget(settings.max_total_queue_size),
    )
    channel = Channel(Host(), connection, sock, Owner())
    connection.attach(channel)
    return channel


@contextlib.contextmanager
def echoing(handler):
    """A function that has `handler` answer so many messages."""
    app = Flask(__name__)
    app.secret_key = "known"
    app.config["WSHANDLER_BUS"] = "none"
    WebSockets(app)
    ours, client = socket.socketpair()
    with ours, client:
        ours.setblocking(False)
        channel = serve(app, ours, handler)

        def echo(count=1):
            client.sendall(FRAME * count)
            channel.serve(READABLE)
            assert client.recv(65536) == ECHO * count

        echo()  # what is done once does not count
        yield echo


def yardstick():
    """The instructions of the piece of Python that costs are multiples of."""
    step = Yardstick()
    step.take(FRAME)
    return instructions(lambda: step.take(FRAME))


def measure():
    """The cost of a message that comes with others, and of one that comes alone."""
    unit = yardstick()
    with echoing(Echo()) as echo:
        echo(TOGETHER)
        together = instructions(lambda: echo(TOGETHER)) / TOGETHER
        return {"together": together / unit, "alone": instructions(echo) / unit}


def measure_uses():
    """What a message costs more if its callback looks at something, for each of `USES`."""
    unit = yardstick()
    with echoing(Echo()) as echo:
        plain = instructions(echo)
    costs = {}
    for name, use in USES.items():
        with echoing(Using(use)) as echo:
            costs[name] = (instructions(echo) - plain) / unit
    return costs
