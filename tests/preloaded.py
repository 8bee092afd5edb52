"""Programs of Python that begin with all that they would import: forked, not started.

Half a second of processor time goes by until a Python has imported Flask, gunicorn and the package,
and tests start thousands. So tests/nursery.py imports these once, and forks when it is asked for a
program. What it forks runs it as `python -m` or its script would, with the arguments, environment,
directory and standard streams that are asked for, and ends as any interpreter ends.

What is about how a process begins is started in earnest. `start` and `run` do so by themselves with
other programs, with workers of gevent, which are patched before anything is imported, and with
variables that only an interpreter's beginning heeds.
"""

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))
MODULES = (
    "flask", "gunicorn", "tests.bus.correspondent", "tests.bus.member", "tests.history.member",
    "tests.history.redis_member", "tests.resume.keeper",
)  # fmt: skip
#: The interpreter's variables that the nursery heeds.
HEEDED = {"PYTHONPATH", "PYTHONUNBUFFERED"}
#: What it says on the socket of a program: the process id, and the exit status at the end.
NUMBER = struct.Struct("i")


def start(command, *, env=None, **options):
    """As `subprocess.Popen` does, which it is where forking would not be the same.

    Of its options there are `cwd`, `text`, and the streams.
    """
    env = dict(os.environ if env is None else env)
    command = [str(each) for each in command]
    if can_be_forked(command, env):
        return Forked(command, env, **options)
    return subprocess.Popen(command, env=env, **options)


def run(command, *, env, cwd, input=None, timeout=None):
    """As `subprocess.run` does with text, and with what the program prints."""
    with contextlib.ExitStack() as stack:
        given, printed, errors = (stack.enter_context(memory_file()) for _ in range(3))
        given.write(input or "")
        given.seek(0)
        process = start(command, env=env, cwd=cwd, stdin=given, stdout=printed, stderr=errors)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        for file in (printed, errors):
            file.seek(0)
        return subprocess.CompletedProcess(
            command, process.returncode, printed.read(), errors.read()
        )


def memory_file():
    return open(os.memfd_create("stream"), "w+", encoding="utf-8")


def can_be_forked(command, env):
    is_known = command[0] == GUNICORN or (
        command[:2] == [sys.executable, "-m"] and command[2] in MODULES
    )
    return is_known and "gevent" not in command and variables_are_heeded(env)


def variables_are_heeded(env):
    """Whether an interpreter with `env` would begin as the nursery has, but for what it heeds."""
    changed = {name for name, _ in env.items() ^ os.environ.items()}
    path = env.get("PYTHONPATH", "").split(os.pathsep)
    return not (
        any(name.startswith("PYTHON") and name not in HEEDED for name in changed)
        or "COVERAGE_PROCESS_CONFIG" in changed
        or any(Path(each, "sitecustomize.py").exists() for each in path)
    )


class Forked:
    """A process, used as a `subprocess.Popen` is."""

    def __init__(self, command, env, *, cwd=None, stdin=None, stdout=None, stderr=None, text=False):
        self.args = command
        self.returncode = None
        with Streams(text) as streams:
            self.stdin = streams.add(0, stdin)
            self.stdout = streams.add(1, stdout)
            self.stderr = streams.add(2, stderr)
            request = {"command": command, "env": env, "cwd": str(cwd or Path.cwd())}
            self._status, self.pid = nursery().fork(request, streams.theirs)

    def poll(self):
        return self._look(0)

    def wait(self, timeout=None):
        if self._look(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _look(self, timeout_s):
        """The exit status once there is one: a number below 0 is that of a signal."""
        if self.returncode is None:
            self._status.settimeout(timeout_s)
            with contextlib.suppress(BlockingIOError, TimeoutError):
                [self.returncode] = NUMBER.unpack(self._status.recv(NUMBER.size))
                self._status.close()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            # It may have ended since.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Streams:
    """The standard streams of a process to be: the descriptors that it gets, until it has them."""

    def __init__(self, text):
        self._text = text
        self._stack = contextlib.ExitStack()
        self.theirs = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def add(self, number, given):
        """Add what `subprocess.Popen` would take for this stream; our end, if it is a pipe."""
        ours = None
        if given == subprocess.PIPE:
            reading, writing = os.pipe()
            theirs, kept = (reading, writing) if number == 0 else (writing, reading)
            self._stack.callback(os.close, theirs)
            ours = self._opened(kept, "w" if number == 0 else "r")
        elif given == subprocess.DEVNULL:
            theirs = os.open(os.devnull, os.O_RDWR)
            self._stack.callback(os.close, theirs)
        elif given == subprocess.STDOUT:
            theirs = self.theirs[1]
        else:
            theirs = number if given is None else given.fileno()
        self.theirs.append(theirs)
        return ours

    def _opened(self, descriptor, mode):
        return open(descriptor, mode, buffering=1) if self._text else open(descriptor, f"{mode}b")


class Nursery:
    """The process that forks, from its parent's side."""

    def __init__(self):
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def fork(self, request, streams):
        """A socket that brings the exit status, and the process id."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            data = json.dumps(request).encode()
            socket.send_fds(self._control, [data], [*streams, theirs.fileno()])
        answer = ours.recv(NUMBER.size)
        if not answer:
            raise RuntimeError("tests/nursery.py has ended; its traceback is on standard error")
        [pid] = NUMBER.unpack(answer)
        return ours, pid

    def stop(self):
        self._control.close()
        self._process.wait()


@functools.cache
def nursery():
    made = Nursery()
    atexit.register(made.stop)
    return made
