"""The body of a request, read within a time: a thread that waits for it serves nobody else.

A proxy sends a body when it has it. Of a process's threads half, at most, are there for who sends
one slowly; others wait for a moment, and are told to come again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from ..protocol.keepalive import SLOWEST_BYTES_PER_S
from ..runtime.first_use import MadeOnFirstUse
from ..transports.handoff import find_socket
from ..transports.wsgi_server import server_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATIENCE_S = 5.0
"""Beside what `SLOWEST_BYTES_PER_S` takes."""
_WAIT_FOR_SEAT_S = 0.25
_A_MOMENT_S = 0.05
_MOST_SEATS = 100
_MOST_THROWN_AWAY_BYTES = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024


class BodyTooLarge(Exception):
    """It is longer than was asked for."""


class BodyTooSlow(Exception):
    """It has not come in time, or not whole. Nothing more is to be read of the connection."""


class NoSeat(Exception):
    """Too many are waited for already."""


class Bodies:
    """Reads those of one app in one process. Any thread."""

    _seats = MadeOnFirstUse(lambda _: threading.BoundedSemaphore(_seat_count()))

    def read(self, environ: Mapping[str, Any], max_bytes: int) -> bytes:
        """The body of `max_bytes` at most. Raises `BodyTooLarge`, `BodyTooSlow` or `NoSeat`."""
        size = _size_of(environ)
        if size is not None and size > max_bytes:
            self._throw_away(environ, size)
            raise BodyTooLarge
        if size is None and not environ.get("wsgi.input_terminated"):
            return b""
        wanted = max_bytes + 1 if size is None else size
        with self._seat():
            body = _read(environ, wanted, _PATIENCE_S + wanted / SLOWEST_BYTES_PER_S)
        if size is None and len(body) > max_bytes:
            raise BodyTooLarge
        if size is not None and len(body) < size:
            raise BodyTooSlow  # the client has gone
        return body

    def _throw_away(self, environ: Mapping[str, Any], size: int) -> None:
        """Read on, for a client that would not hear the answer before it has said all."""
        if size <= _MOST_THROWN_AWAY_BYTES:
            with contextlib.suppress(BodyTooSlow, NoSeat), self._seat():
                _read(environ, size, _PATIENCE_S)

    @contextlib.contextmanager
    def _seat(self) -> Iterator[None]:
        seats = self._seats
        if not seats.acquire(timeout=_WAIT_FOR_SEAT_S):
            raise NoSeat
        try:
            yield
        finally:
            seats.release()


def _seat_count() -> int:
    threads = server_process().request_threads
    return _MOST_SEATS if threads is None else max(1, threads // 2)


def is_thrown_away(environ: Mapping[str, Any]) -> bool:
    """Read a body that is of no use, if it is short and here already; whether that is all of it.

    A server that serves several requests on a connection would wait for the rest.
    """
    size = _size_of(environ)
    if size is None or size > _READ_BYTES:
        return size is None and not environ.get("wsgi.input_terminated")
    try:
        return len(_read(environ, size, _A_MOMENT_S)) == size
    except BodyTooSlow:
        return False


def _size_of(environ: Mapping[str, Any]) -> int | None:
    declared = environ.get("CONTENT_LENGTH") or ""
    return int(declared) if declared.isascii() and declared.isdigit() else None


def _read(environ: Mapping[str, Any], wanted: int, seconds: float) -> bytes:
    until_s = time.monotonic() + seconds
    sock = find_socket(environ)
    before = None if sock is None else sock.gettimeout()
    body = bytearray()
    try:
        while len(body) < wanted:
            rest_s = until_s - time.monotonic()
            if rest_s <= 0:
                raise BodyTooSlow
            if sock is not None:
                sock.settimeout(rest_s)
            piece = environ["wsgi.input"].read(min(wanted - len(body), _READ_BYTES))
            if not piece:
                break
            body += piece
    except OSError as error:  # a time-out is one
        raise BodyTooSlow from error
    finally:
        if sock is not None:
            sock.settimeout(before)
    return bytes(body)
