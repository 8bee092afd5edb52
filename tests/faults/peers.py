"""Clients of both workers of a server, which speak to them and wait for nothing for long."""

import contextlib
import itertools
import json
import socket
import time
from urllib.parse import urlsplit

import websocket

from tests.deadlines import DEADLINE_S, wait_for

GIVEN_UP = (OSError, websocket.WebSocketException, KeyError)
ROUND_S = 0.5

_numbers = itertools.count()


class Peer:
    """A client, and what it has been sent."""

    def __init__(self, url):
        self.texts = []
        where = urlsplit(url)
        # Given to it, because it does not close one whose handshake or close has gone wrong.
        self._tcp = socket.create_connection((where.hostname, where.port), DEADLINE_S)
        try:
            self._socket = websocket.create_connection(url, timeout=DEADLINE_S, socket=self._tcp)
            self.pid = json.loads(self.read(lambda text: text.startswith("{")))["pid"]
        except BaseException:
            self.close()
            raise

    def tell(self, *order):
        self._socket.send(json.dumps(order))

    def read(self, is_wanted, seconds=DEADLINE_S):
        """The first such text, from now on. Raises TimeoutError."""
        until_s = time.monotonic() + seconds
        while (rest_s := until_s - time.monotonic()) > 0:
            self._socket.settimeout(rest_s)
            try:
                # With control frames: pings would begin the time-out anew.
                opcode, data = self._socket.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                break
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise EOFError("the connection is closed")
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self.texts.append(data.decode())
                if is_wanted(self.texts[-1]):
                    return self.texts[-1]
        raise TimeoutError(f"not sent in {seconds} s; the last were {self.texts[-5:]}")

    def ask(self):
        """What its process says of itself."""
        number = next(_numbers)
        self.tell("figures", number)
        prefix = f"figures {number} "
        return json.loads(self.read(lambda text: text.startswith(prefix)).removeprefix(prefix))

    def hears(self, speaker, *order):
        """Whether it gets what `speaker` has its process say, within a moment."""
        text = f"hello {next(_numbers)}"
        speaker.tell(*order, text)
        try:
            return bool(self.read(lambda found: found == text, ROUND_S))
        except TimeoutError:
            return False

    def close(self):
        with self._tcp, contextlib.suppress(*GIVEN_UP, AttributeError):  # it may not be there yet
            self._socket.close(timeout=1)

    def read_close(self):
        """The code of the close frame that comes."""
        self._socket.settimeout(DEADLINE_S)
        while True:
            opcode, data = self._socket.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big")


@contextlib.contextmanager
def one_of_each(server):
    """A client of each of two workers."""
    peers = {}

    def found():
        with contextlib.suppress(*GIVEN_UP, EOFError, TimeoutError):
            peer = Peer(server.url("/ws"))
            if peers.setdefault(peer.pid, peer) is not peer:
                peer.close()
        return len(peers) == len(server.workers)

    try:
        wait_for(found, "client of each worker")
        yield list(peers.values())
    finally:
        for peer in peers.values():
            peer.close()


def check_all_works(server):
    """Answers, broadcasts both ways, also to who joined meanwhile, and figures that say so."""
    with one_of_each(server) as peers:
        for peer in peers:
            peer.tell("echo", "echo")
            peer.read(lambda text: text == "echo")
        for speaker, hearer in (peers, peers[::-1]):
            wait_for(lambda s=speaker, h=hearer: h.hears(s, "say"), "broadcast")
            wait_for(lambda s=speaker, h=hearer: h.hears(s, "say_as_newcomer"), "newcomer's word")
        for peer in peers:
            wait_for(lambda peer=peer: is_well(peer.ask()), "figures of one that is well")
            assert peer.ask()["raised"] == []


def is_well(figures):
    return figures["bus"]["is_up"] and figures["newcomer_is_up"] and figures["has_timer"]
