"""The line for each WebSocket that has ended."""

import logging
import re

import pytest

LOGGER = "flask_wshandler.access"


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, LOGGER)

    def lines():
        return [record.getMessage() for record in caplog.records if record.name == LOGGER]

    return lines


def test_says_who_where_and_how_much(client, wshandler, lines):
    """All in one line, at the end."""
    with client.websocket_connect("/echo?token=secret") as ws:
        ws.send("hello")
        assert ws.receive(timeout=5) == "hello"
        wshandler.clock.advance(12.5)
        ws.close(1000, "enough for today")
    [line] = lines()
    assert re.fullmatch(
        r"closed peer=127\.0\.0\.1 path=/echo handler=create_app\.<locals>\.Echo code=1000 "
        r'reason="enough for today" seconds=12\.500 received=1 sent=1 dropped=0 '
        r"received_bytes=35 sent_bytes=11 id=[0-9a-f]{16}",
        line,
    )


def test_a_function_has_its_name(client, lines):
    """Not that of the handler that runs it."""
    with client.websocket_connect("/function") as ws:
        ws.send("x")
        assert ws.receive(timeout=5) == "x"
        ws.wait_closed()
    assert " handler=create_app.<locals>.function " in lines()[0]


def test_secrets_in_the_query_stay_out(client, lines):
    """They are where tokens travel, because browsers can't set headers."""
    client.websocket_connect("/echo?token=secret").close()
    assert "secret" not in lines()[0]


@pytest.mark.parametrize(
    "evil",
    ["two\r\nlines", "esc \x1b[31m", "tab\t", "nel \x85", "separator \u2028", "rtl \u202e", "\x7f"],
)
def test_a_line_is_one_line(client, lines, evil):
    """Nothing that a peer sends can begin another, colour a terminal or turn it around."""
    with client.websocket_connect("/any/a%09%20code=1%1b%7f%c2%85") as ws:
        ws.close(4001, evil)
    [line] = lines()
    assert line.isascii()
    assert line.isprintable()
    assert re.search(r'reason="(two|esc|tab|nel|separator|rtl|\\u007f)', line)
    assert re.findall(r" code=(\d+)", line)[-1] == "4001"


def test_the_address_of_a_forwarding_header_is_quoted(client, lines):
    """ProxyFix puts there what a proxy was told."""
    evil = {"REMOTE_ADDR": '10.0.0.1 code=1000\n"'}
    client.websocket_connect("/echo", environ_overrides=evil).close()
    [line] = lines()
    assert """peer="10.0.0.1 code=1000\\n\\"" path=/echo""" in line


def test_the_values_are_in_the_record_for_other_formatters(client, caplog):
    """As numbers and texts, unescaped."""
    caplog.set_level(logging.INFO, LOGGER)
    client.websocket_connect("/any").close(3000, "tab\t")
    [record] = [record for record in caplog.records if record.name == LOGGER]
    assert record.levelno == logging.INFO
    assert record.websocket["reason"] == "tab\t"
    assert record.websocket["code"] == 3000
    assert record.websocket["path"] == "/any"


def test_costs_nothing_unless_it_is_wanted(client, caplog, monkeypatch):
    """The handshake's request is not made again for a line that nobody gets."""
    made = []
    monkeypatch.setattr(
        "flask_wshandler.handlers.request_snapshot.RequestSnapshot.request",
        lambda self: made.append(self),
    )
    caplog.set_level(logging.WARNING, LOGGER)
    client.websocket_connect("/any").close()
    assert made == []
