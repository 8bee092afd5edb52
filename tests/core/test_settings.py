"""Settings: what is allowed, and what is said of the rest."""

import dataclasses

import pytest

from flask_wshandler import SettingError, WebSocketHandler
from flask_wshandler.protocol.limits import QueuePolicy, RatePolicy
from flask_wshandler.settings import Settings, TransportChoice, limits_of

DEFAULTS = {
    "MAX_MESSAGE_SIZE": 2**20,
    "MAX_QUEUE_SIZE": 2**20,
    "ALLOWED_ORIGINS": "same-origin",
    "PING_INTERVAL": 20,
    "PING_TIMEOUT": 20,
    "CLOSE_TIMEOUT": 5,
    "COMPRESSION": False,
    "MAX_TOTAL_QUEUE_SIZE": 2**28,
    "MESSAGE_RATE": None,
    "MESSAGE_RATE_POLICY": RatePolicy.CLOSE,
    "MAX_CONNECTIONS": 10_000,
    "MAX_CONNECTIONS_PER_IP": None,
    "SLOW_CALLBACK_S": 30,
    "KEEP_IN_G": (
        "flask_httpauth_user",
        "_jwt_extended_jwt",
        "_jwt_extended_jwt_header",
        "_jwt_extended_jwt_location",
        "_jwt_extended_jwt_user",
    ),
    "RESUME_S": 60,
    "RESUME_BUFFER": 2**18,
    "FALLBACK": True,
    "THREADS": 32,
    "TRANSPORT": TransportChoice.AUTO,
    "BUS": "local",
    "BUS_NAME": None,
    "BUS_QUEUE_SIZE": 2**24,
    "HISTORY_SIZE": 2**26,
    "PRESENCE_LEASE": 5,
    "DRAIN_SECONDS": 5,
}
BAD = {
    "MAX_MESSAGE_SIZE": [0, -1, "1", None, 1.5, True],
    "MAX_QUEUE_SIZE": [0, "x", None],
    "ALLOWED_ORIGINS": ["all", ["example.org"], ["https://a/b"], 1, None, [""]],
    "PING_INTERVAL": [0, -1, "20", False, float("nan")],
    "PING_TIMEOUT": [0, "x"],
    "CLOSE_TIMEOUT": [0, None, "x"],
    "COMPRESSION": [1, "yes", None],
    "MAX_TOTAL_QUEUE_SIZE": [0, None, 1.5],
    "MESSAGE_RATE": [0, -1, "10", True, (10,) * 3, (10, 0), (0, 10), float("inf"), float("nan")],
    "MESSAGE_RATE_POLICY": ["drop", None],
    "MAX_CONNECTIONS": [0, None, 1.5],
    "MAX_CONNECTIONS_PER_IP": [0, 1.5, "x"],
    "SLOW_CALLBACK_S": [0, "x"],
    "KEEP_IN_G": ["user", [7], ["no name"], None],
    "THREADS": [0, None],
    "TRANSPORT": ["threads", None, 1],
    "BUS": ["rabbit", None, 1],
    "BUS_NAME": ["", 1],
    "BUS_QUEUE_SIZE": [0, None, 1.5],
    "HISTORY_SIZE": [0, -1, None, 1.5, True],
    "PRESENCE_LEASE": [0, 0.1, None, "5"],
    "DRAIN_SECONDS": [-1, None],
}
GOOD = [
    ("PING_INTERVAL", None),
    ("PING_TIMEOUT", None),
    ("ALLOWED_ORIGINS", "*"),
    ("ALLOWED_ORIGINS", ["https://example.org", "https://*.example.org:8443"]),
    ("TRANSPORT", "epoll"),
    ("BUS", "redis://localhost/0"),
    ("DRAIN_SECONDS", 0),
]


def test_defaults():
    """What DESIGN promises; and every key is in this table."""
    settings = Settings.from_mapping({})
    found = {field.name.upper(): getattr(settings, field.name) for field in
             dataclasses.fields(settings)}  # fmt: skip
    assert found == DEFAULTS


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in BAD.items() for v in values])
def test_a_bad_value_is_named(key, value):
    """The key, the value and what is allowed."""
    with pytest.raises(SettingError) as error:
        Settings.from_mapping({f"WSHANDLER_{key}": value})
    assert str(error.value).startswith(f"WSHANDLER_{key} is {value!r}, but must be ")


@pytest.mark.parametrize(("key", "value"), GOOD)
def test_a_good_value_is_taken(key, value):
    """Also what switches something off."""
    found = getattr(Settings.from_mapping({f"WSHANDLER_{key}": value}), key.lower())
    assert found == (tuple(value) if isinstance(value, list) else value)


def test_an_unknown_key_is_said(caplog):
    """A typing error is not silent."""
    Settings.from_mapping({"WSHANDLER_PING": 1, "OTHER": 2})
    assert "WSHANDLER_PING is no setting" in caplog.text


def test_a_handlers_attributes_are_laid_over():
    """On the class or on the instance."""

    class Handler(WebSocketHandler):
        max_message_size = 10
        queue_policy = "drop_oldest"

    handler = Handler()
    handler.ping_interval = None
    found = limits_of(handler, Settings())
    assert (found.max_message_size, found.ping_interval) == (10, None)
    assert found.queue_policy is QueuePolicy.DROP_OLDEST
    assert found.max_queue_size == 2**20
    handler.max_queue_size = 0
    with pytest.raises(SettingError, match=r"Handler\.max_queue_size is 0, but must be an integer"):
        limits_of(handler, Settings())
