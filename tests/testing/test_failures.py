"""What a callback raises is raised in the test, once, and never lost."""

import traceback

import pytest

from flask_wshandler.testing import ConnectionClosed


def test_raised_by_receive(client):
    """After the messages that came before it; then the connection is closed with 1011."""
    with client.websocket_connect("/failing") as ws:
        ws.send("x")
        assert ws.receive() == "before"
        with pytest.raises(LookupError, match="in on_message: x") as raised:
            ws.receive()
        # With its own traceback.
        assert traceback.extract_tb(raised.value.__traceback__)[-1].name == "on_message"
        with pytest.raises(ConnectionClosed) as closed:
            ws.receive()
        assert closed.value.code == 1011


@pytest.mark.parametrize("call", ["wait_closed", "close", "receive_all"])
def test_raised_by_the_next_call(client, call):
    """Whichever waits for the server."""
    with client.websocket_connect("/failing") as ws:
        ws.send("x")
        if call == "receive_all":
            assert ws.receive_all() == ["before"]
        with pytest.raises(LookupError, match="in on_message"):
            getattr(ws, call)()


def test_raised_by_send(client):
    """If there is nobody to send to any more."""
    with client.websocket_connect("/failing") as ws:
        ws.send("x")
        ws.receive()
        with pytest.raises(LookupError, match="in on_message"):
            for _ in range(10_000):
                ws.send("y")


@pytest.mark.parametrize(("where", "message"), [("open", None), ("close", None), ("anywhere", "x")])
def test_raised_at_the_end_of_the_block(client, where, message):
    """If no call has raised it."""
    with (
        pytest.raises(LookupError, match=f"in on_{where if message is None else 'message'}"),
        client.websocket_connect(f"/failing?in={where}") as ws,
    ):
        if message is not None:
            ws.send(message)


def test_on_error_is_no_excuse(client):
    """It is told of the exception; the connection fails all the same. Its own comes with it."""
    with (
        pytest.raises(LookupError, match="in on_message") as raised,
        client.websocket_connect("/failing?in=error") as ws,
    ):
        ws.send("x")
    shown = "".join(traceback.format_exception(raised.value))
    assert "ArithmeticError: in on_error" in shown


def test_all_that_are_raised_come_one_after_the_other(client):
    """In their order."""
    with client.websocket_connect("/failing?in=error") as ws:
        ws.send("x")
        ws.receive()
        with pytest.raises(LookupError, match="in on_message"):
            ws.wait_closed()
        with pytest.raises(ArithmeticError, match="in on_error"):
            ws.wait_closed()
        assert ws.wait_closed() == 1011


def test_what_is_no_exception_is_raised_too(client):
    """SystemExit, say, which Flask's signal does not tell of."""
    with client.websocket_connect("/failing") as ws:
        ws.send("exit")
        ws.receive()
        with pytest.raises(SystemExit, match="in on_message"):
            ws.receive()


def test_teardown_functions(app, client):
    """They are the app's as well."""

    @app.teardown_request
    def tear_down(error):
        from flask import request

        if request.path == "/echo" and request.environ.get("HTTP_X_FAIL"):
            raise LookupError("in a teardown function")

    with pytest.raises(Exception) as raised:  # since Flask 3.2 a group with it
        # The handshake's own teardown is the first.
        client.websocket_connect("/echo", headers={"X-Fail": "1"})
    shown = "".join(traceback.format_exception(raised.value))
    assert "LookupError: in a teardown function" in shown


def test_functions(client):
    """flask-sock's, too."""
    with client.websocket_connect("/function/ann") as ws:
        ws.send("boom")
        with pytest.raises(LookupError, match="in a function"):
            ws.receive()


def test_shown_below_the_tests_own(client):
    """A test that fails for another reason shows what may be the cause."""
    with pytest.raises(AssertionError) as raised, client.websocket_connect("/failing") as ws:
        ws.send("x")
        raise AssertionError("of the test")
    assert "LookupError: in on_message" in "".join(traceback.format_exception(raised.value))


def test_that_of_one_client_is_no_other_clients(client):
    """Each has its own."""
    with client.websocket_connect("/echo") as bystander:
        with pytest.raises(LookupError), client.websocket_connect("/failing?in=open"):
            pass
        bystander.send("fine")
        assert bystander.receive() == "fine"


class TestRule:
    """Whether exceptions are propagated is asked of Flask."""

    @pytest.mark.parametrize(
        ("config", "is_raised"),
        [
            ({"TESTING": True}, True),
            ({"TESTING": False}, False),
            ({"TESTING": False, "DEBUG": True}, True),
            ({"TESTING": True, "PROPAGATE_EXCEPTIONS": False}, False),
            ({"TESTING": False, "PROPAGATE_EXCEPTIONS": True}, True),
        ],
    )
    def test_is_flasks(self, app, client, config, is_raised):
        """As for views."""
        app.config.update(config)
        with client.websocket_connect("/failing") as ws:
            ws.send("x")
            assert ws.receive() == "before"
            with pytest.raises(LookupError if is_raised else ConnectionClosed):
                ws.receive()

    def test_can_be_set_for_a_client(self, client):
        """To see what a browser sees."""
        with client.websocket_connect("/failing", propagate_exceptions=False) as ws:
            ws.send("x")
            assert ws.wait_closed() == 1011
