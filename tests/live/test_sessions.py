"""A login that does not hold any more ends the connection."""

import pytest

from .serving import KINDS
from .wire import text


def log_in(server, name):
    """The headers of a browser that is logged in."""
    cookie = server.get(f"/login/{name}").getheader("Set-Cookie").partition(";")[0]
    return [("Cookie", cookie)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_revoked_user_is_closed(start, kind):
    """`recheck_session_s`: 4401, and nobody else notices."""
    server = start(kind)
    eve = server.raw("/checked/default", log_in(server, "eve"))
    ann = server.raw("/checked/default", log_in(server, "ann"))
    assert (eve.status, ann.status) == (101, 101)
    server.get("/revoke/eve")
    assert eve.read_close()[0] == 4401
    ann.send(text("still here"))
    assert ann.read_text() == "still here"


def test_a_rule_of_ones_own(start):
    """`check_session` runs in the contexts of the handshake."""
    server = start("gthread")
    client = server.raw("/checked/otherwise", log_in(server, "ann"))
    server.get("/revoke/banned")
    assert client.read_close()[0] == 4401
    assert "Traceback" not in server.log
