"""Resumable connections without sockets, threads or time: the test says what happens, and when."""

import base64
import collections
import json
import types

from websockets.frames import Frame, Opcode

from flask_wshandler.protocol.carrier import Carrier
from flask_wshandler.protocol.frames import OutgoingMessage
from flask_wshandler.resume.endpoint import Offer
from flask_wshandler.resume.registry import Client, Resumables, Who
from flask_wshandler.settings import Settings, limits_of

WHO = Who("/ws", "app.Handler", None)
_WEBSOCKET = Carrier()


class Clock:
    def __init__(self):
        self.time_s = 1000.0

    def now_s(self):
        return self.time_s


class ModelTimer:
    """Calls its targets when the test moves time."""

    def __init__(self):
        self.clock = Clock()
        self._due_s = {}

    def wake(self, target, seconds):
        due_s = self.clock.now_s() + seconds
        self._due_s[target] = min(due_s, self._due_s.get(target, due_s))

    def cancel(self, target):
        self._due_s.pop(target, None)

    def advance(self, seconds):
        until_s = self.clock.now_s() + seconds
        while self._due_s and min(self._due_s.values()) <= until_s:
            target, due_s = min(self._due_s.items(), key=lambda item: item[1])
            self.clock.time_s = max(self.clock.time_s, due_s)
            del self._due_s[target]
            again_s = target.on_time(self.clock.now_s())
            if again_s is not None:
                self.wake(target, max(again_s, 0.001))
        self.clock.time_s = until_s


class ModelHome:
    """What an engine is to resumable connections."""

    def __init__(self):
        self.timer = ModelTimer()
        self.is_stopping = self.has_stopped_waiting = False
        self.away = set()
        self.turns = collections.deque()
        self.ends = []

    def went_away(self, connection):
        assert connection not in self.away
        self.away.add(connection)

    def is_coming_back(self, connection):
        self.away.discard(connection)

    def is_away_no_more(self, connection):
        self.away.discard(connection)

    def count_end(self, code):
        self.ends.append(code)

    def request_turn_of(self, connection):
        self.turns.append(connection)

    def run_turns(self):
        while self.turns:
            self.turns.popleft().serve(0)


class RecordingHandler:
    """Callbacks that note what happens, and see to it that it happens one at a time."""

    def __init__(self):
        self.events = []
        self.taken = []
        self.connection = None
        self.during = lambda: None
        self._is_running = False

    def _run(self, event):
        assert not self._is_running, f"{event} while another callback runs"
        assert "on_close" not in self.events, f"{event} after the last callback"
        self._is_running = True
        self.events.append(event)
        self.during()
        self._is_running = False

    def opened(self, connection):
        self.connection = connection
        self._run("on_open")

    def message_received(self, message):
        self.taken.append(message)
        self._run("on_message")

    def session_check_came(self):
        return None

    def went_away(self):
        self._run("on_away")

    def came_back(self):
        self._run("on_back")

    def closed(self, code, reason):
        self.code = code
        self._run("on_close")


def frame(message):
    """One from the client."""
    is_text = isinstance(message, str)
    opcode = Opcode.TEXT if is_text else Opcode.BINARY
    return Frame(opcode, message.encode() if is_text else message).serialize(mask=True)


def logged(message, place):
    """One of a collection with history."""
    outgoing = OutgoingMessage(message)
    outgoing.place = place
    return outgoing


def close(code):
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big")).serialize(mask=True)


def frames_of(data):
    """(opcode, payload) of each whole frame from the server, and what is left."""
    found = []
    while len(data) >= 2:
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            break
        payload = bytes(data[start : start + size])
        found.append((Opcode(data[0] & 15), payload))
        data = data[start + size :]
    return found, bytes(data)


def unchunked(data):
    """The bytes in the whole chunks, and whether the last one has come."""
    found = b""
    while b"\r\n" in data:
        size, data = data.split(b"\r\n", 1)
        size = int(size, 16)
        if len(data) < size + 2:
            break
        if not size:
            return found, True
        found, data = found + data[:size], data[size + 2 :]
    return found, False


def events_of(data):
    """Each whole event of a stream: texts, bytes, and closes as [code, reason]."""
    found = []
    *events, _ = data.decode().split("\n\n")
    for event in events:
        lines = [line.partition(": ")[::2] for line in event.split("\n")]
        said = "\n".join(value for name, value in lines if name == "data")
        kind = dict(lines).get("event")
        decoders = {
            None: str,
            "text": lambda text: base64.b64decode(text).decode(),
            "binary": base64.b64decode,
            "close": json.loads,
        }
        found.append(decoders[kind](said))
    return found


class Wire:
    """One network connection: the server's socket and its turns, as a channel has them."""

    def __init__(self, timer, leg, capacity=None):
        self.leg = leg
        self._timer = timer
        self._capacity = capacity
        self.sent = b""
        self._came = []
        self._is_lost = False
        self._has_ended = False
        self._is_serving = False
        self._has_opened = False
        self.is_over = False
        self.wants_turn = True
        self.due_tick = None
        leg.attach(self)

    # What the leg needs.

    def write(self, data):
        if self._is_lost:
            raise BrokenPipeError
        taken = len(data) if self._capacity is None else min(len(data), self._capacity)
        if self._capacity is not None:
            self._capacity -= taken
        self.sent += bytes(data[:taken])
        self.leg.sent_bytes += taken
        return taken

    def request_turn(self):
        self.wants_turn = True

    def request_wake(self, seconds):
        self._timer.wake(self, seconds)

    def now_s(self):
        return self._timer.clock.now_s()

    def unacknowledged_bytes(self):
        return 0

    def report(self, fault):
        raise fault

    def on_time(self, now_s):
        return None if self.is_over else self.leg.on_time(now_s)

    # What the test does.

    def receive(self, data):
        """Bytes of the client have come."""
        self._came.append(data)
        self.wants_turn = True

    def take(self, size):
        """The client takes so many bytes more."""
        self._capacity += size
        self.wants_turn = True

    def lose(self):
        """The server's next look finds the network gone."""
        self._is_lost = True
        self.wants_turn = True

    def end(self):
        """The client has ended its stream."""
        self._has_ended = True
        self.wants_turn = True

    def serve(self):
        """Take turns until there is nothing to do. A turn amid one of this wire's waits."""
        if self._is_serving:
            return
        self._is_serving = True
        while self.wants_turn and not self.is_over:
            self.wants_turn = False
            self._serve()
        self._is_serving = False

    def _serve(self):
        leg = self.leg
        if not self._has_opened:
            self._has_opened = True
            leg.open()
        leg.do_pending()
        while leg.wants_data and self._came:
            leg.receive_data(self._came.pop(0))
        if leg.wants_data and self._is_lost:
            if leg.is_overdue or self._is_lost:
                leg.abort()
        elif leg.wants_data and self._has_ended:
            leg.receive_eof()
        elif leg.wants_data and leg.is_overdue:
            leg.judge()
        if leg.send_queue.queued_bytes:
            leg.flush()
        if leg.is_closed:
            self.is_over = True
            self._timer.cancel(self)
            leg.finish()
            leg.detach()

    def messages(self):
        """Take what has come out: texts, bytes, and close codes as ints."""
        found, self.sent = frames_of(self.sent)
        decoded = []
        for opcode, payload in found:
            if opcode is Opcode.CLOSE:
                decoded.append(int.from_bytes(payload[:2], "big"))
            elif opcode in (Opcode.TEXT, Opcode.BINARY):
                decoded.append(payload.decode() if opcode is Opcode.TEXT else payload)
        return decoded


class _Bus:
    """Over which the other processes are asked."""

    def __init__(self, others):
        self._others = others

    def ask(self, verb, arguments, *, is_enough):
        answers = [each.respond(verb, json.loads(json.dumps(arguments))) for each in self._others]
        by_process = dict(enumerate(json.loads(json.dumps(answers))))
        return types.SimpleNamespace(by_process=by_process)


class Site:
    """A server: its resumable connections, and the handlers it has made."""

    def __init__(self, budget=None, who=WHO, subprotocol=None, **settings):
        self.home = ModelHome()
        self.budget = budget
        self.resumables = Resumables(self.home, budget, "of a model")
        self.others = ()
        policy = settings.pop("queue_policy", "close")
        handler = types.SimpleNamespace(queue_policy=policy)
        self.limits = limits_of(handler, Settings(**settings))
        self.handlers = []
        self.wires = []
        self.who = who
        self.subprotocol = subprotocol
        self.make_handler = RecordingHandler

    @property
    def handler(self):
        """The last one."""
        return self.handlers[-1]

    @property
    def connection(self):
        return self.handler.connection

    def connect(
        self, returns=None, who=None, capacity=None, slot=None, places=(), carrier=_WEBSOCKET
    ):
        """A handshake has come; its wire, which has had no turn."""
        leg = None
        if returns is not None:
            leg = self.resumables.leg_of(returns, who or self.who, carrier)
        if leg is None:
            handler = self.make_handler()
            self.handlers.append(handler)
            name = f"{len(self.handlers):016x}"
            client = Client(name, who or self.who, self.subprotocol)
            offer = Offer((), returns, dict(places))
            leg = self.resumables.begin(handler, self.limits, client, offer, carrier, slot)
            if returns is not None and not returns.is_anew:
                self.resumables.ask_for_release(leg, returns, who or self.who)
        wire = Wire(self.home.timer, leg, capacity)
        self.wires.append(wire)
        return wire

    def serve(self):
        """Have all turns taken."""
        while any(wire.wants_turn and not wire.is_over for wire in self.wires) or self.home.turns:
            for wire in self.wires:
                wire.serve()
            self.home.run_turns()

    def advance(self, seconds):
        self.home.timer.advance(seconds)
        self.serve()

    def reach_another_process(self):
        """Have the next handshakes come to one that can only ask this one to let go."""
        self.others += (self.resumables,)
        bus = _Bus(self.others)
        self.resumables = Resumables(self.home, self.budget, "of a model", bus.ask)

    def forget(self):
        """Another process begins, and there is no other."""
        self.home = ModelHome()
        self.others = ()
        self.resumables = Resumables(self.home, self.budget, "of a model")
