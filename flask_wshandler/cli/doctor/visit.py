"""A visit to the running server: two requests with the operator's proof, as a browser would come.

The first asks for a page. Only if the app answers it with its report comes the second, which asks
for a WebSocket: so a server that does not know the proof is never asked to open one of the app's.
That one says of itself that it comes from elsewhere, as anybody may; see `FORGED_ADDRESS`.
Nothing but the address that was given is connected to; environment variables for proxies don't
count.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import http.client
import json
import socket
import ssl
import time
from typing import cast
from urllib.parse import SplitResult, quote, urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Origin

from ...diagnosis import MEDIA_TYPE, Report
from ...operator_key import HEADER
from ...room import RefusalReason
from ..shapes import has_shape

FORGED_ADDRESS = "192.0.2.77"
"""Sent as X-Forwarded-For with the second request. RFC 5737: of documentation, nobody's."""

_MOST_BODY_BYTES = 2**20
_MOST_RETRIES = 2
_RETRY_S = 0.5
"""When a worker ends, as each does now and then with gunicorn's `--max-requests`."""
_GATEWAY_STATUSES = (502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""RFC 9113 section 3.4: what a client begins with, and an empty SETTINGS frame."""
_HTTP2_SETTINGS = 4
_HTTP2_HEAD_BYTES = 9


class Trouble(enum.Enum):
    """Why the app was not seen."""

    UNREACHABLE = enum.auto()
    CERTIFICATE = enum.auto()
    HTTP2_ONLY = enum.auto()
    REDIRECTED = enum.auto()
    GATEWAY = enum.auto()
    STRANGER = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where to go."""

    is_secure: bool
    #: In ASCII, as it is looked up.
    host: str
    port: int
    #: As in a request. A browser copies a site's address with a slash for a path.
    path: str
    #: With its question mark; empty if there is none.
    query: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError for what is no http, https, ws or wss address."""
        try:
            parts: SplitResult = urlsplit(url)
            is_secure = _SECURE[parts.scheme]
            host = (parts.hostname or "").encode("idna").decode()
            port = parts.port
            path, query = _quoted(parts.path), _quoted(parts.query)
        except (KeyError, ValueError):
            host, port = "", None
        if not host or port == 0:
            raise ValueError(f"{url!r} is no address such as http://127.0.0.1:8000")
        if port is None:
            port = _DEFAULT_PORTS["https" if is_secure else "http"]
        return cls(is_secure, host, port, path or "/", f"?{query}" if query else "")

    def at(self, path: str) -> Address:
        """Another path of it, with the same query string."""
        return dataclasses.replace(self, path=_quoted(path))

    @property
    def scheme(self) -> str:
        """As of a page."""
        return "https" if self.is_secure else "http"

    @property
    def target(self) -> str:
        """As in a request's first line."""
        return self.path + self.query

    @property
    def netloc(self) -> str:
        """As in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Of the pages of this very site."""
        return f"{self.scheme}://{self.netloc}"

    def __str__(self) -> str:
        return self.origin + self.target


def _quoted(text: str) -> str:
    """As a browser sends a path or a query: what is no ASCII, and spaces, by their bytes."""
    return quote(text, safe="%/:?@!$&'()*+,;=[]~")


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """What came of it."""

    address: Address
    trouble: Trouble | None = None
    #: About the trouble, in words.
    detail: str = ""
    #: What the app has said of the first request.
    page: Report | None = None
    #: Whether nothing stands between: the app's peer is the visitor.
    is_direct: bool = False
    #: The Server header of the first answer.
    server_header: str = ""
    #: What the app has said of the request for a WebSocket; None if it did not come to that.
    upgrade: Report | None = None
    #: The status of the answer to it, and whether messages came and went.
    upgrade_status: int | None = None
    has_exchanged: bool = False

    @property
    def is_nobody_there(self) -> bool:
        """Whether it would be the same at all other paths."""
        return self.trouble in (Trouble.UNREACHABLE, Trouble.CERTIFICATE, Trouble.HTTP2_ONLY)

    @property
    def is_worker_ending(self) -> bool:
        """Whether a client would have been told to come again soon."""
        upgrade = self.upgrade
        return upgrade is not None and upgrade["refusal_reason"] == RefusalReason.STOPPING

    @property
    def is_forgery_believed(self) -> bool:
        """Whether the app takes a client to be where the client says, though there is a proxy."""
        upgrade = self.upgrade
        return (
            upgrade is not None and self.is_proxied and upgrade["client_address"] == FORGED_ADDRESS
        )

    @property
    def is_proxied(self) -> bool:
        """Whether there is a proxy on the way, as far as that can be seen."""
        page = self.page
        if page is None or self.is_direct:
            return False
        if page["forwarded_for"] or page["forwarded_proto"]:
            return True
        if page["peer_port"] is None and not page["server"]:
            return False  # the server tells nothing of its peer nor of itself
        return page["has_proxy_fix"] or _product(self.server_header) != _product(page["server"])


def _product(server: str) -> str:
    return server.partition("/")[0].strip().lower()


class Visitor:
    """One visit, with its time limit for each step."""

    def __init__(
        self, address: Address, proof: str, timeout_s: float, *, checks_certificate: bool = True
    ) -> None:
        self._address = address
        self._headers = {HEADER: proof, "Origin": address.origin}
        self._timeout_s = timeout_s
        self._checks_certificate = checks_certificate

    def visit(self) -> Visit:
        """Make both requests. Never raises for what the other side does."""
        visit = self._get()
        if visit.page is None or visit.page["socket_obstacle"]:
            return visit
        for _ in range(_MOST_RETRIES):
            found = self._upgrade(visit)
            if not found.is_worker_ending:
                return found
            time.sleep(_RETRY_S)
        return self._upgrade(visit)

    def _get(self) -> Visit:
        try:
            with contextlib.closing(self._http_connection()) as connection:
                connection.connect()
                own_port = connection.sock.getsockname()[1]
                connection.request("GET", self._address.target, headers=self._headers)
                response = connection.getresponse()
                body = response.read(_MOST_BODY_BYTES)
        except ssl.SSLCertVerificationError as error:
            return self._trouble(Trouble.CERTIFICATE, error.verify_message)
        except (OSError, http.client.HTTPException) as error:
            if self._speaks_http2():
                return self._trouble(Trouble.HTTP2_ONLY)
            detail = str(error) or type(error).__name__
            return self._trouble(Trouble.UNREACHABLE, detail)
        page = _report_in(response.headers.get("Content-Type"), body)
        if page is None:
            return self._stranger(response)
        return Visit(
            self._address,
            page=page,
            is_direct=page["peer_port"] == own_port,
            server_header=response.headers.get("Server", ""),
        )

    def _stranger(self, response: http.client.HTTPResponse) -> Visit:
        location = response.headers.get("Location")
        if response.status in _REDIRECTS and location:
            return self._trouble(Trouble.REDIRECTED, location)
        status = f"{response.status} {response.reason}"
        if response.status in _GATEWAY_STATUSES:
            return self._trouble(Trouble.GATEWAY, status)
        return self._trouble(Trouble.STRANGER, status)

    def _trouble(self, trouble: Trouble, detail: str = "") -> Visit:
        return Visit(self._address, trouble, detail)

    def _upgrade(self, visit: Visit) -> Visit:
        address = self._address
        scheme = "wss" if address.is_secure else "ws"
        try:
            with connect(
                f"{scheme}://{address.netloc}{address.target}",
                ssl=self._context() if address.is_secure else None,
                origin=Origin(address.origin),
                additional_headers={
                    HEADER: self._headers[HEADER],
                    "X-Forwarded-For": FORGED_ADDRESS,
                },
                compression=None,
                proxy=None,
                open_timeout=self._timeout_s,
                close_timeout=self._timeout_s,
                ping_interval=None,
                max_size=_MOST_BODY_BYTES,
            ) as client:
                report = _checked(json.loads(client.recv(self._timeout_s)))
                client.send("hello")
                has_exchanged = client.recv(self._timeout_s) == "hello"
        except InvalidStatus as error:
            answer = error.response
            return dataclasses.replace(
                visit,
                upgrade=_report_in(answer.headers.get("Content-Type"), answer.body or b""),
                upgrade_status=answer.status_code,
            )
        except (OSError, WebSocketException, ValueError, EOFError) as error:
            return dataclasses.replace(visit, detail=str(error) or type(error).__name__)
        return dataclasses.replace(
            visit, upgrade=report, upgrade_status=101, has_exchanged=has_exchanged
        )

    def _http_connection(self) -> http.client.HTTPConnection:
        host, port = self._address.host, self._address.port
        if self._address.is_secure:
            return http.client.HTTPSConnection(
                host, port, timeout=self._timeout_s, context=self._context()
            )
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def _context(self, protocol: str = "http/1.1") -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self._checks_certificate:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        return context

    def _speaks_http2(self) -> bool:
        """Whether the server takes HTTP/2, where it did not take HTTP/1.1."""
        address = self._address
        try:
            with socket.create_connection((address.host, address.port), self._timeout_s) as plain:
                if address.is_secure:
                    context = self._context("h2")
                    with context.wrap_socket(plain, server_hostname=address.host) as secure:
                        return secure.selected_alpn_protocol() == "h2"
                plain.sendall(_HTTP2_PREFACE)
                head = plain.recv(_HTTP2_HEAD_BYTES, socket.MSG_WAITALL)
                return len(head) == _HTTP2_HEAD_BYTES and head[3] == _HTTP2_SETTINGS
        except OSError:
            return False


def _report_in(content_type: str | None, body: bytes | bytearray) -> Report | None:
    if (content_type or "").partition(";")[0] == MEDIA_TYPE:
        with contextlib.suppress(ValueError):
            return _checked(json.loads(body))
    return None


def _checked(found: object) -> Report:
    """The report that JSON is. Raises ValueError."""
    if not has_shape(found, Report):
        raise ValueError("what came is no report")
    return cast(Report, found)
