"""What a server speaks that has not answered as it was asked to: TLS, HTTP without it, HTTP/2.

A guess takes a second at most, for who asks has waited already; and the proof is in none of them.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from .site_url import Address

_MOST_S = 1.0
_HTTP = b"HTTP/"
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""RFC 9113 section 3.4: what a client begins with, and an empty SETTINGS frame."""
_HTTP2_SETTINGS = 4
_HTTP2_HEAD_BYTES = 9


def tls_context(protocol: str = "http/1.1", *, checks_certificate: bool = True) -> ssl.SSLContext:
    """Of a client that speaks `protocol`, and accepts any certificate if it does not check."""
    context = ssl.create_default_context()
    if not checks_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def speaks_http2(address: Address, timeout_s: float, *, checks_certificate: bool) -> bool:
    """Whether the server takes HTTP/2; also one that does not say so in the handshake of TLS."""
    with contextlib.suppress(OSError), _connected(address, timeout_s) as plain:
        if not address.is_secure:
            return _takes_http2(plain)
        context = tls_context("h2", checks_certificate=checks_certificate)
        with context.wrap_socket(plain, server_hostname=address.host) as secure:
            return secure.selected_alpn_protocol() == "h2" or _takes_http2(secure)
    return False


def speaks_tls(address: Address, timeout_s: float) -> bool:
    """Whether TLS begins there, whatever the certificate."""
    context = tls_context(checks_certificate=False)
    with (
        contextlib.suppress(OSError),
        _connected(address, timeout_s) as plain,
        context.wrap_socket(plain, server_hostname=address.host),
    ):
        return True
    return False


def speaks_plainly(address: Address, timeout_s: float) -> bool:
    """Whether there is HTTP without TLS."""
    request = f"HEAD {address.target} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
    with contextlib.suppress(OSError), _connected(address, timeout_s) as plain:
        plain.sendall(request.encode())
        return plain.recv(len(_HTTP)) == _HTTP
    return False


def _connected(address: Address, timeout_s: float) -> socket.socket:
    return socket.create_connection((address.host, address.port), min(timeout_s, _MOST_S))


def _takes_http2(sock: socket.socket) -> bool:
    sock.sendall(_HTTP2_PREFACE)
    head = b""
    while len(head) < _HTTP2_HEAD_BYTES and (part := sock.recv(_HTTP2_HEAD_BYTES - len(head))):
        head += part
    return len(head) == _HTTP2_HEAD_BYTES and head[3] == _HTTP2_SETTINGS
