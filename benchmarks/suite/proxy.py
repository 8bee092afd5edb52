"""A network that loses connections: a TCP proxy that cuts each after a while."""

from __future__ import annotations

import contextlib
import enum
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK_BYTES = 65536


class Cut(enum.Enum):
    """What the two ends see."""

    RESET = enum.auto()
    """Both are told at once."""
    HALF_CLOSE = enum.auto()
    """The end of the stream."""
    SILENCE = enum.auto()
    """Nothing at all, also when the other end goes."""


_CUTS = (Cut.RESET, Cut.RESET, Cut.HALF_CLOSE, Cut.HALF_CLOSE, Cut.SILENCE)


@dataclass(frozen=True, slots=True)
class _Fate:
    """Of one connection: when it is cut, and how."""

    at_s: float
    cut: Cut


def _fates(longest_life_s: float) -> Iterator[_Fate]:
    """From now on; the n-th connection of every peer has the same life."""
    source = random.Random(1)
    while True:
        for cut in source.sample(_CUTS, len(_CUTS)):
            life_s = source.uniform(0, longest_life_s)
            yield _Fate(time.monotonic() + life_s, cut)


class CuttingProxy:
    """Forwards to a port of this machine; cuts between `begin` and `spare`.

    When a connection's time has come, the next bytes to come through, in whichever direction, are
    forwarded by half, so a message is under way at each cut.
    """

    def __init__(self, port: int, longest_life_s: float) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        """How many there were. Under the lock, as the next two."""
        self._is_cutting = False
        self._fates = _fates(longest_life_s)
        self._lock = threading.Lock()
        self._stopped, self._stop = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> CuttingProxy:
        self._threads[0].start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.close()
        # No thread is added once the first of them has ended.
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._stopped.close()

    def begin(self) -> None:
        """Each connection has its time from now on, or from when it comes."""
        with self._lock:
            self._is_cutting = True

    def spare(self) -> None:
        """From now on, all that come, and are not yet cut."""
        with self._lock:
            self._is_cutting = False

    def _accept(self) -> None:
        while self._ready(self._listener):
            near, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(near,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _ready(self, *channels: socket.socket) -> list[socket.socket]:
        """Those that can be read; none when all is over."""
        found, _, _ = select.select([*channels, self._stopped], [], [])
        return [] if self._stopped in found else found

    def _serve(self, near: socket.socket) -> None:
        with (
            near,
            contextlib.suppress(OSError),
            socket.create_connection(self._target) as far,
        ):
            for channel in (near, far):
                channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if cut := self._forward(near, far):
                self._perform(cut, near, far)

    def _forward(self, near: socket.socket, far: socket.socket) -> Cut | None:
        """Until one of both ends, or the time has come: then how it is to be cut."""
        fate = None
        while ready := self._ready(near, far):
            fate = fate or self._next_fate()
            for channel in ready:
                data = channel.recv(CHUNK_BYTES)
                if not data:
                    return None
                is_cut = fate and time.monotonic() >= fate.at_s and self._count_cut()
                other = far if channel is near else near
                other.sendall(data[: len(data) // 2] if is_cut else data)
                if fate and is_cut:
                    return fate.cut
        return None

    def _next_fate(self) -> _Fate | None:
        """For one more connection; None while none is cut."""
        with self._lock:
            return next(self._fates) if self._is_cutting else None

    def _count_cut(self) -> bool:
        """Whether there may still be one; then it is counted."""
        with self._lock:
            self.cuts += self._is_cutting
            return self._is_cutting

    def _perform(self, cut: Cut, near: socket.socket, far: socket.socket) -> None:
        if cut is Cut.RESET:
            at_once = struct.pack("ii", 1, 0)
            for channel in (near, far):
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        elif cut is Cut.HALF_CLOSE:
            near.shutdown(socket.SHUT_WR)
            far.shutdown(socket.SHUT_WR)
            self._swallow(near, far)
        else:
            self._swallow(near, far)
            self._ready()

    def _swallow(self, *channels: socket.socket) -> None:
        """Read and forward nothing, until both have gone."""
        left = set(channels)
        while left and (ready := self._ready(*left)):
            for channel in ready:
                with contextlib.suppress(OSError):
                    if channel.recv(CHUNK_BYTES):
                        continue
                left.discard(channel)
