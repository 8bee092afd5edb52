"""The opening handshake: RFC 6455 section 4.2, and every refusal."""

import pytest

from .wire import ACCEPT, RawClient

#: gunicorn has one parser for all its workers; with TLS another scheme.
BOTH_PARSERS = ["gthread", "tls", "werkzeug"]

REFUSED_WITH_400 = {
    "no key": {"leave_out": ["Sec-WebSocket-Key"]},
    "empty key": {"change": {"Sec-WebSocket-Key": ""}},
    "short key": {"change": {"Sec-WebSocket-Key": "AAAA"}},
    "long key": {"change": {"Sec-WebSocket-Key": "A" * 43 + "="}},
    "key that is not base64": {"change": {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZ!=="}},
    "two keys": {"headers": [("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")]},
    "no version": {"leave_out": ["Sec-WebSocket-Version"]},
    "a body": {"headers": [("Content-Length", "1")], "early": b"x"},
    "no host": {"leave_out": ["Host"]},
    "other upgrade": {"change": {"Upgrade": "h2c"}},
    "no upgrade in Connection": {"change": {"Connection": "keep-alive"}},
    "HTTP/1.0": {"version": "HTTP/1.0"},
}


def test_the_answer_of_the_rfc(server):
    """The key and its answer from RFC 6455 section 1.3; nothing that was not asked for."""
    with server.raw("/echo") as client:
        assert client.status == 101
        assert client.header("Sec-WebSocket-Accept") == ACCEPT
        assert client.header("Upgrade").lower() == "websocket"
        assert client.header("Connection").lower() == "upgrade"
        assert client.header("Sec-WebSocket-Protocol") is None
        assert client.header("Sec-WebSocket-Extensions") is None
        assert client.header("Content-Type") is None
        assert client.header("Content-Length") is None
        assert client.header("Transfer-Encoding") is None


def test_tokens_are_found_in_any_case_and_among_others(server):
    """RFC 9110: `Connection` is a list; Firefox sends `keep-alive, Upgrade`."""
    change = {"Connection": "keep-alive, uPGRADE", "Upgrade": "WebSocket"}
    with server.raw("/echo", change=change) as client:
        assert client.status == 101


@pytest.mark.matrix("no key", "two keys", "no version", "a body", "HTTP/1.0", whole=BOTH_PARSERS)
@pytest.mark.parametrize("what", REFUSED_WITH_400)
def test_refuses_what_is_no_valid_handshake(server, what):
    """400, as an ordinary HTTP response; gunicorn refuses some by itself."""
    with server.raw("/record/recorder/never", **REFUSED_WITH_400[what]) as client:
        assert client.status == 400, what
    assert server.events("never") == []


@pytest.mark.parametrize("version", ["8", "12", "14", "x", "13, 8"])
def test_names_the_version_it_speaks(server, version):
    """RFC 6455 section 4.4: 426 with Sec-WebSocket-Version, through Flask's error handlers."""
    with server.raw("/echo", change={"Sec-WebSocket-Version": version}) as client:
        assert client.status == 426
        assert client.header("Sec-WebSocket-Version") == "13"
        assert client.header("X-Refused") == "426"


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
def test_only_get_is_a_handshake(server, method):
    """Other methods don't reach a GET view."""
    with server.raw("/echo", method=method) as client:
        assert client.status in (400, 405, 426)


ORIGINS = {
    "none at all": (None, 101),
    "the server's own": ("{scheme}://{host}", 101),
    "in capitals": ("{scheme}://127.0.0.1:{port}", 101),
    "another host": ("{scheme}://example.org", 403),
    "another port": ("{scheme}://127.0.0.1:1", 403),
    "another scheme": ("ftp://{host}", 403),
    "null, of a sandboxed page": ("null", 403),
    "a host that only begins the same": ("{scheme}://{host}.evil.example", 403),
    "with user information": ("{scheme}://{host}@evil.example", 403),
}


def origin_header(server, pattern):
    if pattern is None:
        return []
    origin = pattern.format(scheme=server.scheme, host=server.host, port=server.port)
    return [("Origin", origin)]


@pytest.mark.matrix("none at all", "the server's own", "another host", whole=BOTH_PARSERS)
@pytest.mark.parametrize("case", ORIGINS)
def test_admits_pages_of_its_own_origin_only(server, case):
    """The default: no other page may use a visitor's cookies. Not browsers: no Origin, passes."""
    pattern, status = ORIGINS[case]
    with server.raw("/echo", origin_header(server, pattern)) as client:
        assert client.status == status
        assert client.header("X-Refused") == (str(status) if status == 403 else None)


def test_a_call_may_ask_for_another_rule(server):
    """`require_same_origin` overrides the setting."""
    foreign = [("Origin", "https://example.org")]
    for path, status in (("any", 101), ("required", 403), ("setting", 403)):
        with server.raw(f"/origin/{path}", foreign) as client:
            assert client.status == status


def test_a_list_of_origins_with_a_wildcard(start):
    """`WSHANDLER_ALLOWED_ORIGINS` as a list."""
    allowed = ["https://app.example.org", "https://*.example.com"]
    server = start("gthread", WSHANDLER_ALLOWED_ORIGINS=allowed)
    for origin, status in {
        "https://app.example.org": 101,
        "https://a.b.example.com": 101,
        "https://example.com": 403,
        "https://evilexample.com": 403,
        "http://app.example.org": 403,
        server.origin: 403,
    }.items():
        with server.raw("/echo", [("Origin", origin)]) as client:
            assert client.status == status, origin
    with server.raw("/origin/required", [("Origin", server.origin)]) as client:
        assert client.status == 101


def test_a_star_admits_everybody(start):
    """`WSHANDLER_ALLOWED_ORIGINS = "*"`."""
    server = start("gthread", WSHANDLER_ALLOWED_ORIGINS="*")
    for origin in ("https://example.org", "null"):
        with server.raw("/echo", [("Origin", origin)]) as client:
            assert client.status == 101


def test_the_reason_for_a_refusal_behind_a_tls_proxy_is_logged(server):
    """An app that does not know of its proxy takes its own pages for foreign ones."""
    if server.scheme == "https":
        return
    with server.raw("/echo", [("Origin", f"https://{server.host}")]) as client:
        assert client.status == 403
    server.wait_for(lambda: "ProxyFix" in server.log, "hint")


def test_a_subprotocol_that_was_not_offered_is_a_mistake(server):
    """ValueError in the view, so 500."""
    with server.raw("/context?x=1&subprotocol=c", [("Sec-WebSocket-Protocol", "a, b")]) as client:
        assert client.status == 500
    server.wait_for(
        lambda: "does not offer the subprotocol 'c', only 'a', 'b'" in server.log, "log"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/twice", "RuntimeError: this request has been accepted already"),
        ("/wrong-type", "TypeError: accept_websocket_request() needs an instance of a"),
    ],
)
def test_mistakes_in_a_view_are_said(server, path, message):
    """An exception in the view is Flask's to handle; nothing is upgraded."""
    with server.raw(path) as client:
        assert client.status == 500
    server.wait_for(lambda: message in server.log, "log")


def test_a_handler_serves_one_client(server):
    """The same instance for a second client is a mistake."""
    with server.raw("/shared-handler") as client:
        first = client.status
    with server.raw("/shared-handler") as client:
        assert client.status == 500
    assert first in (101, 500)


def test_there_is_room_for_so_many_connections(start):
    """`WSHANDLER_MAX_CONNECTIONS`: 503 with Retry-After before the upgrade; a place gets free."""
    server = start("gthread", WSHANDLER_MAX_CONNECTIONS=2)
    clients = [server.connect("/echo") for _ in range(2)]
    for client in clients:
        client.send("x")
        client.recv()
    with server.raw("/echo") as refused:
        assert refused.status == 503
        assert refused.header("Retry-After") == "5"
    clients[0].close()

    def is_admitted():
        with server.raw("/echo") as client:
            return client.status == 101

    server.wait_for(is_admitted, "free place")


def test_a_plain_request_where_only_websockets_are_accepted(server):
    """`accept_websocket_request` in a plain request: 400."""
    assert server.get("/text").status == 400


@pytest.mark.parametrize("split", [1, 7, 50])
def test_a_handshake_in_pieces(server, split):
    """TCP may cut it anywhere."""
    with RawClient(server.host, server.scheme == "https") as client:
        request = client.request("/echo")
        for start in range(0, len(request), split):
            client.send(request[start : start + split])
        assert client.read_response() == 101


@pytest.mark.parametrize("kind", ["sync", "gthread", "werkzeug"])
def test_nothing_of_the_request_lives_as_long_as_its_connection(start, kind):
    """Where the socket leaves the server: the request and the server's objects are kilobytes."""
    server = start(kind, WSHANDLER_PING_INTERVAL=None)
    clients = [server.connect("/echo") for _ in range(5)]
    for client in clients:
        client.send("open")
        assert client.recv() == "open"
    of_the_question = "2"  # the server's and Flask's
    server.wait_for(lambda: server.get("/requests").body == of_the_question, "end of the requests")
    assert server.get("/stats").json()["connections"] == 5
