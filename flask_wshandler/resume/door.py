"""The door of a process: by it a client's socket comes from another worker of the machine.

A client returns to any worker, and its handler is in one. The worker that has answered the
handshake passes the socket on to the one that has the handler. Each process has a Unix socket for
that in a run directory of the app, beside the bus's: see `run_directory` for who gets in there. It
is named in the sessions of its clients.

`passing` is what goes with a socket, `knocking` the one that gives, `visitors` the one that takes.

Invariants:
- Only the door's thread accepts and closes what it has accepted; so `take` is called by one thread.
- `_lock` guards what is said below, and is not held while `take` runs.
- The process at the other end is this user's, at both ends.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import time
from collections.abc import Callable

from ..bus.outage import OutageLog
from ..runtime import faults, lifecycle, locks, logs, threads
from ..runtime.log_throttle import LogThrottle
from ..runtime.private_paths import UnsafeDirectory
from ..runtime.run_directory import RunDirectory
from ..runtime.timer import MonotonicClock
from .knocking import NotGreeted, knock
from .passing import Answer, CannotBePassed, Passed, encode
from .visitors import Visitors

logger = logs.logger(__package__)

Take = Callable[[socket.socket, Passed], bool]
"""Takes a client's socket: True if it is its own from now on. Called in the door's thread; must not
wait. The socket blocks or does not, as the other process has left it."""

PASS_ON_TIMEOUT_S = 2.0

_CHECK_S = 2.0
"""How often a process looks whether the others can still find its door."""
_CHECK_AGAIN_S = 0.5
"""How often while something does not work."""
_DEAF_S = 5.0
"""How long a process that did not greet is left alone: else all threads could wait for it."""
_LAST_VISITOR_S = 1.0

_NAME = re.compile(r"[0-9a-f]{8}")
_KIND = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_STREAM)
_NEEDED = ("AF_UNIX", "SOCK_SEQPACKET", "SCM_RIGHTS", "SO_PEERCRED", "MSG_CMSG_CLOEXEC")


def obstacle() -> str:
    """Why no socket can be passed on in this process; "" if it can."""
    if sys.platform != "linux" or not all(hasattr(socket, name) for name in _NEEDED):
        return "this system can't hand sockets from process to process"
    # Greenlets: a thread would be one of them, and a socket bound to what wakes them.
    if socket.socket.__module__ != "socket" or threading.get_ident.__module__ != "_thread":
        return "the standard library's sockets or threads are replaced"
    return ""


def is_owner(name: str) -> bool:
    """Whether that can be a door's name; a client can say whatever it likes."""
    return _NAME.fullmatch(name) is not None


class Door:
    """What other processes pass sockets to, and how this one does. Any thread."""

    def __init__(self, app_name: str, take: Take) -> None:
        """Opens nothing yet. `take` is given what comes."""
        self._app_name = app_name
        self._take = take
        self._begin()
        lifecycle.register(self, lifecycle.Stage.DOOR)

    def _begin(self) -> None:
        self._directory = RunDirectory(f"doors of {self._app_name}", _KIND)
        self._member = self._directory.new_name()
        #: This process, in the sessions of its clients.
        self.name = self._member.rpartition("-")[2]
        self._thread = threads.BackgroundThread("door", self._run, logger)
        self._visitors = Visitors(self._offer, self._note_malformed, self._note_accepting)
        self._throttle = LogThrottle(MonotonicClock())
        #: Why it can't be opened, or sockets can't come in; "" if nothing is wrong.
        self.trouble = ""
        #: Until when those that did not greet are left alone. Its operations are atomic.
        self._deaf_until_s: dict[str, float] = {}
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._outage = OutageLog()
        self._listener: socket.socket | None = None
        self._is_wanted = False
        self._is_stopped = False
        # The thread's own.
        self._check_at_s = 0.0

    def open(self) -> bool:
        """Listen, if that is not done yet; False if it can't be done, which is logged once.

        What may pass is tried again, by the door's thread.
        """
        if self._listener is not None and self._thread.is_running:
            return True
        with self._lock:
            if self._is_stopped or self._has_obstacle():
                return False
            if not self._is_wanted:
                self._is_wanted = True
                self._listen()
            lifecycle.stop_at_exit()
            return self._thread.start() and self._listener is not None

    def _has_obstacle(self) -> bool:
        reason = obstacle()
        if reason and not self.trouble:
            self.trouble = reason
            logger.info("A client that returns to another process begins anew: %s", reason)
        return bool(reason)

    def _listen(self) -> None:
        """With _lock held."""
        try:
            self._listener = self._directory.listen(self._member)
        except (OSError, UnsafeDirectory) as error:
            self._note(str(error))
        else:
            self._note("")

    # Passing on.

    def has(self, owner: str) -> bool:
        """Whether another process of this machine has that door."""
        try:
            return is_owner(owner) and self._find(owner) is not None
        except (OSError, UnsafeDirectory):
            return False

    def pass_on(self, owner: str, sock: socket.socket, passed: Passed) -> Answer:
        """Give a client's socket to the process whose door is `owner`. Never raises.

        Waits two seconds at most. The caller closes its own `sock` after TAKEN, without a
        `shutdown`; after any other answer nobody else has it.
        """
        until_s = time.monotonic() + PASS_ON_TIMEOUT_S
        if obstacle():
            return Answer.UNREACHABLE
        if not is_owner(owner):
            return Answer.GONE
        try:
            return self._pass_on(owner, sock, passed, until_s)
        except (CannotBePassed, NotGreeted, OSError, UnsafeDirectory) as error:
            if isinstance(error, TimeoutError):
                self._leave_alone(owner)
            self._warn(f"a client's socket can't be passed on to the process of {owner}", error)
        except Exception as error:
            faults.note("door")
            logger.error("a client's socket can't be passed on", error=error)
        return Answer.UNREACHABLE

    def _pass_on(self, owner: str, sock: socket.socket, passed: Passed, until_s: float) -> Answer:
        if self._deaf_until_s.get(owner, 0.0) > time.monotonic():
            return Answer.UNREACHABLE
        packet = encode(passed)
        member = self._find(owner)
        if member is None:
            return Answer.GONE
        try:
            return knock(self._directory.address(member), sock, packet, until_s)
        except ConnectionRefusedError:
            self._directory.remove(member)  # its process was killed
            return Answer.GONE

    def _find(self, owner: str) -> str | None:
        """The name of its socket in the directory."""
        try:
            self._directory.check()
            names = self._directory.members()
        except FileNotFoundError:
            return None
        return next((name for name in names if name.endswith(f"-{owner}")), None)

    def _leave_alone(self, owner: str) -> None:
        now_s = time.monotonic()
        for known, until_s in list(self._deaf_until_s.items()):
            if until_s <= now_s:
                self._deaf_until_s.pop(known, None)
        self._deaf_until_s[owner] = now_s + _DEAF_S

    # In the thread.

    def _run(self) -> None:
        self._directory.clear_others()
        self._directory.clear_dead()
        while not self._is_stopped:
            self._see_to_listener()
            self._visitors.serve(self._listener, self._check_at_s - time.monotonic())
        self._close_all()

    def _see_to_listener(self) -> None:
        """See to it that the others find this process, whatever became of the directory."""
        if time.monotonic() < self._check_at_s:
            return
        with self._lock:
            if self._is_stopped:
                return
            if self._listener is not None and not self._directory.keep(self._member):
                self._note(f"its socket {self._member} was removed")
                self._listener.close()
                self._listener = None
            if self._listener is None:
                self._listen()
        period_s = _CHECK_AGAIN_S if self.trouble else _CHECK_S
        self._check_at_s = time.monotonic() + period_s

    def _offer(self, sock: socket.socket, passed: Passed) -> bool:
        try:
            return self._take(sock, passed) is True
        except BaseException as error:  # a SystemExit ends nothing, either
            faults.note("door")
            logger.error("a client's socket that was passed on is not taken", error=error)
            return False

    def _note_malformed(self, error: Exception) -> None:
        faults.note("door")
        self._warn("a process has passed on what is no client", error)

    def _note_accepting(self, error: OSError | None) -> None:
        if error is not None:
            self._note(f"no connection can be accepted ({error})")
        elif self.trouble:
            self._note("")

    # Any thread.

    def _note(self, trouble: str) -> None:
        """What is wrong now, for the log and for whoever asks; "" if nothing is any more."""
        with self._lock:
            if self._is_stopped:
                return
            self.trouble = trouble
            now_s = time.monotonic()
            if not trouble:
                if self._outage.works(now_s):
                    logger.info("Clients can be passed on to this process again")
            elif self._outage.lost(now_s):
                logger.warning(
                    "No client can be passed on to this process; it is tried again: %s", trouble
                )

    def _warn(self, what: str, error: Exception) -> None:
        if self._throttle.admits((what, str(error))):
            logger.warning("%s: %s", what, error)

    # The end.

    def stop(self) -> None:
        """Let nobody in any more, and end the thread. Waits a second at most."""
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            self._visitors.end()
            if self._listener is not None:
                self._directory.remove(self._member)
                self._directory.remove_if_empty()
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)  # the thread waits there
        self._thread.end()
        if self._thread.join(_LAST_VISITOR_S):
            self._close_all()  # where the thread could not start, or has raised last

    def stop_now(self) -> None:
        """Nothing to hurry: see `stop`."""

    def _close_all(self) -> None:
        self._visitors.close()
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

    def reset_after_fork(self) -> None:
        """In a forked child: close what it has inherited, which is still its parent's."""
        self._visitors.reset_after_fork()
        if self._listener is not None:
            self._listener.close()
        self._begin()
