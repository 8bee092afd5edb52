"""A process without threads that has imported much, and forks programs: see tests/preloaded.py.

It is given the number of a socket. Each packet there is a request, with the descriptors of a
program's standard streams and of the socket for its process id and exit status.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path

from tests.preloaded import NUMBER

PRELOADED = [
    "flask.cli",
    "flask_wshandler.bus.redis_bus",
    "flask_wshandler.cli",
    "flask_wshandler.resume.door",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "gunicorn.workers.sync",
]
MAX_REQUEST_BYTES = 2**18
DESCRIPTOR_COUNT = 4


class Forker:
    """Forks for each request, and tells of the end of what it has forked."""

    def __init__(self, control):
        self._control = control
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._statuses = {}

    def serve(self):
        """In each process that is forked, the request; in this one None when the parent is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    self._report_ends()
                if self._control in ready:
                    data, files, _, _ = socket.recv_fds(
                        self._control, MAX_REQUEST_BYTES, DESCRIPTOR_COUNT
                    )
                    if not data or self._fork(*files):
                        break
        return {**json.loads(data), "streams": files[:-1]} if data else None

    def _fork(self, *files):
        """Whether this is the process that has been forked."""
        *streams, status = files
        pid = os.fork()
        if pid == 0:
            self._let_go(status)
            return True
        for each in streams:
            os.close(each)
        self._statuses[pid] = status
        tell(status, pid)
        return False

    def _let_go(self, status):
        """Keep nothing of what the parent has."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for held in (self._control, self._wake, self._woken):
            held.close()
        for each in (*self._statuses.values(), status):
            os.close(each)

    def _report_ends(self):
        self._woken.recv(4096)
        while self._statuses:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            file = self._statuses.pop(pid)
            tell(file, os.waitstatus_to_exitcode(status))
            os.close(file)


def tell(file, number):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # nobody may listen any more
        os.write(file, NUMBER.pack(number))


def run(command, env, cwd, streams):
    """Run a program in this process, as if the interpreter had begun with it."""
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if "PYTHONUNBUFFERED" in env:
        sys.stdout.reconfigure(write_through=True)
    is_module = command[1:2] == ["-m"]
    first = cwd if is_module else str(Path(command[0]).parent)
    path = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [first, *filter(None, path), *sys.path[1:]]
    sys.argv[:] = command[2:] if is_module else command
    sys.orig_argv[:] = command if is_module else [sys.executable, *command]  # for reloaders
    if is_module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def main():
    for name in PRELOADED:
        importlib.import_module(name)
    # gunicorn takes the directory where it is imported for its own. What it imports may stay.
    for name in [name for name in sys.modules if name.partition(".")[0] == "gunicorn"]:
        del sys.modules[name]
    # What is here stays, and need not be looked through, and thereby copied, by each at its end.
    gc.collect()
    gc.freeze()
    request = Forker(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is not None:
        run(**request)


if __name__ == "__main__":
    main()
