"""Doors of this process and of others, for the tests of them."""

import array
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from flask_wshandler.resume.passing import GREETING
from flask_wshandler.runtime.run_directory import RunDirectory
from tests import preloaded
from tests.deadlines import DEADLINE_S, wait_for

ROOT = Path(__file__).resolve().parents[2]


class Keeper:
    """The parent's side of a `tests.resume.keeper`: its methods are that one's."""

    def __init__(self, directory, app_name="test"):
        self._log = (directory / f"keeper-{os.urandom(4).hex()}.log").open("a+")
        self.process = preloaded.start(
            [sys.executable, "-m", "tests.resume.keeper", app_name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        self._answers = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.done() == "ready"

    def __getattr__(self, method):
        def call(*arguments):
            self.order(method, *arguments)
            return self.done()

        return call

    def order(self, method, *arguments):
        """Have something done, and do not wait for it."""
        self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self.process.stdin.flush()

    def done(self):
        """The answer to an order."""
        answer = self._answers.get(timeout=DEADLINE_S)
        assert answer is not None, self.log
        return answer[0]

    def _read(self):
        for line in self.process.stdout:
            self._answers.put([json.loads(line)])
        self._answers.put(None)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        self._log.seek(0)
        return self._log.read()

    def signal(self, number):
        self.process.send_signal(number)

    def pause(self):
        """Have all its threads stand still."""
        self.signal(signal.SIGSTOP)
        tasks = list(Path(f"/proc/{self.pid}/task").iterdir())
        wait_for(lambda: all(" T " in (each / "stat").read_text() for each in tasks), "stand-still")

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def end(self):
        self.signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self.process.stdout.close()
        self._log.close()


def directory(app_name="test"):
    """Where the doors are."""
    return RunDirectory(f"doors of {app_name}", socket.SOCK_SEQPACKET)


def path_of(owner, app_name="test"):
    """The socket of a door."""
    [path] = directory(app_name).path.glob(f"*-{owner}")
    return path


def visit(owner):
    """A connection to a door, that has been greeted."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.settimeout(DEADLINE_S)
    link.connect(str(path_of(owner)))
    assert link.recv(100) == GREETING
    return link


def send(link, packet, descriptors=()):
    """One packet with any number of descriptors, in as many control messages."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    link.sendmsg([packet], rights if descriptors else [])


def descriptors():
    """What this process has open: `descriptors() - before` is what is new since then.

    Not how many: what an earlier test has left to the garbage collection may go at any time.
    """
    return set(filter(None, map(_what_is, os.listdir("/proc/self/fd"))))


def _what_is(number):
    """The descriptor, and what it is of, so that a number used again is a new one."""
    with contextlib.suppress(FileNotFoundError):  # the listing's own, which is closed again
        return number, os.readlink(f"/proc/self/fd/{number}")
