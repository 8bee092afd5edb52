"""Whose pages may connect: which origins are the same, which entries can never match."""

import logging

import pytest
from flask import Flask

from flask_wshandler import SettingError, WebSocketHandler, WebSockets
from flask_wshandler.runtime.log_throttle import LogThrottle
from flask_wshandler.testing import HandshakeRefused, enable


def make_app(allowed="same-origin", **config):
    app = Flask(__name__)
    app.testing = True
    app.config.update(config, WSHANDLER_ALLOWED_ORIGINS=allowed)
    WebSockets(app).route("/")(type("Handler", (WebSocketHandler,), {}))
    enable(app)
    return app


def status(app, origin, base_url="http://localhost", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        app.test_client().websocket_connect(
            "/", origin=origin, base_url=base_url, headers=names
        ).close()
    except HandshakeRefused as refusal:
        return refusal.response.status_code
    return 101


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        pytest.param("http://example.org", "ws://example.org", id="ws"),
        pytest.param("https://example.org", "wss://example.org:443", id="wss with its port"),
        pytest.param("https://example.org:8443", "wss://example.org:8443", id="another port"),
        pytest.param("wss://example.org", "https://example.org", id="X-Forwarded-Proto: wss"),
        pytest.param("http://example.org:80", "http://example.org", id="default port"),
        pytest.param("https://example.org", "https://example.org:443", id="default port in it"),
        pytest.param("https://example.org", "HTTPS://Example.ORG", id="capitals"),
        pytest.param("https://EXAMPLE.org", "https://example.org", id="capitals in the Host"),
        pytest.param("https://example.org.", "https://example.org", id="dot at the end"),
        pytest.param("https://example.org", "https://example.org.", id="dot in it"),
        pytest.param("http://[::1]:8000", "http://[::1]:8000", id="IPv6"),
        pytest.param("http://[0:0:0:0:0:0:0:1]", "http://[::1]", id="spellings of IPv6"),
        pytest.param("https://xn--mller-kva.example", "https://xn--mller-kva.example", id="IDN"),
    ],
)
def test_is_the_apps_own(base_url, origin):
    """Whoever spells it, and libraries that name what they connect to."""
    assert status(make_app(), origin, base_url) == 101


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "file://",
        "ws://localhost:0",
        "wss://localhost",
        "ws://localhost:81",
        "ws://localhost.evil.example",
        "ws://localhost@evil.example",
        "http://local\thost",
        "http://localhost/",
        "http://localhost:99999",
        "http://localhost:80:80",
        "http://",
        "http://[localhost]",
        "//localhost",
        "localhost",
        "http://localhost http://localhost",
    ],
)
def test_is_not_the_apps_own(origin):
    """Nor anything that is no origin."""
    assert status(make_app(), origin) == 403


LISTED = [
    "null",
    "file://",
    "capacitor://localhost",
    "chrome-extension://abcdefghijklmnop",
    "vscode-webview://1a-2b",
    "app://-",
    "app://.",
    "https://Example.org",
    "http://[2001:DB8:0::1]:8080",
    "https://*.example.net",
    "https://example.com:",
    "https://my_host.example:8443",
]


@pytest.mark.parametrize(
    "origin",
    [
        *[entry for entry in LISTED if "*" not in entry],
        "wss://example.org:443",
        "http://[2001:db8::1]:8080",
        "https://a.b.example.net",
        "wss://a.example.net.",
    ],
)
def test_is_listed(origin):
    """What apps and files send can be allowed."""
    assert status(make_app(LISTED), origin) == 101


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://example.net",
        "https://a.example.net:8443",
        "http://example.org",
        "capacitor://localhost:1",
        "tauri://localhost",
        "file://evil.example",
        "app://evil",
    ],
)
def test_is_not_listed(origin):
    """Not even the own one, unless "same-origin" is on the list."""
    assert status(make_app(LISTED), origin) == 403


def test_the_own_origin_can_be_listed():
    """Beside an app of the same service, for example."""
    app = make_app(["same-origin", "capacitor://localhost"])
    assert status(app, "http://localhost") == 101
    assert status(app, "capacitor://localhost") == 101
    assert status(app, "null") == 403


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        ("https://example.org/", 'write "https://example.org"'),
        ("https://example.org/chat?x#y", 'write "https://example.org"'),
        ("https://example.org\\chat", 'write "https://example.org"'),
        ("file:///", 'write "file://"'),
        ("example.org", 'write "https://example.org"'),
        ("*.example.org", 'write "https://*.example.org"'),
        ("//example.org", 'write "https://example.org"'),
        ("example.org/chat", 'write it as in "https://example.org"'),
        ("localhost:3000", 'write "http://localhost:3000"'),
        (" https://example.org", 'write "https://example.org"'),
        ("https://example.org\n", 'write "https://example.org"'),
        ("https://a@example.org", 'write "https://example.org"'),
        ("https://Müller.example:8443", 'write "https://xn--mller-kva.example:8443"'),
        ("https://*.müller.example", 'write "https://*.xn--mller-kva.example"'),
        ("https://straße.example", "write its host in ASCII"),
        ("*", 'write "*" instead of the list'),
        ("https://*", "list each"),
        ("https://*.*.org", "list each"),
        ("https://example.*", "list each"),
        ("https://a.*.org", "list each"),
        ("https://*example.org", "list each"),
        ("http*://example.org", "list each"),
        ("*://example.org", "list each"),
        ("http://localhost:*", "list each"),
        ("https://*.127.0.0.1", "list each"),
        ("chrome-extension://*", "list each"),
        ("chrome-extension://*.abc", "list each"),
        ("https://example.org:0", "from 1 to 65535"),
        ("https://example.org:65536", "from 1 to 65535"),
        ("http://127.1", "no host that can be"),
        ("http://::1:8000", "no host that can be"),
        ("http://[::1", "no host that can be"),
        ("http://[::g]", "no host that can be"),
        ("http://a..b", "no host that can be"),
        ("http://", "no host that can be"),
        ("https://%65xample.org", "no host that can be"),
        ("", 'write it as in "https://example.org"'),
        ("http:example.org", "write it as in"),
        ("1a://b", "is no origin"),
        (None, "is no str"),
    ],
)
def test_an_entry_that_never_matches_is_an_error(entry, advice):
    """At the start, with what to write."""
    with pytest.raises(SettingError) as error:
        make_app(["https://example.org", entry])
    assert repr(entry) in str(error.value)
    assert advice in str(error.value)


class TestLog:
    """What an operator is told of a refusal."""

    @pytest.fixture
    def lines(self, caplog):
        caplog.set_level(logging.WARNING)
        return lambda: [record.getMessage() for record in caplog.records]

    def test_one_line_for_an_origin(self, lines):
        """However often it comes; with what is wrong."""
        app = make_app()
        for _ in range(3):
            assert status(app, "https://evil.example") == 403
        [line] = lines()
        assert line == (
            "A WebSocket from https://evil.example was refused, because this app takes its own "
            "address for http://localhost. If https://evil.example is this app itself, its proxy "
            "has to pass Host on; if it is another site whose pages are to connect, put it into "
            "the list WSHANDLER_ALLOWED_ORIGINS."
        )

    def test_a_list_leaves_it_out(self, lines):
        """The own address has nothing to do with it."""
        assert status(make_app(["https://a.example"]), "http://localhost") == 403
        assert lines()[0].endswith(
            "because WSHANDLER_ALLOWED_ORIGINS has only https://a.example. If these pages are to "
            "connect, put http://localhost into it."
        )

    def test_many_origins_are_bounded(self, lines):
        """A client can invent them."""
        app = make_app()
        for number in range(50):
            status(app, f"https://{number}.evil.example")
        assert 10 < len(lines()) < 30

    def test_a_proxy_that_says_https(self, lines):
        """The app does not listen to it."""
        headers = {"X_Forwarded_Proto": "https"}
        assert status(make_app(), "https://localhost", **headers) == 403
        assert "the app needs werkzeug's ProxyFix" in lines()[0]
        assert "stunnel" not in lines()[0]

    def test_a_proxy_that_says_nothing(self, lines):
        """ProxyFix alone can't help; the advice does."""
        assert status(make_app(), "wss://localhost") == 403
        assert "add X-Forwarded-Proto" in lines()[0]
        assert "put wss://localhost into the list WSHANDLER_ALLOWED_ORIGINS" in lines()[0]
        assert status(make_app(["wss://localhost"]), "https://localhost") == 101


def test_a_thing_is_said_again_after_a_minute():
    """And nothing is kept for longer."""

    class Clock:
        seconds = 0.0

        def now_s(self):
            return self.seconds

    clock = Clock()
    throttle = LogThrottle(clock)
    assert [throttle.admits("a"), throttle.admits("a"), throttle.admits("b")] == [True, False, True]
    clock.seconds = 59.9
    assert not throttle.admits("a")
    clock.seconds = 60
    assert throttle.admits("a")
    assert [throttle.admits(number) for number in range(100)].count(True) < 20


def test_settings_that_come_too_late_are_said_once(caplog):
    """By their keys: a value may be a secret."""
    app = make_app()
    app.config["WSHANDLER_BUS"] = "redis://user:secret@host/0"
    app.config["WSHANDLER_PING_INTERVAL"] = "no number"
    app.config["WSHANDLER_PING_TIMEOUT"] = 20  # what it is anyway
    assert not caplog.records
    for _ in range(2):
        assert status(app, None) == 101
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("WSHANDLER_PING_INTERVAL, WSHANDLER_BUS: changed after WebSockets(app)")
    assert "secret" not in line
