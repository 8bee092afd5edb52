"""The bus of one machine: every process has a Unix socket, and a link to every other's.

There is no broker. A process listens once it subscribes to something; its thread starts when it is
waited for, or, with `listen_idly`, when another process has come. Whoever publishes looks
first whether the run directory has changed, and connects to whom he finds there; so a process is
reached by everything that is published after its `wait_until_subscribed` has returned, and a
newcomer asks nobody. A link carries one direction only, envelopes one behind the other, each with
its size before it.

Invariants:
- A process has one link at most to another, named after the other's socket.
- What is written to a link is written whole and in order, or the link is given up.
- `_lock` guards what is said below. It is held during calls that do not wait for others: files of
  the run directory, non-blocking sockets. It is never held while envelopes are delivered.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable

from .. import process
from .contract import CLOSE_TIMEOUT_S, Bus
from .envelope import MAX_ENVELOPE_BYTES
from .link import Link
from .run_directory import RunDirectory, UnsafeDirectory

logger = logging.getLogger(__name__)

_SIZE = struct.Struct("!I")
_READ_BYTES = 256 * 1024
_CHECK_S = 2.0
"""How often a process looks whether the others can still find it."""
_RETRY_S = 0.2
"""For a member whose queue of newcomers is full."""


class LocalBus(Bus):
    """Carries envelopes between the processes of one user on one machine."""

    def __init__(self, app_name: str, max_queue_bytes: int) -> None:
        """Opens nothing yet, and looks at nothing."""
        self._app_name = app_name
        super().__init__(max_queue_bytes)

    def __str__(self) -> str:
        try:
            return f"the bus in {self._directory.path}"
        except UnsafeDirectory:
            return "the local bus"

    def _begin(self) -> None:
        super()._begin()
        # A fork may be about to become another user's, who has another place.
        self._directory = RunDirectory(self._app_name)
        #: Whether anything was published or waited for. Until then troubles are kept quiet.
        self._is_used = False
        self._lock = threading.Lock()
        self._has_drained = threading.Condition(self._lock)
        # Guarded by _lock.
        self._links: dict[str, Link] = {}
        self._version: tuple[int, int] | None = None
        self._is_settled = False
        self._full: set[str] = set()
        self._retry_at_s = 0.0
        self._name = self._directory.new_name()
        self._listener: socket.socket | None = None
        #: Whether nobody accepts yet: who connects waits in the kernel's queue.
        self._is_idle = False
        self._thread: threading.Thread | None = None
        self._waker: socket.socket | None = None
        self._wakee: socket.socket | None = None
        self._orders: list[Callable[[], object]] = []
        self._is_closed = False
        # The thread's own.
        self._is_over = False
        self._selector: selectors.BaseSelector | None = None
        self._inbound: dict[socket.socket, bytearray] = {}

    def forget(self) -> None:
        """In a forked child: close what it has inherited, which is still its parent's."""
        inherited = [self._listener, self._waker, self._wakee, *self._inbound]
        inherited += [link.socket for link in self._links.values()]
        for sock in inherited:
            if sock is not None:
                sock.close()
        if self._selector is not None:
            self._selector.close()  # and nothing unregistered: an epoll set is shared
        super().forget()

    def _be_used(self) -> None:
        """Log from now on what keeps the bus from working, and what has been kept quiet."""
        if not self._is_used:
            self._is_used = True
            if not self.is_up:
                self._log_up(False, self.trouble)

    def _set_up(self, is_up: bool, reason: str) -> None:
        if self._is_used:
            super()._set_up(is_up, reason)
        else:
            self._note_up(is_up, reason)

    # Publishing.

    def send(self, topic: str, data: bytes) -> None:
        """Write to every link, or queue for it."""
        del topic  # who does not listen to it throws it away
        self._be_used()
        frame = _SIZE.pack(len(data)) + data
        dropped = 0
        with self._lock:
            if self._is_closed:
                return
            self._look_for_members()
            dropped += len(self._full)
            for link in list(self._links.values()):
                dropped += self._put(link, frame)
        if dropped:
            self._count_dropped(dropped)

    def _put(self, link: Link, frame: bytes) -> int:
        try:
            dropped = link.put(frame)
        except OSError:
            return self._lose(link)
        if link.frames and not link.is_watched:
            link.is_watched = True
            self._order(lambda: self._watch(link))
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
                link for link in self._links.values() if link.frames and not link.has_kept_waiting
            ]:
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    for link in waiting:
                        link.has_kept_waiting = True
                    return
                self._has_drained.wait(rest_s)

    def _lose(self, link: Link) -> int:
        """The other process has gone; returns how many envelopes are lost with it."""
        self._links.pop(link.name, None)
        self._is_settled = False  # its socket's file may have to be cleared away
        lost, link.frames = len(link.frames), collections.deque()
        if link.is_watched:
            self._order(lambda: self._close_watched(link.socket))
        else:
            link.socket.close()
        self._has_drained.notify_all()
        return lost

    def _look_for_members(self) -> None:
        version = self._directory.version()
        if version == self._version and self._is_settled and not self._is_time_to_retry():
            return
        self._is_settled = self._directory.is_settled(version)
        self._version = version
        self._full.clear()
        try:
            self._directory.check()
            names = self._directory.members()
        except FileNotFoundError:
            names = []  # nobody listens
        except (OSError, UnsafeDirectory) as error:
            self._set_up(False, str(error))
            return
        if self._listener is not None or not self._topics:
            self._set_up(True, "its directory can be used")
        for name in names:
            if name != self._name and name not in self._links:
                self._connect(name)

    def _is_time_to_retry(self) -> bool:
        return bool(self._full) and time.monotonic() >= self._retry_at_s

    def _connect(self, name: str) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(self._directory.address(name))
            if not _is_ours(sock):
                raise PermissionError(f"{name} belongs to another user")
        except ConnectionRefusedError:
            sock.close()
            self._directory.remove(name)  # its process was killed
        except BlockingIOError:
            sock.close()
            self._full.add(name)
            self._retry_at_s = time.monotonic() + _RETRY_S
        except OSError:
            sock.close()  # it has just gone
        else:
            self._links[name] = Link(name, sock, self.max_queue_bytes)

    def whereabouts(self) -> list[str]:
        """The run directory, and those of other users and other variables."""
        said = [f"Looked on {self} for {self._app_name!r}, as the user {_user(os.geteuid())}."]
        strangers = set()
        for place in self._directory.other_places():
            if place.user_id == os.geteuid():
                if place.has_app:
                    said.append(f"The app was in {place.top}, by another XDG_RUNTIME_DIR.")
            elif place.has_app:
                user = _user(place.user_id)
                said.append(
                    f"The app was in {place.top}, as the user {user}: see `sudo -u {user}`."
                )
            elif place.has_app is None:
                strangers.add(_user(place.user_id))
        if strangers:
            said.append(
                f"Other users have apps here that can't be seen: {', '.join(sorted(strangers))}."
            )
        return said

    def peer_count(self) -> int:
        """How many others listen."""
        with self._lock:
            self._look_for_members()
            return len(self._links)

    # Subscribing.

    def subscribe(self, topic: str) -> None:
        """Deliver what comes for `topic`."""
        self._topics[topic] = None

    def unsubscribe(self, topic: str) -> None:
        """Deliver it no more."""
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
        """Listen without a thread: `look` starts it when somebody has come."""
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
            if not self._directory.has(self._name) or _is_readable(listener):
                self._accept_from_now_on()
            return self._is_idle

    def _listen(self) -> None:
        if self._listener is not None:
            return
        try:
            self._listener = self._directory.listen(self._name)
        except (OSError, UnsafeDirectory) as error:
            self._set_up(False, str(error))
            self._is_idle = False
            self._start()  # the thread tries again
        else:
            self._set_up(True, "its directory can be used")
            if not self._is_idle:
                self._register()

    def _accept_from_now_on(self) -> None:
        if self._is_idle:
            self._is_idle = False
            self._register()

    def _register(self) -> None:
        listener = self._listener
        assert listener is not None  # it has just been made, or is idle
        self._order(lambda: self._selector_of_thread.register(listener, READ, self._accept))

    # The thread.

    def _order(self, order: Callable[[], object]) -> None:
        """Have the thread do something that only it may. With _lock held."""
        self._orders.append(order)
        self._start()
        assert self._waker is not None  # _start makes it
        with contextlib.suppress(BlockingIOError):  # full: it will wake up anyway
            self._waker.send(b"\0")

    def _start(self) -> None:
        if self._thread is not None:
            return
        process.stop_at_exit()
        self._waker, self._wakee = socket.socketpair()
        self._waker.setblocking(False)
        self._wakee.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakee, READ, self._take_orders)
        self._thread = threading.Thread(target=self._run, name="wshandler-bus", daemon=True)
        self._thread.start()

    @property
    def _selector_of_thread(self) -> selectors.BaseSelector:
        assert self._selector is not None  # the thread has it
        return self._selector

    def _run(self) -> None:
        self._directory.clear_others()
        selector = self._selector_of_thread
        check_at_s = time.monotonic() + _CHECK_S
        while not self._is_over:
            for key, _ in selector.select(max(0.0, check_at_s - time.monotonic())):
                try:
                    key.data(key.fileobj)
                except Exception:
                    logger.exception("%s goes on", self)
            if time.monotonic() >= check_at_s:
                self._check()
                check_at_s = time.monotonic() + _CHECK_S
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)  # we register nothing else
            key.fileobj.close()
        selector.close()

    def _take_orders(self, wakee: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            wakee.recv(4096)
        with self._lock:
            orders, self._orders = self._orders, []
        for order in orders:
            order()

    def _watch(self, link: Link) -> None:
        selector = self._selector_of_thread
        selector.register(link.socket, selectors.EVENT_WRITE, lambda _: self._flush(link))

    def _flush(self, link: Link) -> None:
        selector = self._selector_of_thread
        with self._lock:
            if link.name not in self._links:
                return  # lost meanwhile; it is about to be closed
            try:
                link.flush()
            except OSError:
                self._count_dropped(self._lose(link))
                return
            if not link.frames:
                link.is_watched = False
                selector.unregister(link.socket)
                self._has_drained.notify_all()

    def _close_watched(self, sock: socket.socket) -> None:
        self._selector_of_thread.unregister(sock)
        sock.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # No descriptors are left. Another look at the next check, rather than at once.
            self._set_up(False, f"no connection can be accepted ({error})")
            self._selector_of_thread.unregister(listener)
            return
        sock.setblocking(False)
        if not _is_ours(sock):
            sock.close()
            return
        self._inbound[sock] = bytearray()
        self._selector_of_thread.register(sock, READ, self._read)

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end_inbound(sock)
            return
        buffer = self._inbound[sock]
        buffer += data
        came = []
        begin = 0
        while len(buffer) - begin >= _SIZE.size:
            (size,) = _SIZE.unpack_from(buffer, begin)
            if size > MAX_ENVELOPE_BYTES:
                self.refuse(f"an envelope of {size} bytes; {MAX_ENVELOPE_BYTES} are taken")
                self._end_inbound(sock)
                break
            end = begin + _SIZE.size + size
            if len(buffer) < end:
                break
            came.append(bytes(buffer[begin + _SIZE.size : end]))
            begin = end
        if begin:
            del buffer[:begin]
            self._deliver(came)

    def _end_inbound(self, sock: socket.socket) -> None:
        self._selector_of_thread.unregister(sock)
        del self._inbound[sock]
        sock.close()

    def _check(self) -> None:
        """See to it that the others can find this process, whatever became of the directory."""
        with self._lock:
            listener = self._listener
            if self._is_closed or not self._topics:
                return
            self._accept_from_now_on()  # the thread runs anyway
            if self._orders:
                return  # the listener is about to be registered
            if listener is not None and self._directory.has(self._name):
                if listener.fileno() in self._selector_of_thread.get_map():
                    return
                # It could accept nobody, for lack of descriptors.
                self._selector_of_thread.register(listener, READ, self._accept)
                self._set_up(True, "connections are accepted again")
                return
            if listener is not None:
                self._set_up(False, f"its socket {self._name} was removed")
                self._listener = None
                if listener.fileno() in self._selector_of_thread.get_map():
                    self._selector_of_thread.unregister(listener)
                listener.close()
            # Under the same name: whoever still has a link here shall not make another.
            self._listen()

    # The end.

    def _end(self) -> None:
        # In the thread: were this set by another, it could be gone before it was to be woken.
        self._is_over = True

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Be found no more, let the others take what is queued, and end the thread."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._listener is not None:
                self._directory.remove(self._name)
                self._directory.remove_if_empty()
            until_s = time.monotonic() + timeout_s
            while any(link.frames for link in self._links.values()):
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    break
                self._has_drained.wait(rest_s)
            lost = 0
            for link in list(self._links.values()):
                lost += self._lose(link)
            thread = self._thread
            if thread is not None:
                self._order(self._end)
            if self._listener is not None and self._is_idle:
                self._listener.close()  # which the thread would do
        if lost:
            self._count_dropped(lost)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        if self._waker is not None:
            self._waker.close()


READ = selectors.EVENT_READ


def _user(user_id: int) -> str:
    try:
        import pwd  # which not every system has

        return pwd.getpwuid(user_id).pw_name
    except (ImportError, KeyError):  # containers have users without names
        return f"#{user_id}"


def _is_readable(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, READ)
        return bool(selector.select(0))


def _is_ours(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as this user, where the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory keeps others out
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())
