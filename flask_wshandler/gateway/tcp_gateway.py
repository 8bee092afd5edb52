"""A handler that leads its client to a service behind a TCP or Unix socket.

Invariant: where to comes from the app, never from the client.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from ..handlers.handler import WebSocketHandler, connection_of, shown_name_of
from ..protocol.errors import CloseCode
from ..runtime import logs
from ..runtime.redaction import one_line, shown_path
from ..settings import limits_of
from ..upgrade.app_state import state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.connection import Connection
    from ..protocol.frames import Message
    from ..resume.resumable import ResumableConnection
    from ..transports.link import Address as SocketAddress
    from ..transports.link import Link

Address = tuple[str, int] | str
"""A host and a port, or the path of a Unix socket."""

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PREFIX_BYTES = 128
"""More than what is kept with each message for a client that can come back."""


class TcpGateway(WebSocketHandler):
    """Leads the client to the service at `address`: what either sends the other gets, as bytes.

    `address` is `(host, port)`, or the path of a Unix socket; a subclass may have it as an
    attribute. It must never come from the client. The service's bytes are sent as binary messages
    of at most 64 kB, however they were written; of a text message the service gets the UTF-8.

    The client is closed with 1000 when the service has ended the stream and everything is
    delivered, with 1014 when it can't be reached or resets the connection, which is one line in
    the log, and with 1013 when this process has no descriptor or thread for it. When the client
    has ended, the service still gets what it had sent.

    Neither side is read while the other one does not take what it is sent. A subclass that
    overrides `on_open`, `on_message` or `on_close` calls these.
    """

    #: Where the service is, unless the constructor is told.
    address: Address | None = None
    #: Seconds for connecting, over all addresses of the host. The resolver's time counts, too, but
    #: it is not ended: it runs in `on_open`, which holds up a callback's thread.
    connect_timeout: float = 5.0
    #: Bytes of the client that may wait for the service; past it the client is not read.
    max_buffer_size: int = 64 * 1024

    def __init__(self, address: Address | None = None) -> None:
        """Raises TypeError for what is no address."""
        if address is not None:
            self.address = address
        _check_address(self.address, type(self).__name__)
        self._link: Link | None = None

    def on_open(self) -> None:
        """Begin to connect."""
        connection = connection_of(self)
        client = _Client(self, connection)  # type: ignore[arg-type]  # nothing else is ever given
        try:
            self._link = link = state_of(self.context.application).engine.link(
                client,
                _resolved(self.address),
                connect_timeout_s=self.connect_timeout,
                max_buffer_size=self.max_buffer_size,
                max_read_size=_largest_message(self),
            )
        except (OSError, RuntimeError) as error:
            client.not_connected(error)
            return
        link.start()

    def on_message(self, message: Message) -> None:
        """Write it to the service."""
        if self._link is not None:
            self._link.write(message.encode() if isinstance(message, str) else message)

    def on_close(self) -> None:
        """End the service's connection, after what the client has sent."""
        link, self._link = self._link, None
        if link is not None:
            link.finish()


class _Client:
    """The client, as the link sees it."""

    def __init__(self, gateway: TcpGateway, connection: Connection | ResumableConnection) -> None:
        self._gateway = gateway
        self._connection = connection
        self.pause = connection.pause
        self.resume = connection.resume
        self.is_drained = connection.is_drained
        self.has_all_been_taken = connection.has_all_been_taken

    def received(self, data: bytes) -> None:
        """Send what the service has sent."""
        self._connection.send(data)

    def not_connected(self, error: Exception) -> None:
        """Close, because the service can't be reached."""
        self._log("can't reach", error)
        if isinstance(error, RuntimeError) or (
            isinstance(error, OSError) and error.errno in _OUT_OF_DESCRIPTORS
        ):
            self._connection.close(CloseCode.TRY_AGAIN_LATER, "too many connections")
        else:
            self._connection.close(CloseCode.BAD_GATEWAY, "the service can't be reached")

    def ended(self, error: OSError | None) -> None:
        """Close, because the service has ended the stream."""
        if error is None:
            self._connection.close()
        else:
            self._log("has lost", error)
            self._connection.close(CloseCode.BAD_GATEWAY, "the service was lost")

    def _log(self, what: str, error: Exception) -> None:
        context = self._gateway.context
        logs.of_app(context.application).warning(
            "%s on %s %s the service at %s: %s",
            shown_name_of(self._gateway),
            shown_path(context.path),
            what,
            _shown(self._gateway.address),
            one_line(str(error)),
        )


def _check_address(address: object, name: str) -> None:
    if isinstance(address, str) and address:
        if hasattr(socket, "AF_UNIX"):
            return
        raise TypeError(f"{name} has the path of a Unix socket, which this system has not")
    if isinstance(address, tuple) and len(address) == 2:
        host, port = address
        if isinstance(host, str) and isinstance(port, int) and 0 < port < 65536:
            return
    raise TypeError(
        f'{name} needs an address: ("127.0.0.1", 5900), or the path of a Unix socket, not '
        f"{address!r}"
    )


def _resolved(address: Address | None) -> Sequence[SocketAddress]:
    """Where to connect to, in the order of trying. OSError if the host is unknown."""
    assert address is not None  # else there is no object
    if isinstance(address, str):
        return [(socket.AF_UNIX, address)]
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


def _largest_message(gateway: TcpGateway) -> int:
    """One that a client can be kept that is lost amid it; 1 at least."""
    limits = limits_of(gateway, state_of(gateway.context.application).settings)
    return max(1, limits.resume_buffer - _PREFIX_BYTES)


def _shown(address: Address | None) -> str:
    return address if isinstance(address, str) else "{}:{}".format(*(address or ("", "")))
