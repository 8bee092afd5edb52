"""Addresses are addresses: which clients are one client, and which are on this machine."""

import logging

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.testing import HandshakeRefused, enable


@pytest.fixture
def app():
    app = Flask(__name__)
    app.testing = True
    app.config["WSHANDLER_MAX_CONNECTIONS_PER_IP"] = 1
    sockets = WebSockets(app)
    enable(app)

    @sockets.route("/")
    class Local(WebSocketHandler):
        def on_open(self):
            self.send_json([self.context.is_local, self.context.user_host_address])

    return app


def connect(app, address):
    overrides = {"REMOTE_ADDR": address}
    return app.test_client().websocket_connect("/", environ_overrides=overrides)


def status_of_second(app, first, second):
    """What the handshake from `second` is answered while there is one from `first`."""
    with connect(app, first):
        try:
            connect(app, second).close()
        except HandshakeRefused as refusal:
            return refusal.response.status_code
        return 101


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("203.0.113.5:50000", "203.0.113.5:50001", id="ports of a proxy"),
        pytest.param("203.0.113.5", "203.0.113.5:1", id="with and without a port"),
        pytest.param("203.0.113.5:_hidden", "203.0.113.5:_other", id="ports with names"),
        pytest.param("[2001:db8::1]:443", "2001:db8::1", id="brackets"),
        pytest.param("[2001:db8::1]", "2001:DB8:0:0:0:0:0:1", id="spellings"),
        pytest.param("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", id="a /64"),
        pytest.param("::ffff:203.0.113.5", "203.0.113.5", id="IPv4 in IPv6"),
        pytest.param("[::ffff:203.0.113.5]:443", "::FFFF:CB00:7105", id="IPv4 in IPv6, in hex"),
        pytest.param("::ffff:203.0.113.5:443", "203.0.113.5", id="IPv4 in IPv6, with a port"),
        pytest.param("64:ff9b::203.0.113.5", "203.0.113.5", id="NAT64"),
        pytest.param("64:ff9b:1::203.0.113.5", "64:ff9b:1::CB00:7105", id="NAT64 of one's own"),
        pytest.param("2002:cb00:7105::1", "2002:cb00:7105:ffff::1", id="6to4"),
        pytest.param('"[2001:db8::1]:443"', "2001:db8::1", id="quotes"),
        pytest.param('for="[2001:db8::1]:443";proto=https', "2001:db8::1", id="Forwarded"),
        pytest.param("For=203.0.113.5;by=10.0.0.1", "203.0.113.5", id="Forwarded, IPv4"),
        pytest.param("1.2.3.4, 203.0.113.5", "203.0.113.5", id="list, whose begin is invented"),
        pytest.param("1.2.3.4,203.0.113.5:1", "5.6.7.8 , 203.0.113.5:2", id="lists with ports"),
        pytest.param("fe80::1%eth0", "fe80::1", id="zone"),
        pytest.param("[fe80::1%25eth0]:80", "fe80::1", id="zone and port"),
        pytest.param(" 203.0.113.5 ", "203.0.113.5", id="spaces"),
        pytest.param("", "unknown", id="none"),
        pytest.param("_hidden", "_other", id="obfuscated"),
        pytest.param("unix:", "203.0.113.5.6", id="nonsense"),
        pytest.param("/run/nginx.sock", "203.000.113.005", id="octal or not"),
    ],
)
def test_are_one_client(app, first, second):
    """Also all of whom there is no address: else nobody would notice that none is told."""
    assert status_of_second(app, first, second) == 429
    assert status_of_second(app, second, first) == 429


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("203.0.113.5:50000", "203.0.113.6:50000"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("::ffff:203.0.113.5", "::ffff:203.0.113.6"),
        ("64:ff9b::203.0.113.5", "64:ff9b::203.0.113.6"),
        ("64:ff9b:1::203.0.113.5", "64:ff9b:1::203.0.113.6"),
        ("2002:cb00:7105::1", "2002:cb00:7106::1"),
        ("203.0.113.5, 203.0.113.6", "203.0.113.6, 203.0.113.5"),
        ("::1", "127.0.0.1"),
        ("203.0.113.5", "unknown"),
    ],
)
def test_are_two_clients(app, first, second):
    """IPv4 clients by their address, IPv6 clients by their network."""
    assert status_of_second(app, first, second) == 101


def test_the_port_of_a_forwarded_address(app):
    """As Azure's gateway sends it."""
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)
    client = app.test_client()
    with client.websocket_connect("/", headers={"X-Forwarded-For": "203.0.113.5:50000"}):
        with pytest.raises(HandshakeRefused):
            client.websocket_connect("/", headers={"X-Forwarded-For": "203.0.113.5:50001"})
        client.websocket_connect("/", headers={"X-Forwarded-For": "203.0.113.6:50001"}).close()


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("203.0.113.5", "203.0.113.5 was refused: there are 1 of 203.0.113.5"),
        ("203.0.113.5:1", "203.0.113.5:1 was refused: there are 1 of 203.0.113.5"),
        ("2001:db8::1", "2001:db8::1 was refused: there are 1 of 2001:db8::/64"),
        ("", '"" was refused: there are 1 of clients without an IP address'),
    ],
)
def test_the_log_says_who_is_counted(app, caplog, address, who):
    """An operator has to recognize a proxy, or a network."""
    caplog.set_level(logging.WARNING)
    assert status_of_second(app, address, address) == 429
    assert f"A WebSocket from {who} already" in caplog.text


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("127.0.0.1:50000", True),
        ("::1", True),
        ("[::1]:443", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:7f00:1", True),
        ("", False),
        ("localhost", False),
        ("203.0.113.5", False),
        ("::ffff:203.0.113.5", False),
        ("::", False),
    ],
)
def test_is_local(app, address, is_local):
    """`user_host_address` is Flask's, as it is."""
    with connect(app, address) as ws:
        assert ws.receive_json() == [is_local, address]
