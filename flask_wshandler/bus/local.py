"""The bus of one machine: every process has a Unix socket, and a link to every other's.

There is no broker. A process listens once it subscribes to something; its thread starts when it is
waited for, or, with `listen_idly`, when another process has come. Whoever publishes looks
first whether the run directory has changed, and connects to what it finds there; so a process is
reached by everything that is published after its `wait_until_subscribed` has returned, and a
newcomer asks no other. A link carries one direction only, envelopes one behind the other, each with
its size before it.

`peers` finds the other processes, `loop` is the thread, `inbound` what comes. What fails is tried
again, by the thread as long as it does, and by whoever publishes; until then the bus is down.
Nothing is noted as done before it is.

Invariants:
- What is written to a link is written whole and in order, or the link is given up.
- `_lock` guards what is said below. It is held during calls that do not wait for others: files of
  the run directory, non-blocking sockets. It is never held while envelopes are delivered.
- Nothing that is called here raises for want of a descriptor, a thread, memory or room on a disk.
"""

from __future__ import annotations

import select
import selectors
import socket
import time

from ..runtime import locks, logs
from ..runtime.private_paths import UnsafeDirectory
from ..runtime.run_directory import RunDirectory
from .base import CLOSE_TIMEOUT_S, Bus
from .inbound import Inbound
from .loop import LoopThread
from .peer_link import Link, framed
from .peers import Peers

logger = logs.logger(__package__)

_CHECK_S = 2.0
"""How often a process looks whether the others can still find it."""
_CHECK_AGAIN_S = 0.5
"""How often while something does not work."""

# The parts that can fail: see `Bus._note_up`.
_LOOK = "look"
_LISTEN = "listen"
_ACCEPT = "accept"
_LOOP = "loop"


class LocalBus(Bus):
    """Carries envelopes between the processes of one user on one machine."""

    def __init__(self, app_name: str, max_queue_bytes: int) -> None:
        """Opens nothing yet, and looks at nothing."""
        #: Whose processes it finds.
        self.app_name = app_name
        super().__init__(max_queue_bytes)

    def __str__(self) -> str:
        try:
            return f"the bus in {self._directory.path}"
        except (OSError, UnsafeDirectory):
            return "the local bus"

    def _begin(self) -> None:
        super()._begin()
        # A fork may be about to become another user's, who has another place.
        self._directory = RunDirectory(self.app_name)
        #: Whether anything was published or waited for. Until then troubles are kept quiet.
        self._is_used = False
        self._lock = locks.Lock()
        self._has_drained = locks.condition_on(self._lock)
        self._name = self._directory.new_name()
        self._loop = LoopThread(self, self._lock)
        self._inbound = Inbound(self._loop, self._deliver, self.refuse, self._note_accepting)
        # Guarded by _lock.
        self._peers = Peers(self._directory, self._name, self.max_queue_bytes)
        self._listener: socket.socket | None = None
        #: Whether connections are not accepted yet: they wait in the kernel's queue.
        self._is_idle = False
        self._is_closed = False

    def reset_after_fork(self) -> None:
        """In a forked child: close what it has inherited, which is still its parent's."""
        inherited = [self._listener, *self._inbound, *(link.socket for link in self._peers)]
        for sock in inherited:
            if sock is not None:
                sock.close()
        self._loop.reset_after_fork()
        super().reset_after_fork()

    def _be_used(self) -> None:
        """Log from now on what keeps the bus from working, and what has been kept quiet."""
        if not self._is_used:
            self._is_used = True
            if not self.is_up:
                self._log_up(False, self.trouble)

    def _set_up(self, is_up: bool, reason: str, what: str = "") -> None:
        if self._is_used:
            super()._set_up(is_up, reason, what)
        else:
            self._note_up(is_up, reason, what)

    def _note_accepting(self, is_up: bool, reason: str) -> None:
        self._set_up(is_up, reason, _ACCEPT)

    # Publishing.

    def send(self, topic: str, data: bytes) -> None:
        """Write to every link, or queue for it."""
        del topic  # a process that does not listen to it throws it away
        self._be_used()
        frame = framed(data)
        dropped = 0
        with self._lock:
            if self._is_closed:
                return
            self._look_for_peers()
            dropped += self._peers.unreached_count
            for link in self._peers:
                dropped += self._put(link, frame)
        if dropped:
            self._count_dropped(dropped)

    @property
    def own_address(self) -> str:
        """The name of its socket."""
        return self._name

    def send_to(self, address: str, topic: str, data: bytes) -> bool:
        """Write to one link, or queue for it; False if there is none any more."""
        del topic
        self._be_used()
        with self._lock:
            if self._is_closed:
                return False
            self._look_for_peers()
            link = self._peers.link_to(address)
            dropped = 1 if link is None else self._put(link, framed(data))
            is_there = link in self._peers
        if dropped:
            self._count_dropped(dropped)
        return is_there

    def _put(self, link: Link, frame: bytes) -> int:
        try:
            dropped = link.put(frame)
        except OSError:
            return self._lose(link)
        if link.frames and not link.is_watched:
            link.is_watched = True
            self._loop.order(lambda: self._watch(link))
        if dropped and not link.is_overflowing:
            link.is_overflowing = True
            logger.warning(
                "%s: process %s takes nothing, and more than %d bytes wait for it; the oldest "
                "envelopes are dropped",
                self,
                link.name.partition("-")[0],
                self.max_queue_bytes,
            )
        return dropped

    def _wait_until_handed_over(self, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        with self._lock:
            while waiting := [
                link for link in self._peers if link.frames and not link.has_kept_waiting
            ]:
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    for link in waiting:
                        link.has_kept_waiting = True
                    return
                self._has_drained.wait(rest_s)

    def _lose(self, link: Link) -> int:
        """Give up a link; returns how many envelopes are lost with it."""
        lost = self._peers.remove(link)
        if link.is_watched:
            self._loop.order(lambda: self._close_watched(link.socket))
        else:
            link.socket.close()
        self._has_drained.notify_all()
        return lost

    def _look_for_peers(self) -> None:
        trouble = self._peers.find()
        if trouble is None:
            return
        if trouble:
            self._set_up(False, trouble, _LOOK)
            self._loop.start()
        else:
            self._set_up(True, "its directory can be used", _LOOK)

    def whereabouts(self) -> list[str]:
        """The run directory, and those of other users and other variables."""
        return self._peers.whereabouts(self, self.app_name)

    def peer_count(self) -> int:
        """How many others listen."""
        with self._lock:
            self._look_for_peers()
            return len(self._peers)

    # Subscribing.

    def subscribe(self, topic: str) -> None:
        """Deliver what comes for `topic`."""
        self._topics[topic] = None

    def unsubscribe(self, topic: str) -> None:
        """Stop delivering what comes for `topic`."""
        self._topics.pop(topic, None)

    def wait_until_subscribed(self, timeout_s: float = 1.0) -> bool:
        """Listen, if that is not done yet. Does not wait."""
        del timeout_s
        if self._listener is not None and not self._is_idle:
            return True
        self._be_used()
        with self._lock:
            if not self._is_closed:
                self._listen()
                self._accept_from_now_on()
            return self._listener is not None

    def listen_idly(self) -> bool:
        """Listen without a thread: `look` starts it when a process has connected."""
        with self._lock:
            if self._listener is None and not self._is_closed:
                self._is_idle = True
                self._listen()
            return self._is_idle

    def look(self) -> bool:
        """Start the thread if another process has connected, or can't find this one any more."""
        with self._lock:
            listener = self._listener
            if not self._is_idle or self._is_closed or listener is None:
                return False
            if not self._directory.keep(self._name) or _is_readable(listener):
                self._accept_from_now_on()
            return self._is_idle

    def _listen(self) -> None:
        if self._listener is not None:
            return
        try:
            self._listener = self._directory.listen(self._name)
        except (OSError, UnsafeDirectory) as error:
            self._set_up(False, str(error), _LISTEN)
            self._is_idle = False
            self._loop.start()  # the thread tries again
        else:
            self._set_up(True, "its directory can be used", _LISTEN)
            if not self._is_idle:
                self._register()

    def _accept_from_now_on(self) -> None:
        if self._is_idle:
            self._is_idle = False
            self._register()

    def _register(self) -> None:
        listener = self._listener
        assert listener is not None  # it has just been made, or is idle
        read = selectors.EVENT_READ
        self._loop.order(lambda: self._loop.register(listener, read, self._inbound.accept))

    # In the loop's thread.

    @property
    def most_to_check_s(self) -> float:
        """The seconds until the next check, at most."""
        return _CHECK_AGAIN_S if self._troubles else _CHECK_S

    def loop_is_up(self, is_up: bool, reason: str) -> None:
        """Take note of whether the thread can do its work. Any thread."""
        self._set_up(is_up, reason, _LOOP)

    def loop_began(self) -> None:
        """Clear away what processes have left behind that were killed."""
        self._directory.clear_others()

    def give_up(self, sock: object) -> None:
        """Have nothing more of a socket that can't be served, rather than the same again."""
        if sock is self._listener and isinstance(sock, socket.socket):
            self._loop.unregister(sock)  # until the next check
        elif isinstance(sock, socket.socket) and sock in self._inbound:
            self._inbound.end(sock)
        with self._lock:
            for link in self._peers:
                if link.socket is sock:
                    self._count_dropped(self._lose(link))

    def _watch(self, link: Link) -> None:
        self._loop.register(link.socket, selectors.EVENT_WRITE, lambda _: self._flush(link))

    def _flush(self, link: Link) -> None:
        with self._lock:
            if link not in self._peers:
                return  # lost meanwhile; it is about to be closed
            try:
                link.flush()
            except OSError:
                self._count_dropped(self._lose(link))
                return
            if not link.frames:
                link.is_watched = False
                self._loop.unregister(link.socket)
                self._has_drained.notify_all()

    def _close_watched(self, sock: socket.socket) -> None:
        self._loop.unregister(sock)  # which it is not any more after a fault
        sock.close()

    def check(self) -> None:
        """See to it that the others can find this process, whatever became of the directory.

        And try again what has not worked.
        """
        with self._lock:
            if self._is_closed:
                return
            if _LOOK in self._troubles:
                self._look_for_peers()
            if self._topics:
                self._accept_from_now_on()  # the thread runs anyway
                self._see_to_listener()
            listener = self._listener
        if listener is not None and _ACCEPT in self._troubles:
            self._inbound.accept(listener)

    def _see_to_listener(self) -> None:
        if self._loop.has_orders:
            return  # the listener is about to be registered
        listener = self._listener
        if listener is not None and self._directory.keep(self._name):
            if not self._loop.is_registered(listener):
                self._register()  # no connection could be accepted
            return
        if listener is not None:
            self._set_up(False, f"its socket {self._name} was removed", _LISTEN)
            self._listener = None
            self._loop.unregister(listener)
            listener.close()
        # Under the same name: a process that still has a link here shall not make another.
        self._listen()

    # The end.

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop listening, let the others take what is queued, and end the thread."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._listener is not None:
                self._directory.remove(self._name)
                self._directory.remove_if_empty()
            self._wait_until_drained(timeout_s)
            is_running = self._loop.is_running
            lost = 0
            for link in self._peers:
                link.is_watched = link.is_watched and is_running
                lost += self._lose(link)
            self._loop.end()
            if self._listener is not None and (self._is_idle or not is_running):
                self._listener.close()  # which the thread would do
        if lost:
            self._count_dropped(lost)
        self._loop.join(timeout_s)

    def _wait_until_drained(self, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while any(link.frames for link in self._peers):
            rest_s = until_s - time.monotonic()
            if rest_s <= 0:
                return
            self._has_drained.wait(rest_s)


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()  # which needs no descriptor
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
