"""The site's WebSockets, without a server and a browser: by the package's test client."""

import json

import pytest

from example_site import create_app
from example_site.game import MAX_PLAYERS
from example_site.pages.game import PlayerHandler
from flask_wshandler.testing import HandshakeRefused

GAME = "/game/ws.ashx"


@pytest.fixture
def create_site(tmp_path, monkeypatch):
    """Makes the site; what is made is one site, with one game, in several processes."""
    monkeypatch.setenv("GAME_DATABASE", str(tmp_path / "game.sqlite3"))

    def create():
        app = create_app()
        app.testing = True
        return app

    return create


@pytest.fixture
def app(create_site):
    return create_site()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def robot(client):
    """A client that has given its name to the game."""
    client.post("/game/", data={"name": "Robot"})
    return client


def status_of(client, path):
    """The status that refuses a handshake."""
    with pytest.raises(HandshakeRefused) as refused:
        client.websocket_connect(path)
    return refused.value.response.status_code


def test_echo_counts_each_client_alone(client):
    """The counter is the handler's."""
    with (
        client.websocket_connect("/echo/ws.ashx") as first,
        client.websocket_connect("/echo/ws.ashx") as second,
    ):
        for number in (1, 2):
            first.send("hello")
            assert first.receive() == f"{number} hello"
        second.send("hello")
        assert second.receive() == "1 hello"
        second.send("x" * 5000)
        assert second.wait_closed() == 1009


def events(client):
    """What has happened in the room, as a client has heard it."""
    heard = [json.loads(text) for text in client.receive_all()]
    return [
        (each["type"], each["name"], each.get("text")) for each in heard if each["type"] != "here"
    ]


def test_chat_is_heard_by_all(client, wshandler, create_site):
    """In all processes: coming, speaking and going."""
    with (
        wshandler.other_process(create_site) as second,
        client.websocket_connect("/chat/ws.ashx?name=Ada") as ada,
    ):
        with second.websocket_connect("/chat/ws.ashx?name=Eve said: hi") as eve:
            eve.send("hello")
            assert events(eve) == [
                ("connected", "Ada", None),
                ("connected", "Eve said hi", None),
                ("said", "Eve said hi", "hello"),
            ]
        assert events(ada) == [
            ("connected", "Ada", None),
            ("connected", "Eve said hi", None),
            ("said", "Eve said hi", "hello"),
            ("gone", "Eve said hi", None),
        ]


def test_chat_tells_who_comes_what_was_said_and_who_is_here(client):
    """The last twenty lines, with the colours and the times that they had."""
    with client.websocket_connect("/chat/ws.ashx?name=Ada") as ada:
        for number in range(30):
            ada.send(str(number))
        spoken = [json.loads(text) for text in ada.receive_all()]
    with (
        client.websocket_connect("/chat/ws.ashx?name=Bob") as bob,
        client.websocket_connect("/chat/ws.ashx?name=Cid") as cid,
    ):
        heard = [json.loads(text) for text in bob.receive_all()]
        said = [each for each in spoken if each["type"] == "said"]
        assert heard[:19] == said[-19:]
        people = [each["people"] for each in heard if each["type"] == "here"][-1]
        assert [each["name"] for each in people] == ["Bob", "Cid"]
        assert len({each["color"] for each in people}) == 2
        assert cid.receive_all()


@pytest.mark.parametrize("query", ["", "?name=", "?name=%20%3A%E2%80%AE"])
def test_chat_wants_a_name(client, query):
    """A handshake without a name that can be shown is a bad request."""
    assert status_of(client, f"/chat/ws.ashx{query}") == 400


@pytest.mark.parametrize("path", ["/echo/ws.ashx", "/chat/ws.ashx?name=Ada", GAME])
def test_plain_request_is_told_to_upgrade(client, path):
    """Who opens a socket's address in a browser learns what it is."""
    response = client.get(path)
    assert (response.status_code, response.headers["Upgrade"]) == (426, "websocket")


@pytest.mark.parametrize("cookie", [None, "", ":"])
def test_game_wants_a_name(client, cookie):
    """Without the cookie there is no game."""
    if cookie is not None:
        client.set_cookie("player", cookie, path="/game/")
    assert status_of(client, GAME) == 403


def step(direction, **rest):
    """A player's step; a notification without an `id`."""
    return json.dumps({"jsonrpc": "2.0", "method": "step", "params": [direction], **rest})


def heard(player, name):
    """The arguments of each call of `name` that the player's page has had."""
    calls = [json.loads(text) for text in player.receive_all()]
    return [call["params"] for call in calls if call.get("method") == name]


def entered(player):
    """The slot of a player who is told the whole state next."""
    call = player.receive_json()
    assert call["method"] == "entered"
    return call["params"][0]


def test_speed_is_the_servers(robot):
    """A client that sends faster gets no further."""
    with robot.websocket_connect(GAME) as player:
        slot = entered(player)
        for _ in range(30):
            player.send(step("left"))
            player.send(step("right"))
        changes = [change for (change,) in heard(player, "changed")]
        moves = [each for change in changes for each in change["players"] if each["slot"] == slot]
        assert 0 < len(moves) < 10


@pytest.mark.parametrize("direction", ["nowhere", 1, None])
def test_wrong_direction_is_answered(robot, direction):
    """With an error of that call; the player stays on the board."""
    with robot.websocket_connect(GAME) as player:
        entered(player)
        player.receive_all()
        player.send(step(direction, id=1))
        answer = player.receive_json()
        assert (answer["id"], answer["error"]["code"]) == (1, -32602)
        player.send(step("left", id=2))
        player.send(step("right", id=3))
        answers = [json.loads(text) for text in player.receive_all()]
        assert [each["result"] for each in answers if "id" in each] == [None, None]


@pytest.mark.parametrize(("message", "code"), [("x" * 129, 1009), (b"left", 1003)])
def test_oversized_and_binary_messages_are_refused(robot, message, code):
    """A call is a short text; all else ends the connection, and the player vanishes."""
    with robot.websocket_connect(GAME) as player, robot.websocket_connect(GAME) as other:
        slot = entered(player)
        player.send(message)
        assert player.wait_closed() == code
        entered(other)
        while slot not in other.receive_json()["params"][0]["left"]:
            pass


def test_full_game_says_so(robot):
    """One player too many is told why, and gets in when a place is free."""
    players = [robot.websocket_connect(GAME) for _ in range(MAX_PLAYERS)]
    with robot.websocket_connect(GAME) as late:
        assert late.wait_closed() == 1013
        assert late.close_reason == "The game is full: 8 are playing."
    players[0].close()
    with robot.websocket_connect(GAME) as late:
        assert entered(late)


def test_watcher_has_nothing_to_say(client):
    """A message to the figures ends the connection."""
    with client.websocket_connect("/live/ws.ashx") as watcher:
        watcher.send("hello")
        assert watcher.wait_closed() == 1003


def test_who_comes_back_keeps_the_place(robot, monkeypatch):
    """However much was missed: what was dropped is asked for."""
    monkeypatch.setattr(PlayerHandler, "resume_buffer", 1, raising=False)
    with robot.websocket_connect(GAME, resumable=True) as player:
        slot = entered(player)
        player.receive_all()
        player.cut()
        with robot.websocket_connect(GAME) as other:
            ((_, state),) = heard(other, "entered")
            assert slot in [each["slot"] for each in state["players"]]
        assert player.come_back()
        player.send(json.dumps({"jsonrpc": "2.0", "method": "enter"}))
        assert entered(player) == slot
