"""System calls of the package that fail for a while, in the process that imports this.

Only those that come from the package: a frame of it is among the callers, and none of `logging`.
Loaded before the package is used; what is not told to fail costs a look at a variable.
"""

import builtins
import errno
import functools
import io
import os
import select
import selectors
import socket
import sys
import threading
import time

_NEAR = 6
"""So many callers are looked at: `Path.mkdir` calls `os.mkdir`."""

_lock = threading.Lock()
_failing = frozenset()
_error = None
_until_s = 0.0
#: How often each call has failed.
hits = {}


def fail(calls, error, seconds):
    """Have the named calls fail with `error`, a name of errno's, for so long."""
    global _failing, _error, _until_s
    _error, _until_s = error, time.monotonic() + seconds
    _failing = frozenset(calls)


def _is_ours():
    frame = sys._getframe(3)
    for _ in range(_NEAR):
        if frame is None:
            return False
        name = frame.f_globals.get("__name__", "")
        if name.startswith("flask_wshandler."):
            return True
        if name.startswith(("logging", "tests.", "gunicorn.", "flask.")):
            return False
        frame = frame.f_back
    return False


def _check(name):
    global _failing
    if name not in _failing:
        return
    if time.monotonic() > _until_s:
        _failing = frozenset()
    elif _is_ours():
        with _lock:
            hits[name] = hits.get(name, 0) + 1
        if name == "thread":
            raise RuntimeError("can't start new thread")
        number = getattr(errno, _error)
        raise OSError(number, os.strerror(number))


def _wrapped(name, function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        _check(name)
        return function(*args, **kwargs)

    return call


class _Epoll:
    """`select.epoll`, whose methods can't be replaced."""

    def __init__(self, *args):
        _check("epoll")
        self._epoll = _real_epoll(*args)

    def register(self, *args):
        _check("epoll_register")
        return self._epoll.register(*args)

    def unregister(self, *args):
        _check("epoll_unregister")
        return self._epoll.unregister(*args)

    def poll(self, *args):
        _check("epoll_poll")
        return self._epoll.poll(*args)

    def __getattr__(self, name):
        return getattr(self._epoll, name)


_real_epoll = getattr(select, "epoll", None)  # gevent takes it away


class _Selector(selectors.DefaultSelector):
    def __init__(self):
        _check("selector")
        super().__init__()

    def register(self, *args, **kwargs):
        _check("selector_register")
        return super().register(*args, **kwargs)

    def select(self, timeout=None):
        _check("selector_select")
        return super().select(timeout)


OF_FILES = [
    "listdir", "lstat", "mkdir", "open", "rename", "replace", "stat", "unlink",
]  # fmt: skip
OF_DESCRIPTORS = ["dup2", "eventfd", "eventfd_read", "eventfd_write", "pipe", "read", "write"]
OF_SOCKETS = [
    "accept", "bind", "connect", "dup", "getsockopt", "listen", "recv", "send", "setblocking",
    "shutdown",
]  # fmt: skip
OTHERS = [
    "epoll", "epoll_poll", "epoll_register", "epoll_unregister", "file", "flock", "selector",
    "selector_register", "selector_select", "socket", "socketpair", "thread",
]  # fmt: skip
CALLS = [*OF_FILES, *OF_DESCRIPTORS, *OF_SOCKETS, *OTHERS]


def install():
    """Put what can fail in the place of what is called."""
    import fcntl

    if _real_epoll is not None:
        select.epoll = _Epoll
    selectors.DefaultSelector = _Selector
    for name in [*OF_FILES, *OF_DESCRIPTORS]:
        setattr(os, name, _wrapped(name, getattr(os, name)))
    for name in OF_SOCKETS:
        setattr(socket.socket, name, _wrapped(name, getattr(socket.socket, name)))
    socket.socket.__init__ = _wrapped("socket", socket.socket.__init__)
    socket.socketpair = _wrapped("socketpair", socket.socketpair)
    builtins.open = _wrapped("file", builtins.open)
    io.open = _wrapped("file", io.open)
    fcntl.flock = _wrapped("flock", fcntl.flock)
    threading.Thread.start = _wrapped("thread", threading.Thread.start)
