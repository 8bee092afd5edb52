"""Clients that come back, on every kind of server: their handler goes on."""

import itertools
import json
import signal

import pytest

from .returning import Returning
from .wire import RawClient

_ids = itertools.count()


@pytest.fixture
def id():
    return f"return-{next(_ids)}"


@pytest.fixture
def client(server, id):
    return Returning(server, f"/record/returning/{id}")


def events_of(server, id):
    return [event["event"] for event in server.events(id) if event["event"] != "message"]


def test_a_first_hello(client):
    """What it says of itself."""
    assert client.hello | {"session": ""} == {
        "session": "",
        "received": 0,
        "resumed": False,
        "lost": False,
        "ping": 20.0,
        "protocol": None,
    }


@pytest.mark.parametrize("end", [Returning.cut, Returning.leave])
def test_the_same_handler_goes_on(server, client, id, end):
    """With what it has in its attributes, and what it has sent meanwhile."""
    before = client.ask("count x")
    assert client.ask("count y").split()[:2] == ["2", "2"]
    end(client)
    server.wait_for_event("away", id)
    client.come_back(resumed=True, received=2)
    assert client.recv() == "while you were away"
    count, number, connection_id, _ = client.ask("count z").split()
    assert (count, number) == ("3", "3")
    assert connection_id == before.split()[2]
    client.close()
    assert server.wait_for_event("close", id)["code"] == 1000
    assert events_of(server, id) == ["open", "away", "back", "close"]


def test_a_return_before_the_loss_is_noticed(server, client, id):
    """The newcomer has the handler, the other is told so."""
    assert client.ask("count").startswith("1 ")
    old = client.wire
    client.come_back(resumed=True, received=1)
    assert client.ask("count").startswith("2 ")
    assert old.read_close()[0] == 4409
    client.close()
    server.wait_for_event("close", id)
    assert events_of(server, id) == ["open", "close"]


def test_a_return_amid_a_callback_waits_for_its_end(server, client, id):
    """One at a time."""
    client.send("sleep 0.5")
    server.wait_for_event("message", id)
    client.cut()
    client.come_back(resumed=True, received=1)
    assert client.recv() == "awake"
    assert client.ask("count").startswith("2 ")
    client.close()


def test_what_was_not_taken_is_sent_again(server, client, id):
    """Once, and in order, over several cuts."""
    for number in range(3):
        client.send("burst 30")
        for _ in range(10):
            client.recv()
        client.cut()
        server.wait_for(lambda: events_of(server, id).count("away") > number, "away")  # noqa: B023  # at once
        client.come_back(resumed=True)
        expected = [f"burst {index}" for index in range(10, 30)] + ["while you were away"]
        assert sorted(client.recv() for _ in range(21)) == sorted(expected)
    client.close()


def test_a_broadcast_waits_for_its_return(server, client, id):
    """It stays a member."""
    assert client.ask("count")
    client.cut()
    server.wait_for_event("away", id)
    assert server.get("/broadcast/hello").status == 200
    client.come_back(resumed=True)
    assert [client.recv() for _ in range(2)] == ["while you were away", "hello"]
    client.close()


def test_the_subprotocol_of_the_app_is_told(server):
    """The 101 names ours."""
    client = Returning(server, "/context?subprotocol=b", "a", "b", headers=[("X-Test", "x")])
    assert client.hello["protocol"] == "b"
    seen = json.loads(client.ask("x"))
    assert (seen["subprotocol"], seen["protocols"]) == ("b", ["a", "b"])
    client.cut()
    assert client.come_back(resumed=True)["protocol"] == "b"
    client.close()


@pytest.mark.parametrize("change", ["path", "class", "secret", "owner", "nonsense"])
def test_nobody_gets_another_ones_handler(server, client, id, change):
    """Who says something else begins anew."""
    assert client.ask("count").startswith("1 ")
    owner, name, secret = client.session.split("~")
    path = client.path
    if change == "path":
        client.path += "x"
    elif change == "class":
        client.path = f"/record/other-returning/{id}"
    else:
        client.session = {
            "secret": f"{owner}~{name}~{secret[::-1]}",
            "owner": f"{'0' * 8}~{name}~{secret}",
            "nonsense": "x" * 128,
        }[change]
    client.cut()
    client.come_back(resumed=False, lost=True)
    client.close()
    client.path = path
    assert client.session.split("~")[1] != name


@pytest.mark.parametrize(
    "offer", ["r.abcdefgh.1.1.1, n.abcdefgh.1.1.1", "r.abcdefgh.1.1." + "9" * 16]
)
def test_a_return_that_says_nothing_sensible(server, offer):
    """400, with the reason."""
    headers = [("Sec-WebSocket-Protocol", f"wshandler.1, {offer}")]
    with server.raw("/echo", headers=headers) as refused:
        assert refused.status == 400
        body = refused.read_body()
        assert "several servers" in body or "no number" in body


def test_an_old_return_that_comes_late_changes_nothing(server, client, id):
    """As by way of a worker that was busy."""
    late = f"r.{client.session}.{client.received}.{client.sent}.{client.tries}"
    assert client.ask("count").startswith("1 ")
    client.come_back(resumed=True)
    headers = [("Sec-WebSocket-Protocol", f"wshandler.1, {late}")]
    with server.raw(client.path, headers=headers) as old:
        assert old.status == 101
        assert old.read_to_end()
    assert client.ask("count").startswith("2 ")
    client.close()


def test_the_secret_is_not_seen_by_the_app(server, client):
    """Nor by what logs requests."""
    assert client.session.split("~")[2] not in server.log
    with RawClient(server.host, server.scheme == "https") as asking:
        headers = [("Sec-WebSocket-Protocol", "wshandler.1, a, r.12345678.0.0.1")]
        asking.handshake("/context?subprotocol=a", headers=headers)
        assert asking.status == 101
    client.close()


def test_it_ends_when_the_client_does_not_come_back(start, id):
    """After `WSHANDLER_RESUME_S`, with 1006."""
    server = start("gthread", WSHANDLER_RESUME_S=0.5)
    client = Returning(server, f"/record/returning/{id}")
    client.cut()
    assert server.wait_for_event("close", id)["code"] == 1006
    assert events_of(server, id) == ["open", "away", "close"]
    client.come_back(resumed=False, lost=True)
    assert client.ask("count").startswith("1 ")


def test_the_subprotocol_is_not_spoken_where_nobody_is_waited_for(start):
    """Then it is as if the client had not offered it."""
    server = start("gthread", WSHANDLER_RESUME_S=0)
    headers = [("Sec-WebSocket-Protocol", "wshandler.1")]
    with server.raw("/echo", headers=headers) as plain:
        assert plain.status == 101
        assert not plain.header("Sec-WebSocket-Protocol")


def test_a_place_is_kept(start, id):
    """Also where a client may have one only: the one that comes back has it."""
    server = start("gthread", WSHANDLER_MAX_CONNECTIONS_PER_IP=1)
    client = Returning(server, f"/record/returning/{id}")
    for _ in range(3):
        client.cut()
        client.come_back(resumed=True)
    with server.raw("/echo") as refused:
        assert refused.status == 429
    client.close()
    server.wait_for_event("close", id)
    with server.raw("/echo") as admitted:
        assert admitted.status == 101


@pytest.mark.parametrize("kind", ["gthread", "gevent", "werkzeug"])
def test_a_stop_says_what_was_taken(start, id, kind):
    """A last acknowledgement, exact, then the close; whoever is away has its `on_close`, too."""
    server = start(kind)
    client = Returning(server, f"/record/returning/{id}")
    away = Returning(server, f"/record/returning/{id}-away")
    away.cut()
    server.wait_for_event("away", f"{id}-away")
    for number in range(5):
        assert client.ask("count").startswith(f"{number + 1} ")
    server.signal(signal.SIGINT if kind == "werkzeug" else signal.SIGTERM)
    taken = client.wire.read_text()
    assert taken == "a5"
    code, _ = client.wire.read_close()
    assert code in (1001, 1012)
    client.close(code)
    client.leave()
    server.wait_for_end()
    assert server.wait_for_event("close", id)["code"] == code
    assert server.wait_for_event("close", f"{id}-away")["code"] == code


def test_a_function_goes_on(server):
    """flask-sock's: it is in `receive` all the while."""
    client = Returning(server, "/function/ann")
    first = client.recv()
    client.send("x")
    answer = client.recv()
    client.cut()
    client.come_back(resumed=True, received=1)
    client.send("x")
    assert client.recv() == answer
    assert first.startswith("ann ")
    client.close()


def test_compression_survives(start, id):
    """Each network connection agrees on its own; what is repeated goes as it is."""
    server = start("gthread", WSHANDLER_COMPRESSION=True)
    deflate = ("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover")
    path = f"/record/returning/{id}"
    client = Returning(server, path, headers=[deflate])
    assert "permessage-deflate" in client.wire.header("Sec-WebSocket-Extensions")
    client.send("burst 3")
    server.wait_for_event("message", id)
    client.cut()
    client.headers = []
    client.come_back(resumed=True)
    assert [client.recv() for _ in range(3)] == ["burst 0", "burst 1", "burst 2"]
    client.close()
