"""Noticing that the process is to end."""

import threading

from flask_wshandler.transports import wsgi_server
from flask_wshandler.transports.shutdown import StopWatch


def test_it_bears_that_no_thread_can_start(monkeypatch):
    """In Python 3.12 none can while the interpreter shuts down; the timer's does it instead."""

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(wsgi_server, "is_stopping", lambda: True)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    stops = []
    watch = StopWatch(lambda: stops.append(True))
    assert watch.on_time(0.0) is None
    monkeypatch.undo()
    assert stops == [True]
