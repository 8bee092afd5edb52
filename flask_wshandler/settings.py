"""The settings: read once, checked once, frozen.

Invariant: a `Settings` object is valid. No other module reads `app.config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .protocol.errors import SettingError
from .protocol.limits import ClientSettings, QueuePolicy, Rate, RatePolicy
from .protocol.origins import ANY, SAME_ORIGIN, checked_entry
from .runtime import logs
from .runtime.redaction import without_password

PREFIX = "WSHANDLER_"
_SIMILARITY = 0.87
"""Of a name that is meant, by difflib."""

logger = logs.logger(__package__)


class TransportChoice(str, enum.Enum):
    """How an accepted socket is served."""

    AUTO = "auto"
    EPOLL = "epoll"
    BLOCKING = "blocking"


def _shown(values: type[enum.Enum]) -> str:
    return " or ".join(repr(member.value) for member in values)


def at_least(minimum: float, kind: type, unit: str, *, or_none: bool = False) -> Callable[..., Any]:
    """A check for a number not below `minimum`; bool is no number here."""
    allowed = f"{'an integer' if kind is int else 'a number'} of {unit} from {minimum}"
    if or_none:
        allowed += ", or None"

    def check(value: object) -> Any:
        if value is None and or_none:
            return None
        numeric = (int,) if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, numeric) or not value >= minimum:
            raise ValueError(allowed)
        return value

    return check


def member_of(values: type[enum.Enum]) -> Callable[[object], Any]:
    """A check for one of an enumeration's values."""

    def check(value: object) -> Any:
        try:
            return values(value)
        except ValueError:
            raise ValueError(_shown(values)) from None

    return check


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _origins(value: object) -> str | tuple[str, ...]:
    allowed = (
        '"same-origin", "*", or a list of origins such as "https://example.org" '
        'or "https://*.example.org"'
    )
    if value in (SAME_ORIGIN, ANY):
        return str(value)
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError(allowed)
    try:
        return tuple([checked_entry(entry) for entry in value])
    except ValueError as error:
        raise ValueError(f"{allowed}; {error}") from None


def _bus(value: object) -> str:
    # What else an address must be knows the bus alone, which is made of it at once.
    if value in ("local", "none") or (isinstance(value, str) and "://" in value):
        return str(value)
    raise ValueError(
        "'local', 'none', or the address of a Redis such as 'redis://localhost:6379/0'"
    )


def _name_or_none(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError("a non-empty str, or None")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(each, str) and each.isidentifier() for each in value
    ):
        return tuple(value)
    raise ValueError("a list of names of attributes of g")


def _rate_or_none(value: object) -> Rate | None:
    allowed = "None, a number of messages per second above 0, or such a number and a burst from 1"
    if value is None or isinstance(value, Rate):
        return value
    numbers: list[Any] = list(value) if isinstance(value, tuple | list) else [value]
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        raise ValueError(allowed)
    if len(numbers) == 1 and 0 < numbers[0] < math.inf:
        numbers.append(max(1, math.ceil(numbers[0])))
    if len(numbers) != 2 or not 0 < numbers[0] < math.inf or not 1 <= numbers[1] < math.inf:
        raise ValueError(allowed)
    return Rate(float(numbers[0]), int(numbers[1]))


_transport = member_of(TransportChoice)
_rate_policy = member_of(RatePolicy)


def _setting(default: Any, check: Callable[[object], Any], *, is_secret: bool = False) -> Any:
    return dataclasses.field(default=default, repr=not is_secret, metadata={"check": check})


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The `WSHANDLER_*` keys of one app, checked.

    A field is its key in lower case without the prefix.
    """

    #: Bytes of one incoming message, after decompression. Larger: close 1009.
    max_message_size: int = _setting(2**20, at_least(1, int, "bytes"))
    #: Bytes that one client has not taken yet. Past it: the handler's `queue_policy`.
    max_queue_size: int = _setting(2**20, at_least(1, int, "bytes"))
    #: Whose pages may connect: "same-origin", "*", or a list; no Origin header passes.
    allowed_origins: str | tuple[str, ...] = _setting("same-origin", _origins)
    #: Seconds between two pings to a client. None: no pings.
    ping_interval: float | None = _setting(20.0, at_least(0.1, float, "seconds", or_none=True))
    #: Seconds a client may stay silent after a ping. None: for ever.
    ping_timeout: float | None = _setting(20.0, at_least(0.1, float, "seconds", or_none=True))
    #: Seconds for the peer's answer to our close frame.
    close_timeout: float = _setting(5.0, at_least(0.1, float, "seconds"))
    #: Offer permessage-deflate (RFC 7692), without context takeover.
    compression: bool = _setting(False, _boolean)
    #: Bytes that all clients of a process together have not taken yet. Past it: the `queue_policy`
    #: of whoever is sent a message and has a queue.
    max_total_queue_size: int = _setting(2**28, at_least(1, int, "bytes"))
    #: Messages that one client may send: (per second, burst), a number for both, None for any.
    message_rate: Rate | None = _setting(None, _rate_or_none)  # noqa: RUF009
    #: What happens past it: "close" (1008), or "slow_down", when nothing is read for a while.
    message_rate_policy: RatePolicy = _setting(RatePolicy.CLOSE, _rate_policy)  # noqa: RUF009
    #: Open connections per process. Past it: 503 before the upgrade.
    max_connections: int = _setting(10_000, at_least(1, int, "connections"))
    #: Of these, from one IPv4 address or one /64 of IPv6; all without an address count as one
    #: (behind a proxy, with ProxyFix). Past it: 429. None: any number.
    max_connections_per_ip: int | None = _setting(
        None, at_least(1, int, "connections", or_none=True)
    )
    #: Seconds after which a callback that is still running is logged with its stack. None: never.
    slow_callback_s: float | None = _setting(30.0, at_least(0.1, float, "seconds", or_none=True))
    #: Attributes of the handshake's `g` that callbacks find in theirs. Default: where
    #: Flask-HTTPAuth and Flask-JWT-Extended keep whom they have admitted.
    keep_in_g: tuple[str, ...] = _setting(
        (
            "flask_httpauth_user",
            "_jwt_extended_jwt",
            "_jwt_extended_jwt_header",
            "_jwt_extended_jwt_location",
            "_jwt_extended_jwt_user",
        ),
        _names,
    )
    #: Seconds that the handler of a client which speaks `wshandler.1` waits for its return when the
    #: network has lost it. 0: the subprotocol is not spoken.
    resume_s: float = _setting(60.0, at_least(0, float, "seconds"))
    #: Bytes that are kept for such a client while it is away. Past it: the `queue_policy`.
    resume_buffer: int = _setting(2**18, at_least(1, int, "bytes"))
    #: Whether who speaks `wshandler.1` is served over HTTP where no WebSocket gets through.
    fallback: bool = _setting(True, _boolean)
    #: Callbacks that run at once in a process.
    threads: int = _setting(32, at_least(1, int, "threads"))
    #: How accepted sockets are served: "auto", "epoll" or "blocking".
    transport: TransportChoice = _setting(TransportChoice.AUTO, _transport)  # noqa: RUF009  # enums are frozen
    #: What carries named collections between processes: "local" (all of this user on this
    #: machine), the address of a Redis (all that use it), or "none".
    bus: str = _setting("local", _bus, is_secret=True)
    #: Whose collections these are. Default: of this app, as named by the file of its module, on the
    #: local bus; of everybody who uses the same database of a Redis.
    bus_name: str | None = _setting(None, _name_or_none)
    #: Bytes that another process, or Redis, has not taken yet. Past it: the oldest are dropped.
    bus_queue_size: int = _setting(16 * 2**20, at_least(1, int, "bytes"))
    #: Bytes that all collections with history together keep of what was broadcast. Past it: the
    #: oldest are forgotten.
    history_size: int = _setting(64 * 2**20, at_least(1, int, "bytes"))
    #: Seconds after which the members of a process that is not heard of are gone.
    presence_lease: float = _setting(5.0, at_least(0.3, float, "seconds"))
    #: Seconds over which a stopping process spreads its closes.
    drain_seconds: float = _setting(5.0, at_least(0, float, "seconds"))

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Settings:
        """Read and check the keys of `config`; raise `SettingError` at the first bad one."""
        known = _fields_by_key()
        for key in config:
            if key.startswith(PREFIX) and key not in known:
                meant = _nearest(key, known)
                question = "" if meant is None else f"; is {meant} meant?"
                all_known = ", ".join(sorted(known))
                logger.warning("%s is no setting%s There are %s", key, question or ".", all_known)
        values = {}
        for key, field in known.items():
            if key in config:
                values[field.name] = _checked(key, config[key], field.metadata["check"])
        return cls(**values)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Which of `known` is as good as `name`, or begins with it; None if none does."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1, _SIMILARITY)
    longer = [each for each in known if each.startswith(name)]
    return next(iter([*close, *longer]), None)


def _fields_by_key() -> dict[str, dataclasses.Field[Any]]:
    return {PREFIX + field.name.upper(): field for field in dataclasses.fields(Settings)}


def keys_set_late(config: Mapping[str, Any], settings: Settings) -> list[str]:
    """The keys whose values in `config` are not those that `settings` were read from."""
    return [
        key
        for key, field in _fields_by_key().items()
        if not _is_value_of(config.get(key, field.default), field, settings)
    ]


def _is_value_of(value: object, field: dataclasses.Field[Any], settings: Settings) -> bool:
    try:
        return bool(field.metadata["check"](value) == getattr(settings, field.name))
    except ValueError:
        return False


def is_chosen(config: Mapping[str, Any], name: str) -> bool:
    """Whether `config` has a value of its own for a field of `Settings`."""
    return PREFIX + name.upper() in config


def _checked(key: str, value: object, check: Callable[[object], Any]) -> Any:
    try:
        return check(value)
    except ValueError as error:
        shown = without_password(repr(value))
        raise SettingError(f"{key} is {shown}, but must be {error}") from None


def limits_of(handler: object, settings: Settings) -> ClientSettings:
    """Lay `handler`'s attributes over `settings`; raise `SettingError` for a bad one.

    One object for all clients with the same settings.
    """
    kind = type(handler)
    name = getattr(kind, "_settings_name", kind.__name__)
    values = tuple([getattr(handler, each, _UNSET) for each in _OF_HANDLERS])
    try:
        return _client_settings(name, values, settings)
    except TypeError:  # a bad value that has no hash: to be named
        return _client_settings.__wrapped__(name, values, settings)


_SECONDS = at_least(0.1, float, "seconds", or_none=True)

_OF_HANDLERS: dict[str, Callable[[object], Any]] = {
    "max_message_size": at_least(1, int, "bytes"),
    "max_queue_size": at_least(1, int, "bytes"),
    "queue_policy": member_of(QueuePolicy),
    "message_rate": _rate_or_none,
    "message_rate_policy": _rate_policy,
    "ping_interval": _SECONDS,
    "ping_timeout": _SECONDS,
    "recheck_session_s": _SECONDS,
    "resume_s": at_least(0, float, "seconds"),
    "resume_buffer": at_least(1, int, "bytes"),
}
"""The attributes of a handler that are settings of its client, each with its check."""

_UNSET: Any = object()
_DEFAULTS = {"queue_policy": QueuePolicy.CLOSE, "recheck_session_s": None}
"""Of what no setting of the app says."""


@functools.lru_cache(maxsize=256)
def _client_settings(
    handler_name: str, values: tuple[object, ...], settings: Settings
) -> ClientSettings:
    chosen: dict[str, Any] = {"close_timeout": settings.close_timeout}
    for (name, check), value in zip(_OF_HANDLERS.items(), values, strict=True):
        if value is not _UNSET:
            chosen[name] = _checked(f"{handler_name}.{name}", value, check)
        elif name in _DEFAULTS:
            chosen[name] = _DEFAULTS[name]
        else:
            chosen[name] = getattr(settings, name)
    return ClientSettings(**chosen)
