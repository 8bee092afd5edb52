"""The address of a Redis: its parts and options, checked, and connections to it by redis-py.

    redis://user:password@host:6379/0          TCP
    rediss://user:password@host:6379/0         TLS
    unix:///run/redis.sock?db=0                a Unix socket
    redis+sentinel://user:password@host:26379,host:26379/mymaster/0

Invariant: an option works, or the address is refused. The options that say how other programs read
their values are checked and change nothing, because the bus carries bytes. No message of this
module shows a password.
"""

from __future__ import annotations

import codecs
import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError
from redis.retry import Retry

_MOVED = re.compile(r"(?:MOVED )?\d+ (\S+:\d+)")
"""What redis-py keeps of a node's answer, by its release with the first word or without."""

_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "redis+sentinel": "redis+sentinel",
    "rediss+sentinel": "rediss+sentinel",
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+unix": "unix",
    "redis+socket": "unix",
}
"""How an address may begin, in this and in other programs, and what that means."""
_PORT = 6379
_SENTINEL_PORT = 26379
_ANSWER_S = 5.0
"""For an answer of Redis, and for a connection."""
_SILENCE_S = 10.0
"""After which a connection is asked whether it lives."""
_LONGEST_S = 300.0
_MOST_DATABASES = 2**31 - 1
_FEWEST_CONNECTIONS = 2
"""One to publish, one to listen."""
LOST = (RedisError, OSError)
"""What a connection to a Redis raises when it is lost, refused or not answered."""


def _integer(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(f"an integer from {minimum} to {maximum}")
        return int(text)

    return parse


def _seconds(*, or_zero: bool = False) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if value == 0 and or_zero:
            return 0.0
        if not 0.1 <= value <= _LONGEST_S:
            allowed = f"a number of seconds from 0.1 to {_LONGEST_S:g}"
            raise ValueError(f"{allowed}, or 0" if or_zero else allowed)
        return value

    return parse


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("true or false") from None


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return parse


def _codec(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except LookupError:
        raise ValueError("the name of an encoding") from None


def _error_handler(text: str) -> str:
    try:
        codecs.lookup_error(text)
    except LookupError:
        raise ValueError("the name of an error handler of Python's codecs") from None
    return text


def _any(text: str) -> str:
    return text


def _printable(text: str) -> str:
    # What CLIENT SETNAME takes.
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("of printable ASCII characters without spaces")
    return text


def _certificate_requirement(text: str) -> str:
    requirement = text.lower().removeprefix("cert_")
    return _one_of("none", "optional", "required")(requirement)


def _file(text: str) -> str:
    if not os.path.isfile(text):
        raise ValueError("the path of a file that exists")
    return text


def _directory(text: str) -> str:
    if not os.path.isdir(text):
        raise ValueError("the path of a directory that exists")
    return text


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "db": _integer(0, _MOST_DATABASES),
    "username": _any,
    "password": _any,
    "client_name": _printable,
    "socket_timeout": _seconds(),
    "socket_connect_timeout": _seconds(),
    "socket_keepalive": _boolean,
    "health_check_interval": _seconds(or_zero=True),
    "max_connections": _integer(_FEWEST_CONNECTIONS, 2**31 - 1),
}
_WITHOUT_EFFECT: Mapping[str, Callable[[str], Any]] = {
    "protocol": _one_of("2", "3"),
    "decode_responses": _boolean,
    "encoding": _codec,
    "encoding_errors": _error_handler,
    "retry_on_timeout": _boolean,
}
_OF_TLS: Mapping[str, Callable[[str], Any]] = {
    "ssl_cert_reqs": _certificate_requirement,
    "ssl_ca_certs": _file,
    "ssl_ca_path": _directory,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_password": _any,
    "ssl_check_hostname": _boolean,
}
_OF_SENTINEL: Mapping[str, Callable[[str], Any]] = {
    "sentinel_username": _any,
    "sentinel_password": _any,
}


@dataclasses.dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is, and how to connect to it."""

    #: Without user, password and options.
    shown: str
    #: The number that keeps apps apart on one Redis.
    database: int
    #: How long a connection may be silent.
    silence_s: float
    _connect: Callable[[], Any] = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def parse(cls, url: str, longest_wait_s: float = math.inf) -> RedisAddress:
        """Check an address. Raises ValueError, which names the option and what is allowed.

        Its connections wait `longest_wait_s` at most for an answer, whatever its options say.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in _SCHEMES:
            raise ValueError("the address of a Redis begins with redis://, rediss://, unix://, "
                             "redis+sentinel:// or rediss+sentinel://")  # fmt: skip
        scheme = _SCHEMES[scheme]
        if re.search(r"[\s#]", rest):
            raise ValueError("white space and # in an address are written %20 and %23")
        rest, _, query = rest.partition("?")
        options = _parsed_options(query, _allowed_options(scheme))
        place, _, path = rest.partition("/")
        userinfo, _, hosts = place.rpartition("@")
        username, _, password = userinfo.partition(":")
        for name, value in (("username", username), ("password", password)):
            if value:
                options[name] = unquote(value)
        for name in ("socket_timeout", "socket_connect_timeout"):
            options[name] = min(options.get(name, _ANSWER_S), longest_wait_s)
        if scheme == "unix":
            return cls._of_socket(hosts, path, options)
        if scheme.endswith("+sentinel"):
            return cls._of_sentinels(scheme, hosts, path, options)
        return cls._of_server(scheme, hosts, path, options)

    @classmethod
    def _of_socket(cls, host: str, path: str, options: dict[str, Any]) -> RedisAddress:
        if host or not path:
            raise ValueError("the address of a Unix socket is unix:// and an absolute path: "
                             "unix:///run/redis/redis.sock")  # fmt: skip
        place = "/" + unquote(path)
        keywords = _keywords(options)
        kind: type[Any] = UnixDomainSocketConnection
        return cls(
            f"unix://{place}", options.get("db", 0), _silence_s(options),
            lambda: kind(path=place, **keywords),
        )  # fmt: skip

    @classmethod
    def _of_server(
        cls, scheme: str, hosts: str, path: str, options: dict[str, Any]
    ) -> RedisAddress:
        host, port = _host_and_port(hosts or "localhost", _PORT)
        database = _database(path, options)
        kind = _tcp_class(scheme)
        keywords = _tcp_keywords(options) | _tls_keywords(options)
        return cls(
            f"{scheme}://{_joined(host, port)}", database, _silence_s(options),
            lambda: kind(host=host, port=port, **keywords),
        )  # fmt: skip

    @classmethod
    def _of_sentinels(
        cls, scheme: str, hosts: str, path: str, options: dict[str, Any]
    ) -> RedisAddress:
        name, _, database_path = path.partition("/")
        if not hosts or not name:
            raise ValueError("the address of a Sentinel has its hosts and the name of a master: "
                             f"{scheme}://host:26379,host:26379/mymaster")  # fmt: skip
        places = [_host_and_port(host, _SENTINEL_PORT) for host in hosts.split(",")]
        sentinels = _Sentinels(places, unquote(name), _tcp_class(scheme), options)
        shown = ",".join(_joined(*place) for place in places)
        return cls(
            f"{scheme}://{shown}/{unquote(name)}", _database(database_path, options),
            _silence_s(options), sentinels.connection_to_master,
        )  # fmt: skip

    def connect(self) -> Any:  # redis-py's classes have no common type
        """A connection of redis-py that is authenticated, and whose next read has a time limit.

        Raises `LOST`.
        """
        connection = self._connect()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection


def reason_of(error: Exception) -> str:
    """What a line of the log says of one of `LOST`, as a part of a sentence."""
    moved = _MOVED.fullmatch(str(error))
    if moved is not None:
        return (
            "it is a node of a cluster that has other names than this app's; write the address "
            f"of the one that has them, now {moved[1]}"
        )
    return str(error).rstrip(".") or type(error).__name__


class _Sentinels:
    """Processes that know which Redis is the master at this moment."""

    def __init__(
        self, places: list[tuple[str, int]], name: str, kind: type[Any], options: dict[str, Any]
    ) -> None:
        self._places = places
        self._name = name
        self._kind = kind
        self._keywords = _tcp_keywords(options) | _tls_keywords(options)
        # The sentinels have users of their own.
        credentials = {
            "username": options.get("sentinel_username"),
            "password": options.get("sentinel_password"),
        }
        self._sentinel_keywords = self._keywords | credentials

    def connection_to_master(self) -> Any:
        """A connection to the master, which is yet to connect. Raises `LOST`."""
        host, port = self._ask_all()
        return self._kind(host=host, port=port, **self._keywords)

    def _ask_all(self) -> tuple[str, int]:
        troubles = []
        for place in self._places:
            try:
                answer = self._ask(*place)
            except LOST as error:
                troubles.append(f"{_joined(*place)}: {reason_of(error)}")
                continue
            if answer is not None:
                return answer
            troubles.append(f"{_joined(*place)} knows no such master")
        raise Unreachable(f"no Sentinel tells of the master {self._name}: {'; '.join(troubles)}")

    def _ask(self, host: str, port: int) -> tuple[str, int] | None:
        connection = self._kind(host=host, port=port, **self._sentinel_keywords)
        try:
            connection.connect()
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
            answer = connection.read_response()
        finally:
            connection.disconnect()
        if answer is None:
            return None
        return answer[0].decode(), int(answer[1])


def _allowed_options(scheme: str) -> dict[str, Callable[[str], Any]]:
    allowed = {**_OPTIONS, **_WITHOUT_EFFECT}
    if scheme.startswith("rediss"):
        allowed |= _OF_TLS
    if scheme.endswith("+sentinel"):
        allowed |= _OF_SENTINEL
    return allowed


def _parsed_options(query: str, allowed: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise ValueError(f"the option {name} of the address is there twice")
        parse = allowed.get(name)
        if parse is None:
            raise ValueError(_unknown(name, allowed))
        try:
            options[name] = parse(text)
        except ValueError as error:
            raise ValueError(
                f"the option {name} of the address is {text!r}, but must be {error}"
            ) from None
    return options


def _unknown(name: str, allowed: Mapping[str, object]) -> str:
    if name in _OF_TLS:
        return f"the option {name} of the address needs rediss://"
    if name in _OF_SENTINEL:
        return f"the option {name} of the address needs redis+sentinel://"
    # Another text may be the end of a password that has a question mark in it.
    shown = name if re.fullmatch(r"[a-z_]{1,40}", name) else "what is behind the question mark"
    return f"{shown} is no option of the address; there are {', '.join(sorted(allowed))}"


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:,\[\]]+)(?::([0-9]{1,5}))?", text)
    port = int(found[2] or default_port) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise ValueError(
            "an address has host:port before its first slash; in a password / ? # % are written "
            "%2F %3F %23 %25"
        )
    return unquote(found[1]).strip("[]"), port


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _database(path: str, options: dict[str, Any]) -> int:
    path = path.rstrip("/")
    if not path:
        return int(options.get("db", 0))
    try:
        database = _OPTIONS["db"](path)
    except ValueError as error:
        raise ValueError(
            f"the end of the address is the number of a database, {error}; in a password "
            "/ ? # % are written %2F %3F %23 %25"
        ) from None
    if options.get("db", database) != database:
        raise ValueError(f"the address has two databases, {database} and {options['db']}")
    return int(database)


def _silence_s(options: dict[str, Any]) -> float:
    return float(options.get("health_check_interval") or _SILENCE_S)


def _tcp_class(scheme: str) -> type[Any]:
    return SSLConnection if scheme.startswith("rediss") else Connection


def _keywords(options: dict[str, Any]) -> dict[str, Any]:
    """What every connection of redis-py is given."""
    return {
        "protocol": 2,
        "decode_responses": False,
        # Back-off and the question whether a connection lives are the bus's own.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "socket_timeout": options["socket_timeout"],
        "username": options.get("username"),
        "password": options.get("password"),
        "client_name": options.get("client_name"),
    }


def _tcp_keywords(options: dict[str, Any]) -> dict[str, Any]:
    return _keywords(options) | {
        "socket_connect_timeout": options["socket_connect_timeout"],
        "socket_keepalive": options.get("socket_keepalive", True),
    }


def _tls_keywords(options: dict[str, Any]) -> dict[str, Any]:
    keywords = {name: options[name] for name in _OF_TLS if name in options}
    if keywords.get("ssl_cert_reqs") == "none":
        if keywords.get("ssl_check_hostname"):
            raise ValueError(
                "ssl_check_hostname=true needs another ssl_cert_reqs than none in the address"
            )
        keywords["ssl_check_hostname"] = False
    return keywords
