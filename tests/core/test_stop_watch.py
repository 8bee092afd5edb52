"""Noticing that the process is to end."""

import threading

from flask_wshandler.settings import Settings
from flask_wshandler.transports import engine, wsgi_server


def test_it_bears_that_no_thread_can_start(monkeypatch):
    """In Python 3.12 none can while the interpreter shuts down; the timer's stops the engine."""

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(wsgi_server, "is_stopping", lambda: True)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    served = engine.Engine(Settings())
    watch = engine._StopWatch(served)
    assert watch.on_time(0.0) is None
    monkeypatch.undo()
    assert served.is_stopping
