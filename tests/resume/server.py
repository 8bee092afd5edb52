"""A small server of wshandler.1 in a thread, and its like for answers that open no WebSocket."""

import contextlib
import secrets
import socket
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from flask_wshandler.resume.endpoint import (
    PROBE,
    SUBPROTOCOL,
    Endpoint,
    Hello,
    parse_acknowledgement,
    parse_offer,
)
from tests.deadlines import DEADLINE_S


class Session:
    """What lasts of a client."""

    def __init__(self, sent=0, received=0):
        self.token = secrets.token_hex(16)
        self.endpoint = Endpoint(sent, received)
        self.taken = []
        self.has_taken = threading.Condition(threading.RLock())
        self.websocket = None
        self.returns = 0

    def send(self, message, place=None):
        """A message, or one that has that place in a log."""
        head = "m" if place is None else f"@{place}\n"
        self.say(head + message if isinstance(message, str) else head.encode() + message)

    def miss(self, place):
        """Messages up to that place in a log can't be had."""
        self.say(f"g{place}")

    def say(self, wire):
        with self.has_taken:
            self.endpoint.keep(wire)
            self.write(wire)

    def write(self, wire):
        if self.websocket is not None:
            with contextlib.suppress(ConnectionClosed):
                self.websocket.send(wire)

    def receive(self, wire):
        with self.has_taken:
            if wire[:1] in ("m", b"m"):
                self.taken.append(wire[1:])
                if self.endpoint.take(len(wire)):
                    self.write(self.endpoint.tell())
                self.has_taken.notify_all()
            elif wire == PROBE:
                self.write(self.endpoint.tell())
            else:
                self.endpoint.acknowledge(parse_acknowledgement(wire))
                self.has_taken.notify_all()

    def wait_taken(self, count):
        """The messages, once there are so many."""
        with self.has_taken:
            assert self.has_taken.wait_for(lambda: len(self.taken) >= count, DEADLINE_S)
            return list(self.taken)


class ResumableServer:
    """Serves wshandler.1, or plain WebSockets: `is_plain`."""

    def __init__(self, *, ping=20, says_every_s=1.0, **options):
        self.ping = ping
        self.says_every_s = says_every_s
        self.is_plain = False
        self.sessions = {}
        self.order = []
        self.requests = []
        self.refusals = []
        self.changed = threading.Condition()
        options.setdefault("compression", None)
        self.server = serve(
            self.serve,
            "127.0.0.1",
            0,
            select_subprotocol=lambda _, offered: (
                SUBPROTOCOL if SUBPROTOCOL in offered and not self.is_plain else None
            ),
            process_request=self.process_request,
            ping_interval=None,
            close_timeout=1,
            **options,
        )
        self.port = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()

    @property
    def uri(self):
        return f"ws://127.0.0.1:{self.port}/"

    def process_request(self, connection, request):
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            if not self.refusals:
                return None
            status, headers, body = self.refusals.pop(0)
        response = connection.respond(status, body)
        response.headers.update(headers)
        return response

    def session(self, number=0):
        """The one that was made so many sessions after the first, once it is."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.order) > number, DEADLINE_S)
            return self.order[number]

    def wait_requests(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, DEADLINE_S)

    def wait_back(self, session, returns):
        with self.changed:
            assert self.changed.wait_for(lambda: session.returns >= returns, DEADLINE_S)

    def serve(self, websocket):
        if websocket.subprotocol is None:
            return self.serve_plainly(websocket)
        session = self.enter(websocket)
        with contextlib.suppress(ConnectionClosed):
            while True:
                try:
                    wire = websocket.recv(self.says_every_s)
                except TimeoutError:
                    with session.has_taken:
                        owes = session.endpoint.owes_acknowledgement
                        websocket.send(session.endpoint.tell() if owes else PROBE)
                    continue
                with session.has_taken:
                    if session.websocket is not websocket:
                        return None
                    session.receive(wire)
        return None

    def enter(self, websocket):
        header = websocket.request.headers["Sec-WebSocket-Protocol"]
        offer = parse_offer([token.strip() for token in header.split(",")])
        returns = offer.returns
        with self.changed:
            known = self.sessions.get(returns.session) if returns else None
            session = known or self.new_session(returns)
        with session.has_taken:
            if known:
                session.endpoint.acknowledge(returns.received)
                session.has_taken.notify_all()
                self.cut(session)
            self.greet(session, websocket, offer, known is not None)
        with self.changed:
            session.returns += known is not None
            self.changed.notify_all()
        return session

    def greet(self, session, websocket, offer, is_known):
        endpoint = session.endpoint
        protocol = offer.subprotocols[0] if offer.subprotocols else None
        is_lost = offer.returns is not None and not offer.returns.is_anew and not is_known
        endpoint.tell()
        hello = Hello(session.token, endpoint.received, is_known, is_lost, self.ping, protocol)
        session.websocket = websocket
        session.write(hello.text())
        for wire in endpoint:
            session.write(wire)

    def new_session(self, returns):
        counts = (returns.received, returns.acknowledged) if returns else ()
        session = Session(*counts)
        self.sessions[session.token] = session
        self.order.append(session)
        self.changed.notify_all()
        return session

    def serve_plainly(self, websocket):
        with contextlib.suppress(ConnectionClosed):
            for message in websocket:
                if message == "cut":
                    websocket.socket.shutdown(socket.SHUT_RDWR)
                else:
                    websocket.send(message)

    def forget(self):
        """Of the sessions that there are no client can return to one."""
        self.sessions.clear()

    def cut(self, session):
        """Reset the network connection of a session."""
        with session.has_taken:
            websocket, session.websocket = session.websocket, None
        with contextlib.suppress(OSError):
            if websocket is not None:
                websocket.socket.shutdown(socket.SHUT_RDWR)


class Scripted:
    """A server that answers each connection with bytes, whatever it is asked."""

    def __init__(self, *answers, is_kept=False):
        self.answers = list(answers)
        self.is_kept = is_kept
        self.kept = []
        self.heard = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)

    @property
    def uri(self):
        return f"ws://127.0.0.1:{self.port}/"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for channel in self.kept:
            channel.close()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                channel, _ = self.listener.accept()
                self.kept.append(channel)
                self.heard.append(channel.recv(65536))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                with contextlib.suppress(OSError):
                    channel.sendall(answer(self.heard[-1]) if callable(answer) else answer)
                if not self.is_kept:
                    channel.close()
