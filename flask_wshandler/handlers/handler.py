"""The user's side of one client: subclass `WebSocketHandler`, override what is of interest.

No Flask here: what runs the callbacks, and in which context, is `callbacks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

from ..protocol.errors import CloseCode
from ..protocol.frames import Message, Sendable
from ..runtime.first_use import ModuleLock
from ..runtime.identity import new_connection_id
from .json_text import written_by
from .member import Member, Receiver
from .middleware import checked_middlewares
from .near_misses import check_callbacks, warn_of_near_misses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..protocol.carrier import Transport
    from ..protocol.limits import QueuePolicy, RatePolicy
    from .context import WebSocketContext


class Peer(Receiver, Protocol):
    """The connection, as a handler sees it."""

    @property
    def received_messages(self) -> int: ...

    @property
    def received_bytes(self) -> int: ...

    @property
    def sent_messages(self) -> int: ...

    @property
    def sent_bytes(self) -> int: ...

    @property
    def dropped_messages(self) -> int: ...

    @property
    def age_s(self) -> float: ...

    @property
    def queued_bytes(self) -> int: ...

    @property
    def is_open(self) -> bool: ...

    @property
    def is_connected(self) -> bool: ...

    @property
    def transport(self) -> Transport: ...

    def send(self, message: Sendable) -> bool: ...

    def in_turn(self, do: Callable[[], object]) -> None: ...

    def when_ready(self, do: Callable[[], object]) -> None: ...


_CALLBACKS = (
    "on_open",
    "on_message",
    "on_text",
    "on_binary",
    "on_error",
    "on_close",
    "check_session",
    "on_away",
    "on_back",
)
_SETTINGS = (
    "max_message_size",
    "max_queue_size",
    "queue_policy",
    "ping_interval",
    "ping_timeout",
    "message_rate",
    "message_rate_policy",
    "recheck_session_s",
    "resume_s",
    "resume_buffer",
    "middleware",
)


_member_lock = ModuleLock()
"""Guards `_as_member` of all handlers, and the opening of those that have none. Reentrant: garbage
may be collected meanwhile, and its `__del__` may join a collection."""


class _NoContext:
    """In the place of a handler's `context` until it is accepted."""

    def __get__(self, handler: WebSocketHandler | None, cls: type) -> _NoContext:
        if handler is None:
            return self
        raise AttributeError(
            f"{cls.__name__} has no context yet: it has one from accept_websocket_request() on, "
            "so use it in on_open() or later; what the constructor needs of the request the view "
            "can pass to it"
        )


class WebSocketHandler:
    """One client. Make an instance in the view, from whatever the request knows, and give it to
    `accept_websocket_request`.

    The callbacks of one client run one at a time and in order, those of different clients in
    parallel; so what an instance keeps in attributes needs no lock, what it shares does. In all
    of them `current_app`, `g` (a fresh one each time), `request`, `session`, `url_for` and
    Flask-Login's `current_user` work and are those of the handshake.

    An exception in a callback is logged, sent through `got_request_exception`, kept in `error`,
    given to `on_error`, and closes this client with 1011. `abort()` with a 4xx closes it with 1008,
    and is one line in the log.

    A class or an instance may set, over the app's settings: `max_message_size` and
    `max_queue_size` (bytes), `queue_policy` ("close", "drop_oldest", "drop_newest"),
    `ping_interval` and `ping_timeout` (seconds, None for none), `message_rate` (messages per
    second, or that and a burst), `message_rate_policy` ("close", "slow_down"), and
    `recheck_session_s`, `resume_s` and `resume_buffer`. `context` is there from the accepting on,
    `error` in `on_error`, `close_code` and `close_reason` in `on_close`.
    """

    #: Bytes of one message, after decompression; larger: 1009. Default: the app's setting.
    max_message_size: int
    #: Bytes this client may leave untaken. Default: the app's setting.
    max_queue_size: int
    #: What happens past `max_queue_size`: "close" (with 1013, the default), "drop_oldest"
    #: or "drop_newest" (and `send` returns False).
    queue_policy: QueuePolicy | str
    #: Seconds between two pings, None for none. Default: the app's setting.
    ping_interval: float | None
    #: Seconds that the client may be silent after a ping, None for ever. Default: the app's
    #: setting.
    ping_timeout: float | None
    #: Messages per second that the client may send: a number, `(per_second, burst)`, or None for
    #: any. Default: the app's setting.
    message_rate: float | tuple[float, float] | None
    #: What happens past `message_rate`: "close" (with 1008) or "slow_down" (nothing is read from
    #: the client for a while). Default: the app's setting.
    message_rate_policy: RatePolicy | str

    #: Seconds that a client which speaks `wshandler.1` is waited for when the network has lost it.
    #: Default: the app's setting.
    resume_s: float
    #: Bytes that are kept for it meanwhile. Default: the app's setting.
    resume_buffer: int

    #: What goes around each callback, inside of the app's: functions as `sockets.middleware` takes.
    #: Those of base classes go around those of a class.
    middleware: ClassVar[Sequence[Callable[..., object]]] = ()

    #: Seconds between two calls of `check_session`, None for none.
    recheck_session_s: float | None = None

    #: The exception that a callback raised, when `on_error` runs.
    error: BaseException | None = None
    #: When `on_close` runs: the code of the first close frame, whoever sent it; 1005 when the
    #: client's had none, 1006 when there was no frame.
    close_code: int | None = None
    #: When `on_close` runs: the reason that stood in the first close frame.
    close_reason: str = ""
    #: The handshake, from the moment of `accept_websocket_request`.
    context: WebSocketContext = _NoContext()  # type: ignore[assignment]  # an instance's own hides it

    _is_accepted = False
    _peer: Peer | None = None
    #: Of a handler that has joined a collection, or has ended.
    _as_member: Member | None = None

    # What runs the callbacks, if not `callbacks.HandlerCallbacks`, which is above this module.
    _callbacks_class: ClassVar[Any] = None

    # The method that takes each kind of message, None where nothing is overridden.
    _text_callback: ClassVar[str | None] = None
    _binary_callback: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._text_callback = _overridden(cls, "on_text", "on_message")
        cls._binary_callback = _overridden(cls, "on_binary", "on_message")
        warn_of_near_misses(cls, (*_CALLBACKS, *_SETTINGS))
        check_callbacks(cls, _CALLBACKS)
        checked_middlewares(cls, vars(cls).get("middleware", ()))

    # Callbacks.

    def on_open(self) -> None:
        """The client is connected. First and once."""

    def on_message(self, message: Message) -> None:
        """A message came: str for a text message, bytes for a binary one.

        A kind of message that no callback is overridden for closes the client with 1003.
        """

    def on_text(self, message: str) -> None:
        """A text message came. Calls `on_message` unless overridden."""
        self.on_message(message)

    def on_binary(self, message: bytes) -> None:
        """A binary message came. Calls `on_message` unless overridden."""
        self.on_message(message)

    def on_error(self) -> None:
        """A callback raised `self.error`. At most once; `on_close` follows."""

    def check_session(self) -> bool:
        """Whether the client may stay; asked every `recheck_session_s`. False: close 4401.

        A callback like the others. Unless overridden, it is whether Flask-Login loads the same
        user as at the handshake, from a session that is opened anew where that can change
        anything: one that the server keeps. A cookie that keeps the session itself says for
        ever what it said.
        """
        return self.context.is_user_unchanged()

    def on_away(self) -> None:
        """The network has lost a client that can come back; `on_back` or `on_close` follows.

        What is sent meanwhile is kept for it. Only with a client of this package's; not called
        when it is back before the loss was noticed.
        """

    def on_back(self) -> None:
        """A client that was away is there again, with all that was sent to it meanwhile."""

    def on_close(self) -> None:
        """The client is gone. Last, exactly once, however that came about."""

    # What a handler can do. Any thread.

    def send(self, message: Sendable) -> bool:
        """Send a text (str) or binary (bytes-like) message. Any thread; never waits.

        Messages arrive in the order of the calls. False when the client has gone or is closing,
        or does not take what it is sent. Raises TypeError for another type, and RuntimeError
        before the handler is accepted.
        """
        peer = self._peer
        if peer is None:
            raise self._not_connected()
        return peer.send(message)

    def send_json(self, obj: Any) -> bool:
        """Send `obj` as JSON in a text message, by the app's JSON provider.

        Raises what `send` and the provider raise.
        """
        if self._peer is None:
            raise self._not_connected()
        return self._peer.send(written_by(self.context.application.json.dumps, obj))

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close after what has been sent. Any thread; never waits; a second call does nothing.

        `code` is 1000 to 1014 without the reserved ones, or 3000 to 4999; `reason` is at most
        123 bytes of UTF-8; TypeError or ValueError otherwise. `on_close` follows when the client
        has answered, or after `WSHANDLER_CLOSE_TIMEOUT`.
        """
        if self._peer is None:
            raise self._not_connected()
        self._peer.close(code, reason)

    def __call__(self, environ: object = None, start_response: object = None) -> NoReturn:
        """Raise TypeError: a view has returned the handler, which Flask takes for a WSGI app."""
        name = type(self).__name__
        raise TypeError(
            f"a view can't return {name}: have it return accept_websocket_request({name}(…)), or "
            "give the class an address by sockets.route(…) in the place of app.route(…)"
        )

    @property
    def is_open(self) -> bool:
        """Whether a message can be sent at this moment."""
        return self._peer is not None and self._peer.is_open

    @property
    def message_number(self) -> int:
        """How many messages this client has sent; in `on_message` the number of this one.

        A client of this package's goes on counting when it comes back, to whatever handler: what it
        repeats has the same number again.
        """
        return 0 if self._peer is None else self._peer.received_messages

    @property
    def queued_bytes(self) -> int:
        """Bytes that were sent and that the client has not taken yet."""
        return 0 if self._peer is None else self._peer.queued_bytes

    @property
    def dropped_messages(self) -> int:
        """Messages that the full queue has dropped."""
        return 0 if self._peer is None else self._peer.dropped_messages

    @property
    def _shown_name(self) -> str:
        """See `shown_name_of`."""
        return type(self).__qualname__

    def _shown_callback(self, name: str) -> str:
        """What logs call one of its callbacks."""
        return f"{self._shown_name}.{name}"

    def _not_connected(self) -> RuntimeError:
        return RuntimeError(
            f"{type(self).__name__} is not connected yet: give it to "
            "accept_websocket_request(), and send in on_open() or later"
        )


def _overridden(cls: type[WebSocketHandler], *names: str) -> str | None:
    """The first of `names` that `cls` has a method of its own for."""
    for name in names:
        if getattr(cls, name) is not getattr(WebSocketHandler, name):
            return name
    return None


def late_callback(handler: WebSocketHandler, is_text: bool) -> str | None:
    """The method for a kind of message that the class had none for when it was made.

    It may have got one since, or the instance: `handler.on_message = …`.
    """
    for name in ("on_text" if is_text else "on_binary", "on_message"):
        callback = getattr(handler, name)
        if getattr(callback, "__func__", None) is not getattr(WebSocketHandler, name):
            return name
    return None


# Of the package, not of the user, who has only the methods above.


def member_of(handler: WebSocketHandler) -> Member:
    """`handler` as a member of collections; made at the first call."""
    with _member_lock:
        member = handler._as_member
        if member is None:
            context: WebSocketContext | None = getattr(handler, "context", None)
            connection_id = new_connection_id() if context is None else context.connection_id
            member = handler._as_member = Member(connection_id, handler._peer)
        return member


def find_member(handler: object) -> Member | None:
    """`handler` as a member of collections; None if it has joined none, or is no handler."""
    return handler._as_member if isinstance(handler, WebSocketHandler) else None


def connection_of(handler: WebSocketHandler) -> Peer | None:
    """What `handler` is connected by, also when it is closed; None before it opens."""
    return handler._peer


def shown_callback_of(handler: WebSocketHandler, name: str) -> str:
    """What logs call the callback `name` of `handler`."""
    return handler._shown_callback(name)


def shown_name_of(handler: WebSocketHandler) -> str:
    """What logs and metrics call handlers of this kind: there are few of these names."""
    return handler._shown_name


def is_accepted(handler: WebSocketHandler) -> bool:
    """Whether a request has been accepted as the WebSocket of `handler`."""
    return handler._is_accepted


def accept_handler(handler: WebSocketHandler, context: WebSocketContext) -> None:
    """Let `handler` know the handshake that was accepted."""
    handler._is_accepted = True
    handler.context = context


def open_handler(handler: WebSocketHandler, connection: Peer) -> None:
    """Make the methods of `handler` work: it is connected. Once."""
    with _member_lock:
        member = handler._as_member
        if member is None:
            handler._peer = connection
    if member is not None:
        member.open(connection)
        handler._peer = connection


def end_handler(handler: WebSocketHandler) -> None:
    """Take `handler` out of its collections, and let it into none: it has ended."""
    member_of(handler).end()
