"""Time stands until the test moves it, and what is due is done when `advance` returns."""

import logging

import pytest

from flask_wshandler.testing import TimedOut, WebSocketClient, worker_of

from .app import DEADLINE_S, Stuck, clients, create_app


@pytest.fixture(params=["epoll", "blocking"])
def app(request):
    return create_app(WSHANDLER_TRANSPORT=request.param)


def test_pings_come_at_their_time(client, wshandler):
    """Every 20 seconds, and the client answers: it stays for hours."""
    with client.websocket_connect("/echo") as ws:
        wshandler.clock.advance(19.9)
        assert ws.ping_count == 0
        wshandler.clock.advance(0.1)
        assert ws.ping_count == 1
        wshandler.clock.advance(20)
        wshandler.clock.advance(20)
        assert ws.ping_count == 3
        wshandler.clock.advance(3600)
        assert ws.ping_count == 183
        assert not ws.closed


def test_silent_client_is_given_up(client, wshandler):
    """20 seconds after the ping; the handler's `on_close` has run with 1006."""
    Stuck.closed_with = None
    with client.websocket_connect("/stuck") as ws:
        ws.go_silent()
        wshandler.clock.advance(39)
        assert Stuck.closed_with is None
        wshandler.clock.advance(1)
        assert Stuck.closed_with == 1006
        assert ws.wait_closed() == 1006


def test_who_takes_a_large_message_is_not_silent(client, wshandler):
    """Time moves on when all of it has been written."""
    with client.websocket_connect("/large") as ws:
        for _ in range(5):
            ws.send("9000000")
            wshandler.clock.advance(40)
            assert not ws.closed
            assert len(ws.receive(timeout=DEADLINE_S)) == 9_000_000


def test_silence_may_end_in_time(client, wshandler):
    """Any word of the client is an answer."""
    with client.websocket_connect("/echo") as ws:
        ws.go_silent()
        wshandler.clock.advance(39)
        ws.send("here I am")
        assert ws.receive() == "here I am"
        wshandler.clock.advance(100)
        assert not ws.closed


def test_close_that_is_not_answered_times_out(app, client, wshandler):
    """After WSHANDLER_CLOSE_TIMEOUT."""
    with client.websocket_connect("/chat") as ws:
        ws.go_silent()
        with app.app_context():
            clients.close_all(4000)
        served = ws.served
        wshandler.clock.advance(4.9)
        assert not served.has_finished
        wshandler.clock.advance(0.1)
        assert served.has_finished
        assert ws.wait_closed() == 4000


def test_rates_stand_too():
    """What a client may send in a second it may send again in the next one."""
    app = create_app(WSHANDLER_MESSAGE_RATE=3, WSHANDLER_MESSAGE_RATE_POLICY="slow_down")
    clock = worker_of(app).clock
    with WebSocketClient(app).websocket_connect("/echo") as ws:
        for number in range(4):
            ws.send(str(number))
            assert ws.receive() == str(number)
        ws.send("4")
        with pytest.raises(TimedOut):
            ws.receive(timeout=0.1)
        clock.advance(1)
        assert ws.receive_all() == ["4"]


@pytest.mark.parametrize("step_s", [0.1, 0.3, 0.7, 1.1])
def test_steps_add_up(client, wshandler, step_s):
    """Fractions that a float can't express lose or gain nothing but a tenth of a second."""
    with client.websocket_connect("/echo") as ws:
        for _ in range(round(200 / step_s)):
            wshandler.clock.advance(step_s)
        assert ws.ping_count in (9, 10)
        before_s = wshandler.clock.now_s()
        wshandler.clock.advance(20.1)
        assert wshandler.clock.now_s() == pytest.approx(before_s + 20.1)
        assert ws.ping_count in (10, 11)


def test_slow_callback_is_logged(client, wshandler, caplog):
    """A callback that does not end holds the clock up for a moment, not for ever."""
    Stuck.let_go.clear()
    with client.websocket_connect("/stuck") as ws:
        ws.send("stay")
        with caplog.at_level(logging.WARNING):
            wshandler.clock.advance(60)
        assert "Stuck.on_message on /stuck has been running for over 30 seconds" in caplog.text
        Stuck.let_go.set()


def test_callback_that_is_due_is_waited_for(client, wshandler, monkeypatch):
    """For so much real time."""
    Stuck.let_go.clear()

    def on_close(self):
        self.let_go.wait(DEADLINE_S)

    monkeypatch.setattr(Stuck, "on_close", on_close)
    with client.websocket_connect("/stuck") as ws:
        ws.go_silent()
        with pytest.raises(TimedOut, match=r"Stuck\.on_close has not come to an end in 0\.2 s"):
            wshandler.clock.advance(40, timeout=0.2)
        Stuck.let_go.set()


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_goes_forward_only(wshandler, seconds):
    """What is no time to come is a mistake."""
    with pytest.raises(ValueError, match=f"{seconds} seconds"):
        wshandler.clock.advance(seconds)


def test_apps_have_clocks_of_their_own(wshandler):
    """One for each app and its other processes."""
    assert worker_of(create_app()).clock is not wshandler.clock
