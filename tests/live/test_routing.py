"""Ordinary views are reached; the response goes its whole way."""

import pytest
from flask import Flask

from flask_wshandler import SettingError, WebSockets, is_websocket_request

from .wire import text


def test_views_of_blueprints_with_converters_and_guards(server):
    """URL converters, `url_for`, a blueprint's `before_request`; plain HTTP by the same view."""
    assert server.get("/rooms/5/ws").body == "room 5"
    client = server.connect("/rooms/5/ws")
    client.send("x")
    assert client.recv() == "5 /rooms/1/ws: x"
    client.close()
    assert server.raw("/rooms/5/ws?banned=1").status == 403
    assert server.raw("/rooms/five/ws").status == 404


def test_handler_classes_and_blueprints_by_the_decorator(server):
    """`sockets.route` with URL variables, and `bp=`."""
    client = server.connect("/rooms/in-blueprint/ann")
    client.send("x")
    assert client.recv() == "ann: x"
    client.close()
    assert server.get("/named/ann").status == 426


def test_guards_of_flask_refuse_before_the_upgrade(server):
    """`abort()` and `login_required`; whoever is logged in gets in."""
    assert server.raw("/forbidden").header("X-Refused") == "403"
    assert server.raw("/private").status == 401
    cookie = server.get("/login/ann").headers["Set-Cookie"].partition(";")[0]
    with server.raw("/private", [("Cookie", cookie)]) as client:
        client.send(text("x"))
        assert client.read_text() == "x"


def test_the_response_goes_through_after_request_and_the_access_log(server):
    """A real 101."""
    with server.raw("/echo?mark=logged") as client:
        assert client.header("X-After") == "101"
    if server.kind in ("sync", "gthread", "werkzeug"):
        server.wait_for(
            lambda: any(
                "mark=logged" in line and " 101 " in line for line in server.log.split("\n")
            ),
            "access log",
        )


def test_a_replaced_response_is_no_upgrade(server):
    """If something takes the response's place on its way, the handler never opens."""
    with server.raw("/record/recorder/replaced?replace=1") as client:
        assert client.status == 418
    assert server.events("replaced") == []


def test_errors_are_ordinary_responses(server):
    """A path that is none, for an upgrade request."""
    assert server.raw("/nowhere").status == 404


def test_two_apps_in_one_process(start):
    """Each has its own settings and figures."""
    server = start("gthread", app="tests.live.two_apps:app")
    for path, limit in (("/one/echo", 10), ("/two/echo", 20)):
        client = server.connect(path)
        client.send("x" * limit)
        assert client.recv() == "x" * limit
        client.send("x" * (limit + 1))
        opcode, payload = client.recv_data()
        assert (opcode, payload[:2]) == (8, (1009).to_bytes(2, "big"))
        client.sock.close()


def test_subdomains_and_host_matching(start):
    """Routing by the host works for upgrade requests."""
    server = start("gthread", app="tests.live.hosts:app")
    for host, name in (("a.example.org", "a"), ("b.example.org", "b")):
        with server.raw("/ws", change={"Host": host}) as client:
            client.send(text("?"))
            assert client.read_text() == name
        with server.raw("/ws", change={"Host": host + ".evil"}) as client:
            assert client.status == 404


def test_a_server_that_hides_its_socket(start):
    """`is_websocket_request()` is False, the reason is logged once, and pages work."""
    server = start("wsgiref")
    assert server.get("/").body == "plain"
    for _ in range(2):
        assert server.raw("/echo").status == 426
    assert server.log.count("No WebSockets here") == 1
    assert server.raw("/text").status == 400


def test_a_forgotten_extension_is_named():
    """Flask refuses its WebSocket requests itself; a plain one of the same view says what to do."""
    app = Flask("forgetful")
    app.add_url_rule("/", view_func=is_websocket_request)
    app.testing = True  # what a view raises gets through
    with pytest.raises(RuntimeError, match=r"has no WebSockets: call WebSockets\(app\)"):
        app.test_client().get("/")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert app.test_client().get("/", headers=upgrade).status_code == 400


def test_the_transport_may_be_chosen(start):
    """`blocking` on a server that could do better; `epoll` where it can't be is refused."""
    for kind in ("gthread", "werkzeug"):
        server = start(kind, WSHANDLER_TRANSPORT="blocking")
        client = server.connect("/echo")
        client.send("x")
        assert client.recv() == "x"
        client.close()
    for kind in ("gevent", "tls"):
        server = start(kind, WSHANDLER_TRANSPORT="epoll")
        assert server.raw("/echo").status == 426
        assert "WSHANDLER_TRANSPORT is 'epoll'" in server.log


def test_a_bad_setting_is_an_error_at_the_start(tmp_path):
    """It names the key, the value and what is allowed."""

    app = Flask(__name__)
    app.config["WSHANDLER_MAX_MESSAGE_SIZE"] = "1 MiB"
    with pytest.raises(SettingError, match=r"WSHANDLER_MAX_MESSAGE_SIZE is '1 MiB', but must be"):
        WebSockets(app)
