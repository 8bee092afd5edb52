"""What a process tells of itself: pages of connections, figures, and a close."""

import json

import pytest
from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request
from flask_wshandler.bus.rpc import MAX_ANSWER_BYTES
from flask_wshandler.cli.workers import Workers
from flask_wshandler.monitoring.process_report import ROWS_PER_PAGE
from flask_wshandler.testing import WebSocketClient
from flask_wshandler.upgrade.app_state import state_of
from tests.deadlines import DEADLINE_S


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@pytest.fixture
def app():
    app = Flask(__name__)
    WebSockets(app)
    app.add_url_rule("/<path:rest>", view_func=lambda rest: accept_websocket_request(Echo()))
    return app


def node_of(app):
    return state_of(app).collections.node


def test_pages_end_and_miss_nobody(app):
    """More connections than a page has, in the order of their ids."""
    client = WebSocketClient(app)
    count = ROWS_PER_PAGE + 20
    opened = [client.websocket_connect(f"/{number}") for number in range(count)]
    node = node_of(app)
    first = node.answer("connections", {"after": ""})
    ids = [row["id"] for row in first["connections"]]
    assert (len(ids), first["has_more"]) == (ROWS_PER_PAGE, True)
    assert ids == sorted(ids)
    second = node.answer("connections", {"after": ids[-1]})
    assert (len(second["connections"]), second["has_more"]) == (20, False)
    heard = Workers(node, 1).connections()
    assert {row["path"] for row in heard.records} == {f"/{number}" for number in range(count)}
    for ws in opened:
        ws.close()


def test_a_page_of_the_longest_texts_is_one_answer(app):
    """Whatever clients have chosen: each character of a path may take six bytes of JSON."""
    client = WebSocketClient(app)
    with client.websocket_connect("/" + "%C3%A4" * 500):
        [row] = node_of(app).answer("connections", {"after": ""})["connections"]
    assert row["path"] == "/" + "ä" * 118 + "…"
    longest = {**row, "handler": "ä" * 120, "user": "ä" * 120, "address": "ä" * 120}
    page = {"connections": [longest] * ROWS_PER_PAGE, "has_more": True}
    assert len(json.dumps(["p" * 300, page])) < MAX_ANSWER_BYTES


def test_a_close_is_of_one_connection(app):
    """And needs a code that may be sent."""
    client = WebSocketClient(app)
    node = node_of(app)
    with client.websocket_connect("/1") as ws, client.websocket_connect("/2") as other:
        node = node_of(app)
        rows = {
            row["path"]: row for row in node.answer("connections", {"after": ""})["connections"]
        }
        arguments = {"id": rows["/1"]["id"], "code": 4000, "reason": "why"}
        assert node.answer("close", {**arguments, "id": "nobody"}) == {"has_closed": False}
        assert node.answer("close", {**arguments, "code": 1005}) == {"has_closed": False}
        assert node.answer("close", arguments) == {"has_closed": True}
        ws.receive_all()
        assert (ws.close_code, ws.close_reason) == (4000, "why")
        other.send("still there")
        assert other.receive(timeout=DEADLINE_S) == "still there"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("nothing", {}),
        ("connections", {}),
        ("connections", {"after": 1}),
        ("close", {"id": "x", "code": "1000", "reason": ""}),
        ("close", {"id": ["x"], "code": 1000, "reason": ""}),
        ("__class__", {}),
    ],
)
def test_what_is_not_understood_gets_no_answer(app, verb, arguments):
    """Nothing is looked up by a name that came."""
    assert node_of(app).answer(verb, arguments) == {}


def test_answers_of_strangers_are_checked(app, monkeypatch):
    """Whatever a process on the bus says, a command shows what makes sense."""
    strange = [
        {"connections": None},
        {"connections": [None, {}, {"id": 1}], "has_more": True},
        {"connections": [{"id": "x", "age_s": float("nan")}]},
        {"engine": {"accepted": "many"}, "bus": [], "process": {"pid": "x"}},
        {"engine": {"accepted": 1, "connections": 10**400}, "process": {"unpatched_modules": 1}},
    ]
    workers = Workers(node_of(app), 1)
    for answer in strange:
        monkeypatch.setattr(workers, "_ask", lambda *asked, answer=answer: ({"p": answer}, 0))
        assert workers.connections().records == []
        for record in workers.stats().records:
            assert record == {
                "process": "p",
                "accepted": 1,
                "bus": {},
                "history": {},
                "facts": None,
            }
