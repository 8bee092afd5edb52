"""Promise 6: sending never waits, and what waits for a slow client is bounded."""

import time

from .wire import text


def test_messages_arrive_in_order_and_together_with_the_close(server):
    """A close comes after everything that was sent before it."""
    client = server.connect("/record/recorder/burst")
    client.send("burst_and_close 500")
    assert [client.recv() for _ in range(500)] == [f"burst {n}" for n in range(500)]
    opcode, payload = client.recv_data()
    assert (opcode, payload[2:]) == (8, b"after the burst")
    client.sock.close()


def test_any_thread_may_send(server):
    """Also after the callback has returned."""
    client = server.connect("/record/recorder/later")
    client.send("later")
    assert client.recv() == "from another thread"
    client.close()


def test_a_client_that_does_not_read_is_closed_with_1013(server):
    """Past `max_queue_size`; the callback that sends is never held up."""
    client = server.raw("/record/slow/slow")
    started_s = time.monotonic()
    client.send(text("flood 100000"))
    flooded = server.wait_for_event("flooded", "slow")
    assert flooded["count"] < 1000
    assert server.wait_for_event("close", "slow")["code"] == 1013
    assert time.monotonic() < started_s + 9
    client.end()


def test_a_client_that_reads_again_is_told_why(server):
    """What was tried to be written comes whole, then the close frame."""
    with server.raw("/record/slow/slow-reader") as client:
        client.send(text("flood 100000"))
        server.wait_for_event("flooded", "slow-reader")
        assert client.read_close() == (1013, "over 300000 bytes were not taken")


def test_the_oldest_messages_may_be_dropped_instead(server):
    """`queue_policy = "drop_oldest"`: the connection stays, the newest stays, drops are counted."""
    with server.raw("/record/drops/drops") as client:
        client.send(text("flood 500"))
        flooded = server.wait_for_event("flooded", "drops")
        assert flooded["count"] == 500
        assert flooded["dropped"] > 0
        client.send(text("burst 1"))
        whole = 0
        while True:
            _, payload = client.read_frame()
            if payload == b"burst 0":
                break
            assert payload == b"x" * 65536
            whole += 1
        # One more was sent than counted: the loop's condition sends first.
        assert whole + flooded["dropped"] == 501


def test_a_slow_client_holds_up_no_broadcast(server):
    """The members are independent of each other."""
    slow = server.raw("/chat?name=slow")
    assert slow.read_text() == "slow has connected."
    with server.raw("/chat?name=quick") as quick:
        assert quick.read_text() == "quick has connected."
        large = "x" * 500_000
        for number in range(40):
            quick.send(text(f"{number} {large}"))
            heard = quick.read_text()
            if heard == "slow has gone away.":
                heard = quick.read_text()
            assert heard == f"quick said: {number} {large}"
    slow.end()
