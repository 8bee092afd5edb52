"""The figures of all processes that serve an app at one address, whichever of them is asked.

Each process listens on a socket in their run directory. Who is asked for the sum asks all others,
and takes for one that does not answer what it wrote last. A process writes its figures whenever it
tells them, and at its end: so no sum that anybody has seen is ever greater than a later one, also
when a process was killed meanwhile. What is lost then is what it counted since it was asked last.
While a process can't write, its counters stand still; while somebody's figures can't be had at all,
there is no sum.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable

from ..runtime import lifecycle, locks, logs, threads
from ..runtime.private_paths import UnsafeDirectory
from ..runtime.run_directory import RunDirectory
from ..transports import wsgi_server
from .samples import Figures, add, counters_of, dump, frozen, load
from .totals_files import Books

logger = logs.logger(__package__)

_ANSWER_S = 1.0
"""For all processes that are asked, together. One that is stopped does not answer."""

_PAUSE_S = 1.0
_READ_BYTES = 65536

_JOIN_AGAIN_S = 5.0

_PASSING = frozenset(
    {
        errno.EAGAIN, errno.EDQUOT, errno.EINTR, errno.EIO, errno.EMFILE, errno.ENFILE,
        errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC,
    }
)  # fmt: skip
"""What keeps a process from the others for a while. What else does may be so for ever."""


class Ledger:
    """The books of one app at one address. Any thread."""

    # Reentrant: garbage may be collected anywhere, also amid `join`, and an app that is found in it
    # leaves.
    _lock = lifecycle.MadeOnFirstUse(lambda _: locks.Lock())

    def __init__(self, app_name: str, tell: Callable[[], Figures]) -> None:
        """`tell` says what this process has counted."""
        self._app_name = app_name
        self._tell = tell
        self._begin()

    def _begin(self) -> None:
        # Guarded by _lock.
        self._member: _Member | None = None
        #: Whether there is no use in joining: the process ends, or is a server's only one, as on
        #: Windows.
        self._is_over = not hasattr(socket, "AF_UNIX")
        self._join_again_s = 0.0
        #: Whether what keeps this process from the others will hardly stay.
        self._is_passing = False
        self._has_logged = False

    def join(self) -> None:
        """Have the others ask this process from now on. Quick, but for the first time in a process.

        Where that fails it is tried again, by a later call.
        """
        if self._member is not None or self._is_over or time.monotonic() < self._join_again_s:
            return
        with self._lock:
            if self._member is not None or self._is_over:
                return
            try:
                member = _Member(self._app_name, self._tell)
            except (OSError, UnsafeDirectory) as error:
                self._join_again_s = time.monotonic() + _JOIN_AGAIN_S
                self._note(error)
            else:
                if self._is_over:  # `leave` came in this very thread
                    member.close()
                else:
                    self._member = member
        lifecycle.stop_at_exit()

    def sum(self) -> Figures | None:
        """What all processes have counted, this one included. Waits a second at most.

        None while that can't be known; those of this process where it can't meet the others.
        """
        self.join()
        member = self._member
        if member is None:
            return None if self._is_passing else self._tell()
        try:
            figures = member.sum()
        except OSError as error:
            self._note(error)
            return None
        self._has_logged = False
        return figures

    def stop(self) -> None:
        """The process ends: leave its last figures to the others."""
        member = self._member
        if member is not None:
            member.write()
        self.leave()

    def leave(self) -> None:
        """Leave to the others what was told last."""
        with self._lock:
            member, self._member = self._member, None
            self._is_over = True
        if member is not None:
            member.close()

    def _note(self, error: Exception) -> None:
        self._is_passing = isinstance(error, OSError) and error.errno in _PASSING
        if self._has_logged:
            return
        self._has_logged = True
        if self._is_passing:
            logger.error("There are no figures of %r for now, because %s", self._app_name, error)
        else:
            logger.error(
                "The figures of %r are those of one process each: its processes can't find each "
                "other, because %s",
                self._app_name,
                error,
            )

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, as another process."""
        member = self._member
        if member is not None:
            member.reset_after_fork()
        self._begin()


class _Member:
    """A process among those of its server."""

    def __init__(self, app_name: str, tell: Callable[[], Figures]) -> None:
        """Raises OSError or `UnsafeDirectory`."""
        self._directory = RunDirectory(f"figures of {app_name}")
        self._books = Books(self._directory, wsgi_server.server_name())
        self._tell = tell
        self._lock = locks.Lock()
        # Guarded by _lock: what is in the file.
        self._written: Figures = {}
        self._is_closed = threading.Event()
        self._thread = threads.BackgroundThread("figures", self._answer_all, logger)
        self._name = self._books.new_name()
        # First the socket, then the file: a process with a file and no socket is gone.
        self._listener = self._directory.listen(self._name)
        try:
            self._listener.setblocking(True)
            self._record()
            self._clear_up()
        except BaseException:
            self._listener.close()
            raise
        self._thread.start()

    def sum(self) -> Figures:
        """What all have counted."""
        told = {self._name: self._own()}
        others = [name for name in self._books.names() if name != self._name]
        answers, dead = self._ask(others)
        for name in others:
            if name in dead:
                told[name] = counters_of(self._books.read(name))
            else:
                told[name] = answers.get(name) or self._books.read(name)
        # Last: what has gone since the names were read is in there, or in what it told.
        gone, total = self._books.gone()
        for name, figures in told.items():
            if name not in gone:
                add(total, figures)
        if dead:
            with contextlib.suppress(OSError):  # the next one does it
                self._books.enter(dead)
        return total

    def write(self) -> None:
        """Write the figures down."""
        with contextlib.suppress(OSError):
            self._record()

    def close(self) -> None:
        """Close the listener and end the thread."""
        self._is_closed.set()
        self._thread.end()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # the thread waits there
        self._listener.close()

    def reset_after_fork(self) -> None:
        """In a forked child: else the parent would seem to live on in it."""
        self._listener.close()

    def _record(self) -> Figures:
        """Write this process's figures down before anybody sees them."""
        # With the lock held to the end of the writing, or older ones could be written last. Only
        # what wants the same waits for it.
        with self._lock:
            figures = self._tell()
            self._books.write(self._name, figures)
            self._directory.keep(self._name)
            self._written = figures
            return figures

    def _own(self) -> Figures:
        """This process's figures; of the counters what is written, or they could fall."""
        try:
            return self._record()
        except OSError:
            return frozen(self._tell(), self._written)

    def _answer_all(self) -> None:
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:  # it is closed, or there are no more descriptors for a while
                if self._is_closed.wait(_PAUSE_S):
                    return
                continue
            with asking, contextlib.suppress(OSError):
                asking.settimeout(_ANSWER_S)
                asking.sendall(dump(self._own()))

    def _ask(self, names: list[str]) -> tuple[dict[str, Figures], list[str]]:
        """The answers of those that answer in time, and which processes are gone."""
        answers: dict[str, Figures] = {}
        until_s = time.monotonic() + _ANSWER_S
        with contextlib.ExitStack() as open_ones:
            asked, dead = self._reach(names, open_ones)
            for name, sock in asked.items():
                with contextlib.suppress(OSError, ValueError):
                    answers[name] = load(_read_all(sock, until_s))
        return answers, dead

    def _reach(
        self, names: list[str], open_ones: contextlib.ExitStack
    ) -> tuple[dict[str, socket.socket], list[str]]:
        """Sockets to the processes that live, and which are gone."""
        reached, dead = {}, []
        for name in names:
            try:
                sock = open_ones.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                sock.setblocking(False)
                sock.connect(self._directory.address(name))
            except ConnectionRefusedError:
                dead.append(name)
            except FileNotFoundError:  # it has been tidied up meanwhile
                if not self._books.is_running(name):
                    dead.append(name)
            except OSError:
                pass  # its queue is full, or there is no descriptor: it may live
            else:
                reached[name] = sock
        return reached, dead

    def _clear_up(self) -> None:
        """Enter processes that have gone unnoticed, and remove what other servers have left."""
        with contextlib.ExitStack() as open_ones:
            _, dead = self._reach([n for n in self._books.names() if n != self._name], open_ones)
            if dead:
                self._books.enter(dead)
            for server, names in self._books.foreign_names().items():
                _, dead = self._reach(names, open_ones)
                if len(dead) == len(names):
                    self._books.remove_server(server, names)


def _read_all(sock: socket.socket, until_s: float) -> bytes:
    """What comes until the end. Raises OSError when it is past `until_s`."""
    data = bytearray()
    while True:
        sock.settimeout(max(0.001, until_s - time.monotonic()))
        part = sock.recv(_READ_BYTES)
        if not part:
            return bytes(data)
        data += part
