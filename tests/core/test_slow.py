"""Callbacks that take too long are reported once, with their stack."""

import logging
import threading

from flask_wshandler import WebSocketHandler
from flask_wshandler.handlers.slow_callbacks import SlowCallbackWatch


class Handler(WebSocketHandler):
    """Of nobody."""

    def on_message(self, message):
        begun, go_on = message
        begun.set()
        go_on.wait()


def test_a_slow_callback_is_reported_once(caplog):
    """When it has been seen for so long; the quick ones never."""
    watch = SlowCallbackWatch(4.0, logging.getLogger("test"))
    begun, go_on = threading.Event(), threading.Event()
    callback = Handler().on_message

    def run():
        watch.running[threading.get_ident()] = callback
        callback((begun, go_on))
        del watch.running[threading.get_ident()]

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    for now_s in range(4):
        # Another thread's callbacks are over in between.
        watch.running[1] = Handler().on_message
        assert watch.on_time(float(now_s)) == 1.0
    assert caplog.records == []
    for now_s in range(4, 10):
        watch.running[1] = Handler().on_message
        watch.on_time(float(now_s))
    go_on.set()
    thread.join()
    watch.on_time(10.0)
    (record,) = caplog.records
    assert "Handler.on_message on ? has been running for over 4 seconds" in record.message
    assert "go_on.wait()" in record.message
