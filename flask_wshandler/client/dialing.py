"""The way to a server: TCP, a proxy, TLS and the opening handshake, within a time.

It blocks. What comes of it does not: a `NetworkConnection`.
"""

from __future__ import annotations

import base64
import dataclasses
import logging
import re
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.extensions.permessage_deflate import enable_client_permessage_deflate
from websockets.typing import Origin, Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from .errors import HandshakeFailed, HandshakeRefused
from .network import OWN_BYTES, NetworkConnection

USER_AGENT = "flask-wshandler"

_READ_BYTES = 16 * 1024
_MAX_PROXY_HEAD_BYTES = 16 * 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_quiet = logging.Logger("flask_wshandler.client", logging.CRITICAL)
"""The headers have the session, which is a secret: no line has them, whatever the app logs."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where a server is, and how to speak to it: the arguments of `client.connect`."""

    uri: str
    ssl: ssl.SSLContext | None = None
    server_hostname: str | None = None
    origin: str | None = None
    additional_headers: Headers | None = None
    user_agent_header: str | None = USER_AGENT
    proxy: str | bool | None = True
    compression: str | None = "deflate"
    max_size: int | None = 2**20

    def check(self, subprotocols: Sequence[str]) -> None:
        """Raise ValueError for what can't be used, which would not pass by itself."""
        if isinstance(subprotocols, str) or not all(map(_TOKEN.fullmatch, subprotocols)):
            raise ValueError(f"subprotocols are a list of tokens, not {subprotocols!r}")
        address = _address(self.uri)
        if self.ssl is not None and not address.secure:
            raise ValueError("ssl is for wss:// only")
        if self.compression not in (None, "deflate"):
            raise ValueError(f"compression is 'deflate' or None, not {self.compression!r}")
        proxy = _proxy_for(address, self.proxy)
        if proxy is not None and proxy.scheme != "http":
            raise ValueError(f"a proxy is reached by http://, not by {proxy.scheme}://")


class _Deadline:
    def __init__(self, seconds: float | None) -> None:
        self._end_s = None if seconds is None else time.monotonic() + seconds

    def left_s(self) -> float | None:
        if self._end_s is None:
            return None
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the server does not answer in time")
        return left_s


def dial(target: Target, subprotocols: Sequence[str], timeout_s: float | None) -> NetworkConnection:
    """Open a WebSocket.

    Raises OSError for what the network does, `HandshakeFailed` for an answer.
    """
    deadline = _Deadline(timeout_s)
    address = _address(target.uri)
    channel = _open_socket(target, address, deadline)
    try:
        if address.secure:
            channel = _enable_tls(channel, target, address, deadline)
        protocol = _protocol(target, address, subprotocols)
        _shake_hands(channel, protocol, target, deadline)
        return NetworkConnection(channel, protocol, target.max_size)
    except BaseException:
        channel.close()
        raise


def _address(uri: str) -> WebSocketURI:
    try:
        return parse_uri(uri)
    except Exception as error:  # InvalidURI, or what urllib raises
        # Not the URI itself: a password may be in it.
        raise ValueError(f"no URI of a WebSocket: {getattr(error, 'msg', error)}") from None


def _open_socket(target: Target, address: WebSocketURI, deadline: _Deadline) -> socket.socket:
    proxy = _proxy_for(address, target.proxy)
    if proxy is None:
        near = (address.host, address.port)
    else:
        near = (proxy.hostname or "", proxy.port or 80)
    channel = socket.create_connection(near, deadline.left_s())
    try:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if proxy is not None:
            _pass_proxy(channel, proxy, address, deadline)
    except BaseException:
        channel.close()
        raise
    return channel


def _proxy_for(address: WebSocketURI, proxy: str | bool | None) -> urllib.parse.SplitResult | None:
    """The one that is given, or with True that of the system."""
    if proxy is True:
        if urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
            return None
        known = urllib.request.getproxies()
        schemes = ("wss", "https") if address.secure else ("ws", "https", "http")
        proxy = next((known[scheme] for scheme in schemes if scheme in known), None)
    if not proxy:
        return None
    parts = urllib.parse.urlsplit(proxy)
    if not parts.hostname:
        raise ValueError("the proxy's address has no host: it is http://host:port")
    return parts


def _pass_proxy(
    channel: socket.socket,
    proxy: urllib.parse.SplitResult,
    address: WebSocketURI,
    deadline: _Deadline,
) -> None:
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = [f"CONNECT {host}:{address.port} HTTP/1.1", f"Host: {host}:{address.port}"]
    if proxy.username is not None:
        name, word = (urllib.parse.unquote(part or "") for part in (proxy.username, proxy.password))
        token = base64.b64encode(f"{name}:{word}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    channel.settimeout(deadline.left_s())
    channel.sendall("\r\n".join([*lines, "", ""]).encode())
    _read_proxy_answer(channel, deadline)


def _read_proxy_answer(channel: socket.socket, deadline: _Deadline) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        channel.settimeout(deadline.left_s())
        byte = channel.recv(1)  # what is behind the head is the server's
        if not byte:
            raise ConnectionResetError("the proxy has closed without an answer")
        head += byte
        if len(head) > _MAX_PROXY_HEAD_BYTES:
            raise HandshakeFailed("the proxy's answer has no end")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    fields = [line.partition(":") for line in lines if line]
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise HandshakeFailed(f"the proxy's answer is no HTTP: {status_line!r:.100}")
    if not 200 <= int(rest[:3]) < 300:
        headers = {name.strip().title(): value.strip() for name, _, value in fields}
        raise HandshakeRefused("the proxy", int(rest[:3]), headers, b"")


def _enable_tls(
    channel: socket.socket, target: Target, address: WebSocketURI, deadline: _Deadline
) -> socket.socket:
    context = target.ssl if target.ssl is not None else ssl.create_default_context()
    channel.settimeout(deadline.left_s())
    return context.wrap_socket(channel, server_hostname=target.server_hostname or address.host)


def _protocol(target: Target, address: WebSocketURI, subprotocols: Sequence[str]) -> ClientProtocol:
    return ClientProtocol(
        address,
        origin=None if target.origin is None else Origin(target.origin),
        extensions=enable_client_permessage_deflate(None) if target.compression else None,
        subprotocols=[Subprotocol(name) for name in subprotocols],
        max_size=None if target.max_size is None else target.max_size + OWN_BYTES,
        logger=_quiet,
    )


def _shake_hands(
    channel: socket.socket, protocol: ClientProtocol, target: Target, deadline: _Deadline
) -> None:
    request = protocol.connect()
    if target.additional_headers is not None:
        request.headers.update(target.additional_headers)
    if target.user_agent_header is not None:
        request.headers.setdefault("User-Agent", target.user_agent_header)
    protocol.send_request(request)
    channel.settimeout(deadline.left_s())
    channel.sendall(b"".join(protocol.data_to_send()))
    while protocol.state.name == "CONNECTING" and protocol.handshake_exc is None:
        channel.settimeout(deadline.left_s())
        data = channel.recv(_READ_BYTES)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
    if protocol.handshake_exc is not None:
        raise _failure(protocol.handshake_exc)


def _failure(error: Exception) -> Exception:
    """What a user is told."""
    if isinstance(error, InvalidStatus):
        response = error.response
        return HandshakeRefused(
            "the server", response.status_code, response.headers, bytes(response.body or b"")
        )
    if isinstance(error.__cause__, EOFError):
        return ConnectionResetError("the server has closed without an answer")
    if not isinstance(error, InvalidHandshake):
        return error
    failure = HandshakeFailed(f"the server does not open a WebSocket: {error}")
    failure.__cause__ = error.__cause__
    return failure
