"""The bus of one machine: every process has a Unix socket, and a link to every other's.

There is no broker. A process listens once it subscribes to something; its thread starts when it is
waited for, or, with `listen_idly`, when another process has come. Whoever publishes looks
first whether the run directory has changed, and connects to whom he finds there; so a process is
reached by everything that is published after its `wait_until_subscribed` has returned, and a
newcomer asks nobody. A link carries one direction only, envelopes one behind the other, each with
its size before it.

What fails is tried again, by the thread as long as it does, and by whoever publishes; until then
the bus is down. Nothing is noted as done before it is.

Invariants:
- A process has one link at most to another, named after the other's socket.
- What is written to a link is written whole and in order, or the link is given up.
- `_lock` guards what is said below. It is held during calls that do not wait for others: files of
  the run directory, non-blocking sockets. It is never held while envelopes are delivered.
- Nothing that is called here raises for want of a descriptor, a thread, memory or room on a disk.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import selectors
import socket
import struct
import time
from collections.abc import Callable

from ..runtime import faults, lifecycle, locks, logs, threads
from ..runtime.run_directory import RunDirectory, UnsafeDirectory
from .base import CLOSE_TIMEOUT_S, Bus
from .envelope import MAX_ENVELOPE_BYTES
from .peer_link import Link

logger = logs.logger(__package__)

_SIZE = struct.Struct("!I")
_READ_BYTES = 256 * 1024
_CHECK_S = 2.0
"""How often a process looks whether the others can still find it."""
_CHECK_AGAIN_S = 0.5
"""How often while something does not work."""
_RETRY_S = 0.2
"""For a member whose queue of newcomers is full, or that could not be reached."""

# The parts that can fail: see `Bus._note_up`.
_LOOK = "look"
_LISTEN = "listen"
_ACCEPT = "accept"
_LOOP = "loop"


class LocalBus(Bus):
    """Carries envelopes between the processes of one user on one machine."""

    def __init__(self, app_name: str, max_queue_bytes: int) -> None:
        """Opens nothing yet, and looks at nothing."""
        self._app_name = app_name
        super().__init__(max_queue_bytes)

    def __str__(self) -> str:
        try:
            return f"the bus in {self._directory.path}"
        except (OSError, UnsafeDirectory):
            return "the local bus"

    def _begin(self) -> None:
        super()._begin()
        # A fork may be about to become another user's, who has another place.
        self._directory = RunDirectory(self._app_name)
        #: Whether anything was published or waited for. Until then troubles are kept quiet.
        self._is_used = False
        self._lock = locks.Lock()
        self._has_drained = locks.condition_on(self._lock)
        # Guarded by _lock.
        self._links: dict[str, Link] = {}
        self._version: tuple[int, int] | None = None
        self._is_settled = False
        #: Members that could not be connected to; envelopes for them are dropped.
        self._unreached: set[str] = set()
        #: Whether not even their names could be read.
        self._is_blind = False
        self._retry_at_s = 0.0
        self._name = self._directory.new_name()
        self._listener: socket.socket | None = None
        #: Whether nobody accepts yet: who connects waits in the kernel's queue.
        self._is_idle = False
        self._thread = threads.BackgroundThread("bus", self._run, logger)
        #: While the thread's selector is there.
        self._waker: socket.socket | None = None
        self._wakee: socket.socket | None = None
        #: Each stays until it is done.
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

    def _set_up(self, is_up: bool, reason: str, what: str = "") -> None:
        if self._is_used:
            super()._set_up(is_up, reason, what)
        else:
            self._note_up(is_up, reason, what)

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
            dropped += len(self._unreached) or self._is_blind
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
        if (self._is_blind or self._unreached) and time.monotonic() < self._retry_at_s:
            return
        try:
            version = self._directory.version()
            is_known = version == self._version and self._is_settled
            if is_known and not self._unreached and not self._is_blind:
                return
            is_settled = self._directory.is_settled(version)
            names = self._names()
        except (OSError, UnsafeDirectory) as error:
            self._is_blind = True
            self._retry_later(str(error))
            return
        self._is_blind = False
        trouble = self._connect_all(names)
        self._version, self._is_settled = version, is_settled
        if trouble:
            self._retry_later(trouble)
        else:
            self._set_up(True, "its directory can be used", _LOOK)

    def _names(self) -> list[str]:
        try:
            self._directory.check()
            return self._directory.members()
        except FileNotFoundError:
            return []  # nobody listens

    def _retry_later(self, trouble: str) -> None:
        self._retry_at_s = time.monotonic() + _RETRY_S
        self._set_up(False, trouble, _LOOK)
        self._start()

    def _connect_all(self, names: list[str]) -> str:
        """Connect to those that are new; what is in the way, or "" if nothing is."""
        self._unreached.clear()
        trouble = ""
        for name in names:
            if name != self._name and name not in self._links:
                trouble = self._connect(name) or trouble
        return trouble

    def _connect(self, name: str) -> str:
        with contextlib.ExitStack() as opened:
            try:
                sock = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                sock.setblocking(False)
                sock.connect(self._directory.address(name))
                if not _is_ours(sock):
                    return ""
            except ConnectionRefusedError:
                self._directory.remove(name)  # its process was killed
            except FileNotFoundError:
                pass  # it has just gone
            except BlockingIOError:
                self._unreached.add(name)
                self._retry_at_s = time.monotonic() + _RETRY_S
            except OSError as error:
                self._unreached.add(name)
                return f"{name} can't be reached ({error})"
            else:
                opened.pop_all()
                self._links[name] = Link(name, sock, self.max_queue_bytes)
        return ""

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
            self._set_up(False, str(error), _LISTEN)
            self._is_idle = False
            self._start()  # the thread tries again
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
        self._order(lambda: self._selector_of_thread.register(listener, READ, self._accept))

    # The thread.

    def _order(self, order: Callable[[], object]) -> None:
        """Have the thread do something that only it may. With _lock held."""
        self._orders.append(order)
        self._start()
        if self._waker is not None:  # else it looks for orders when it is there
            with contextlib.suppress(OSError):  # full: it will wake up anyway
                self._waker.send(b"\0")

    def _start(self) -> None:
        lifecycle.stop_at_exit()
        if not self._thread.start():
            self._set_up(False, "its thread can't start", _LOOP)

    @property
    def _selector_of_thread(self) -> selectors.BaseSelector:
        assert self._selector is not None  # the thread has it
        return self._selector

    def _run(self) -> None:
        self._directory.clear_others()
        while not self._is_over:
            if self._selector is None and not self._open_loop():
                if self._is_closed:
                    return
                time.sleep(_RETRY_S)
                continue
            self._loop(self._selector_of_thread)
        self._close_loop()

    def _open_loop(self) -> bool:
        """Make what the thread waits with; False if there is no descriptor for it."""
        with contextlib.ExitStack() as opened:
            try:
                waker, wakee = map(opened.enter_context, socket.socketpair())
                waker.setblocking(False)
                wakee.setblocking(False)
                selector = opened.enter_context(selectors.DefaultSelector())
                selector.register(wakee, READ, self._take_orders)
            except OSError as error:
                self._set_up(False, str(error), _LOOP)
                return False
            opened.pop_all()
        self._selector = selector
        with self._lock:
            self._waker, self._wakee = waker, wakee
        self._take_orders(wakee)
        return True

    def _close_loop(self) -> None:
        selector = self._selector_of_thread
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)  # we register nothing else
            key.fileobj.close()
        selector.close()

    def _loop(self, selector: selectors.BaseSelector) -> None:
        check_at_s = time.monotonic() + _CHECK_S
        while not self._is_over:
            if self._troubles:
                check_at_s = min(check_at_s, time.monotonic() + _CHECK_AGAIN_S)
            for key, _ in selector.select(max(0.0, check_at_s - time.monotonic())):
                try:
                    key.data(key.fileobj)
                except Exception as error:
                    faults.note("bus")
                    logger.error("%s goes on", self, error=error)
                    self._give_up(key.fileobj)
            if time.monotonic() >= check_at_s:
                self._check()
                check_at_s = time.monotonic() + _CHECK_S

    def _give_up(self, sock: object) -> None:
        """A socket can't be served: have nothing more of it, rather than the same again at once."""
        if sock is self._listener and isinstance(sock, socket.socket):
            self._selector_of_thread.unregister(sock)  # until the next check
        elif isinstance(sock, socket.socket) and sock in self._inbound:
            self._end_inbound(sock)
        with self._lock:
            for link in list(self._links.values()):
                if link.socket is sock:
                    self._count_dropped(self._lose(link))

    def _take_orders(self, wakee: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            wakee.recv(4096)
        while True:
            with self._lock:
                if not self._orders:
                    break
                order = self._orders[0]
            try:
                order()
            except OSError as error:
                self._set_up(False, str(error), _LOOP)
                return  # the next check tries again
            except Exception as error:
                faults.note("bus")
                logger.error("%s goes on", self, error=error)
            with self._lock:
                del self._orders[0]
        self._set_up(True, "its thread runs", _LOOP)

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
        with contextlib.suppress(KeyError):  # it has been unregistered because of a fault
            self._selector_of_thread.unregister(sock)
        sock.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.ExitStack() as opened:
            try:
                sock = opened.enter_context(listener.accept()[0])
                sock.setblocking(False)
                if not _is_ours(sock):
                    return
                self._selector_of_thread.register(sock, READ, self._read)
            except InterruptedError:
                return
            except (BlockingIOError, ConnectionAbortedError):
                pass
            except OSError as error:
                # No descriptors are left. Another look at the next check, rather than at once.
                self._set_up(False, f"no connection can be accepted ({error})", _ACCEPT)
                if listener.fileno() in self._selector_of_thread.get_map():
                    self._selector_of_thread.unregister(listener)
                return
            else:
                opened.pop_all()
                self._inbound[sock] = bytearray()
        self._set_up(True, "connections are accepted again", _ACCEPT)

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
        """See to it that the others can find this process, whatever became of the directory.

        And try again what has not worked.
        """
        if self._orders and self._wakee is not None:
            self._take_orders(self._wakee)
        with self._lock:
            if self._is_closed:
                return
            if _LOOK in self._troubles:
                self._look_for_members()
            if self._topics:
                self._accept_from_now_on()  # the thread runs anyway
                self._see_to_listener()
            listener = self._listener
        if listener is not None and _ACCEPT in self._troubles:
            self._accept(listener)

    def _see_to_listener(self) -> None:
        if self._orders:
            return  # the listener is about to be registered
        listener = self._listener
        if listener is not None and self._directory.has(self._name):
            if listener.fileno() not in self._selector_of_thread.get_map():
                self._register()  # it could accept nobody
            return
        if listener is not None:
            self._set_up(False, f"its socket {self._name} was removed", _LISTEN)
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
            thread = self._thread
            is_running = thread.is_running
            for link in list(self._links.values()):
                link.is_watched = link.is_watched and is_running
                lost += self._lose(link)
            if is_running:
                self._order(self._end)
            thread.end()
            if self._listener is not None and (self._is_idle or not is_running):
                self._listener.close()  # which the thread would do
        if lost:
            self._count_dropped(lost)
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
    poll = select.poll()  # which needs no descriptor
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _is_ours(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as this user, where the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory keeps others out
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())
