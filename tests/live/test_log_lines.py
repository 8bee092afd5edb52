"""What a client sends is in log lines and error pages, and is nothing but one piece of one line."""

import urllib.parse

import pytest

from .wire import close, text

EVIL = "a\r\nFORGED one\x1b[31m\x9b1m\x7f\t\u2028FORGED two\u2029\u202eevil\u2066\u200b" + "x" * 600
"""Line ends, escape codes of a terminal (of seven and eight bits), what reverses the writing."""
PATH = urllib.parse.quote(EVIL)
# What a header can have, as WSGI has it: latin-1, and no line ends.
HEADER = "evil\x1b[31m\x9b1m\x7f\tFORGED\xa0\xad" + "x" * 600
# Werkzeug 3.0 answers 400 itself to what is no name for IDNA, as HEADER.
LONG_HOST = "evil\x1b[31m\x7fFORGED" + ".x" * 300


@pytest.fixture
def server(start):
    return start(
        "werkzeug",
        app="tests.live.loud_app:app",
        WSHANDLER_SLOW_CALLBACK_S=0.1,
        WSHANDLER_MAX_CONNECTIONS_PER_IP=1,
    )


def raw(server, path, *headers):
    """A client whose headers are latin-1, as WSGI has them."""
    client = server.raw()
    request = client.request(path, headers, leave_out=("Host",)).decode().rstrip("\r\n")
    client.send(f"{request}\r\nHost: {server.host}\r\n\r\n".encode("latin-1"))
    client.read_response()
    return client


def lines(server):
    return [event["message"] for event in server.events() if event["event"] == "line"]


def wait_for_line(server, part):
    return server.wait_for(
        lambda: next((line for line in lines(server) if part in line), None), f"line with {part!r}"
    )


def check_lines(server):
    """But for stacks, which have no value of a client's, each is one line of printable ASCII."""
    for line in lines(server):
        head = line.partition("; its client waits for it:\n")[0]
        assert head.isprintable(), head
        assert head.isascii(), head
        assert "FORGED" not in line[len(head) :]
        assert len(head) < 2000
        assert "x" * 600 not in head


@pytest.mark.parametrize("kind", ["handler", "function"])
def test_a_path_in_an_exceptions_line(server, kind):
    """`%0A` is a line end to the app."""
    with raw(server, f"/{kind}/{PATH}") as client:
        client.send(text("fail"))
        wait_for_line(server, "Exception in")
        assert client.read_close()[0] == 1011
    assert "FORGED one\\u001b[31m" in wait_for_line(server, "closed peer=")
    check_lines(server)


def test_a_path_in_a_slow_callbacks_line(server):
    """Its stack comes below."""
    with raw(server, f"/handler/{PATH}") as client:
        client.send(text("sleep"))
        assert "FORGED" in wait_for_line(server, "has been running")
    check_lines(server)


@pytest.mark.parametrize(
    ("path", "message", "name"),
    [
        ("/slow/lambda", "x", "SlowLambda.on_text"),
        ("/slow/check", "", "SlowCheck.check_session"),
        ("/function/x", "slow receiver", "function.on_message"),
    ],
)
def test_what_is_slow_is_called_as_its_author_calls_it(server, path, message, name):
    """Also where it is no method, and where a receiver of a signal is slow."""
    with raw(server, path) as client:
        if message:
            client.send(text(message))
        assert f"{name} on {path} has" in wait_for_line(server, "has been running")


def test_a_path_whose_response_was_replaced(server):
    """The line that says why the handler never opens."""
    with raw(server, f"/handler/{PATH}?replace=1") as client:
        assert client.status == 418
    assert "FORGED" in wait_for_line(server, "does not open")
    check_lines(server)


def test_a_close_reason(server):
    """In the line of the end."""
    with raw(server, "/handler/x") as client:
        client.send(close(4000, EVIL[:60]))
        wait_for_line(server, "code=4000")
    check_lines(server)


def test_an_address_of_a_proxys_header(server):
    """In the line of a refusal, and in that of the end."""
    header = ("X-Forwarded-For", HEADER)
    with raw(server, "/handler/x", header), raw(server, "/handler/x", header) as second:
        assert second.status == 429
        assert "FORGED" in wait_for_line(server, "clients without an IP address")
    wait_for_line(server, "closed peer=")
    check_lines(server)


@pytest.mark.parametrize("host", [LONG_HOST, "\x1b[31mFORGED"])
def test_an_origin_with_the_apps_own_address(server, host):
    """In the line of a refusal, and on its page, whose length is bounded."""
    headers = [
        ("Origin", f"https://{host}"),
        ("X-Forwarded-Host", host),
        ("X-Forwarded-Proto", "http"),
    ]
    with raw(server, "/handler/x", *headers) as client:
        assert client.status == 403
        page = client.read_body()
        assert "FORGED" in page
        assert "\x1b" not in page
        assert len(page) < 1000
    check_lines(server)


def test_subprotocols(server):
    """In an exception's text, whoever logs it."""
    offered = ("Sec-WebSocket-Protocol", ", ".join([HEADER] * 5))
    with raw(server, f"/subprotocol?name={PATH}", offered) as client:
        assert client.status == 400
    assert "FORGED" in wait_for_line(server, "does not offer")
    check_lines(server)


@pytest.mark.parametrize("name", ["Sec-WebSocket-Version", "Sec-WebSocket-Key"])
def test_the_page_of_a_handshake_that_is_refused(server, name):
    """It says what was wrong."""
    with server.raw() as client:
        request = client.request("/handler/x", change={name: HEADER})
        client.send(request.decode().encode("latin-1"))
        assert client.read_response() in (400, 426)
        page = client.read_body()
        assert "\x1b" not in page
        assert "\x9b" not in page
    check_lines(server)
