"""The way to a server up to where HTTP begins: TCP, a proxy, TLS.

What takes several steps is a generator: it yields what it waits for, and is gone on with when that
is there. So it serves those who may wait, and those who may not.
"""

from __future__ import annotations

import base64
import dataclasses
import errno
import os
import selectors
import socket
import ssl
import time
import urllib.parse
from collections.abc import Generator
from typing import Any

from websockets.uri import WebSocketURI

from .errors import HandshakeFailed, HandshakeRefused
from .target import Target, address_of, proxy_for

NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket raises that does not wait."""

Wanted = tuple[int, int]
"""A file descriptor, and what is waited for of it: events of `selectors`."""

Reaching = Generator[Wanted, None, socket.socket]
"""Returns the socket, which does not wait."""

_MAX_PROXY_HEAD_BYTES = 16 * 1024
_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class Deadline:
    """A time that ends."""

    def __init__(self, seconds: float | None) -> None:
        self._end_s = None if seconds is None else time.monotonic() + seconds

    def left_s(self) -> float | None:
        """Seconds until then; None: for ever. Raises TimeoutError."""
        if self._end_s is None:
            return None
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the server does not answer in time")
        return left_s


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """To a server; good for several sockets."""

    address: WebSocketURI
    proxy: urllib.parse.SplitResult | None
    context: ssl.SSLContext | None
    hostname: str

    @classmethod
    def to(cls, target: Target) -> Way:
        """Where the system's proxies and certificates are looked up."""
        address = address_of(target.uri)
        context = target.ssl
        if address.secure and context is None:
            context = ssl.create_default_context()
        hostname = target.server_hostname or address.host
        return cls(address, proxy_for(address, target.proxy), context, hostname)

    @property
    def near(self) -> tuple[str, int]:
        """Host and port of what a socket is connected to."""
        if self.proxy is None:
            return self.address.host, self.address.port
        return self.proxy.hostname or "", self.proxy.port or 80


def reach(way: Way, deadline: Deadline) -> socket.socket:
    """Open a socket, and wait until HTTP can be spoken on it. Raises OSError, HandshakeFailed."""
    channel = socket.create_connection(way.near, deadline.left_s())
    channel.setblocking(False)
    steps = _passing(channel, way)
    try:
        while True:
            try:
                wanted = next(steps)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a Reaching's
            _wait(*wanted, deadline)
    finally:
        steps.close()


def _wait(fd: int, events: int, deadline: Deadline) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(fd, events)
        while not selector.select(deadline.left_s()):
            pass


def reach_again(family: int, peer: Any, way: Way) -> Reaching:
    """Open one more socket to where one is connected to, without a look at names."""
    channel = socket.socket(family, socket.SOCK_STREAM)
    try:
        channel.setblocking(False)
        code = channel.connect_ex(peer)
        if code not in _UNDER_WAY:
            raise OSError(code, os.strerror(code))
        yield channel.fileno(), selectors.EVENT_WRITE
        code = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        channel.close()
        raise
    return (yield from _passing(channel, way))


def _passing(channel: socket.socket, way: Way) -> Reaching:
    try:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if way.proxy is not None:
            yield from _pass_proxy(channel, way.proxy, way.address)
        if way.address.secure:
            assert way.context is not None
            channel = way.context.wrap_socket(
                channel, server_hostname=way.hostname, do_handshake_on_connect=False
            )
            yield from _shake_tls_hands(channel)
    except BaseException:
        channel.close()
        raise
    return channel


def _shake_tls_hands(channel: ssl.SSLSocket) -> Generator[Wanted, None, None]:
    while True:
        try:
            return channel.do_handshake()
        except ssl.SSLWantReadError:
            yield channel.fileno(), selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            yield channel.fileno(), selectors.EVENT_WRITE


def _pass_proxy(
    channel: socket.socket, proxy: urllib.parse.SplitResult, address: WebSocketURI
) -> Generator[Wanted, None, None]:
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = [f"CONNECT {host}:{address.port} HTTP/1.1", f"Host: {host}:{address.port}"]
    if proxy.username is not None:
        name, word = (urllib.parse.unquote(part or "") for part in (proxy.username, proxy.password))
        token = base64.b64encode(f"{name}:{word}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    # A socket that was just opened has room for so little.
    channel.send("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        try:
            byte = channel.recv(1)  # what is behind the head is the server's
        except NOT_NOW:
            yield channel.fileno(), selectors.EVENT_READ
            continue
        if not byte:
            raise ConnectionResetError("the proxy has closed without an answer")
        head += byte
        if len(head) > _MAX_PROXY_HEAD_BYTES:
            raise HandshakeFailed("the proxy's answer has no end")
    _check_proxy_answer(head)


def _check_proxy_answer(head: bytes) -> None:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    fields = [line.partition(":") for line in lines if line]
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise HandshakeFailed(f"the proxy's answer is no HTTP: {status_line!r:.100}")
    if not 200 <= int(rest[:3]) < 300:
        headers = {name.strip().title(): value.strip() for name, _, value in fields}
        raise HandshakeRefused("the proxy", int(rest[:3]), headers, b"")
