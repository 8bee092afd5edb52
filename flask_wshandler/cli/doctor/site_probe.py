"""A visit to the running server: requests with the operator's proof, as a browser would come.

The first asks for a page. Only if the app answers it with its report come the others, which ask
for a WebSocket, and for a stream over HTTP where the app has such: so a server that does not know
the proof is never asked to open one of the app's. The request for a WebSocket says of itself that
it comes from elsewhere, as anybody may; see `FORGED_ADDRESS`. Nothing but the address that was
given is connected to; environment variables for proxies don't count.
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

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from ...monitoring.operator_proof import HEADER
from ...monitoring.request_report import MEDIA_TYPE, Report
from ...transports.capacity import RefusalReason
from ..json_shape import has_shape
from .protocol_probe import speaks_http2, speaks_plainly, speaks_tls, tls_context
from .site_url import Address
from .stream_visit import StreamVisit, StreamVisitor

FORGED_ADDRESS = "192.0.2.77"
"""Sent as X-Forwarded-For with the second request. RFC 5737: of documentation, nobody's."""

_MOST_BODY_BYTES = 2**20
_MOST_RETRIES = 2
_RETRY_S = 0.5
"""When a worker ends, as each does now and then with gunicorn's `--max-requests`."""
_GATEWAY_STATUSES = (502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)


class Trouble(enum.Enum):
    """Why the app was not seen."""

    UNREACHABLE = enum.auto()
    WRONG_SCHEME = enum.auto()
    CERTIFICATE = enum.auto()
    HTTP2_ONLY = enum.auto()
    REDIRECTED = enum.auto()
    GATEWAY = enum.auto()
    UNAUTHORIZED = enum.auto()
    STRANGER = enum.auto()


_OF_THE_WHOLE_SITE = (
    Trouble.UNREACHABLE,
    Trouble.WRONG_SCHEME,
    Trouble.CERTIFICATE,
    Trouble.HTTP2_ONLY,
)


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
    #: After so many silent seconds the connection was lost, without a close; None if it was not.
    cut_off_after_s: float | None = None
    #: What came of a stream over HTTP; None if none was asked for.
    stream: StreamVisit | None = None
    #: Whether the proxy speaks HTTP/2 to who asks for it by TLS; None if that was not asked.
    has_http2: bool | None = None

    @property
    def may_connect(self) -> bool:
        """Whether a client could be served, as far as a page tells."""
        return self.page is not None and not self.page["socket_obstacle"]

    @property
    def is_nobody_there(self) -> bool:
        """Whether it would be the same at all other paths."""
        return self.trouble in _OF_THE_WHOLE_SITE

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
        self,
        address: Address,
        proof: str,
        timeout_s: float,
        *,
        idle_s: float = 0,
        checks_certificate: bool = True,
    ) -> None:
        """For `idle_s` a connection stays open and silent, as a client's does."""
        self._address = address
        self._headers = {HEADER: proof}
        if address.authorization:
            self._headers["Authorization"] = address.authorization
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._checks_certificate = checks_certificate

    def visit(self) -> Visit:
        """Ask for a page and a WebSocket. Never raises for what the other side does."""
        visit = self._get()
        if not visit.may_connect:
            return visit
        for _ in range(_MOST_RETRIES):
            found = self._upgrade(visit)
            if not found.is_worker_ending:
                return found
            time.sleep(_RETRY_S)
        return self._upgrade(visit)

    def visit_stream(self, visit: Visit) -> Visit:
        """Ask for a stream as well, where the app that was visited has such. Never raises."""
        page = visit.page
        if page is None or not visit.may_connect or not page["setup"]["fallback"]:
            return visit
        visitor = StreamVisitor(
            self._address, self._headers, self._http_connection, MEDIA_TYPE, self._timeout_s
        )
        with contextlib.closing(visitor):
            stream = visitor.look(self._idle_s)
        return dataclasses.replace(visit, stream=stream, has_http2=self._has_http2())

    def _has_http2(self) -> bool | None:
        address = self._address
        if not address.is_secure:
            return None
        checks = self._checks_certificate
        return speaks_http2(address, self._timeout_s, checks_certificate=checks)

    def _get(self) -> Visit:
        own_port = None
        try:
            with contextlib.closing(self._http_connection()) as connection:
                connection.connect()
                own_port = connection.sock.getsockname()[1]
                headers = {**self._headers, "Origin": self._address.origin}
                connection.request("GET", self._address.target, headers=headers)
                response = connection.getresponse()
                body = response.read(_MOST_BODY_BYTES)
        except ssl.SSLCertVerificationError as error:
            return self._trouble(Trouble.CERTIFICATE, error.verify_message)
        except (OSError, http.client.HTTPException) as error:
            return self._failed(error, has_connected=own_port is not None)
        page = _report_in(response.headers.get("Content-Type"), body)
        if page is None:
            return self._stranger(response)
        return Visit(
            self._address,
            page=page,
            is_direct=page["peer_port"] == own_port,
            server_header=response.headers.get("Server", ""),
        )

    def _failed(self, error: Exception, *, has_connected: bool) -> Visit:
        """Nothing came, or what is no HTTP: what else is there, if there is a server?"""
        address, timeout_s = self._address, self._timeout_s
        if not isinstance(error, ConnectionRefusedError | socket.gaierror):
            # One that waits for a line of HTTP is silent to who begins with TLS.
            if address.is_secure and not has_connected and speaks_plainly(address, timeout_s):
                return self._trouble(Trouble.WRONG_SCHEME, "http")
            if not isinstance(error, TimeoutError):
                if not address.is_secure and speaks_tls(address, timeout_s):
                    return self._trouble(Trouble.WRONG_SCHEME, "https")
                if speaks_http2(address, timeout_s, checks_certificate=self._checks_certificate):
                    return self._trouble(Trouble.HTTP2_ONLY)
        return self._trouble(Trouble.UNREACHABLE, str(error) or type(error).__name__)

    def _stranger(self, response: http.client.HTTPResponse) -> Visit:
        location = response.headers.get("Location")
        if response.status in _REDIRECTS and location:
            return self._trouble(Trouble.REDIRECTED, location)
        status = f"{response.status} {response.reason}"
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            return self._trouble(Trouble.UNAUTHORIZED, status)
        # So nginx answers who comes without TLS to a port with it.
        is_refused = response.status == http.HTTPStatus.BAD_REQUEST and not self._address.is_secure
        if is_refused and speaks_tls(self._address, self._timeout_s):
            return self._trouble(Trouble.WRONG_SCHEME, "https")
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
                additional_headers={**self._headers, "X-Forwarded-For": FORGED_ADDRESS},
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
                cut_off_after_s = self._be_silent(client)
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
            visit,
            upgrade=report,
            upgrade_status=101,
            has_exchanged=has_exchanged,
            cut_off_after_s=cut_off_after_s,
        )

    def _be_silent(self, client: ClientConnection) -> float | None:
        """When the connection was lost; pings are answered meanwhile."""
        if not self._idle_s:
            return None
        began_s = time.monotonic()
        try:
            client.recv(self._idle_s)
        except ConnectionClosed as closed:
            # The app would have said why.
            return None if closed.rcvd is not None else time.monotonic() - began_s
        except TimeoutError:
            return None
        return None

    def _http_connection(self) -> http.client.HTTPConnection:
        host, port = self._address.host, self._address.port
        if self._address.is_secure:
            return http.client.HTTPSConnection(
                host, port, timeout=self._timeout_s, context=self._context()
            )
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def _context(self) -> ssl.SSLContext:
        return tls_context(checks_certificate=self._checks_certificate)


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
