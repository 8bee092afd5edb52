"""What buses run on, to be lost and found again by tests."""

import base64
import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import redis

from tests import preloaded
from tests.deadlines import DEADLINE_S, wait_for
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


class RedisServer:
    """Debian's redis-server."""

    def __init__(self, directory, *arguments):
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket_path = directory / "redis.sock"
        self.process = None
        self._arguments = arguments
        self.start()

    def start(self):
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]  # noqa: RUF005
                + ["--unixsocket", self.socket_path, "--save", "", "--appendonly", "no"]
                + ["--dir", self.directory, *self._arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._answers, "answer of Redis")

    def _answers(self):
        try:
            with self.client() as client:
                return client.ping()
        except redis.RedisError:
            return False

    def client(self):
        return redis.Redis(port=self.port)

    def stop(self):
        # A stopped one can't be terminated.
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(DEADLINE_S)


class SlowWay:
    """A way to a server that lets so many bytes a second through, in each direction."""

    def __init__(self, port, bytes_per_s):
        self._target = ("127.0.0.1", port)
        self._bytes_per_s = bytes_per_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        self._start(self._accept)

    @staticmethod
    def _start(run, *arguments):
        threading.Thread(target=run, args=arguments, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                # Small buffers: what is on the way shall be at its ends.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
                server = socket.socket()
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
                server.connect(self._target)
                self._sockets += [client, server]
                self._start(self._copy, client, server)
                self._start(self._copy, server, client)

    def _copy(self, source, target):
        due_s = 0
        with contextlib.suppress(OSError):
            while data := source.recv(16 * 1024):
                target.sendall(data)
                due_s = max(due_s, time.monotonic()) + len(data) / self._bytes_per_s
                time.sleep(max(0, due_s - time.monotonic()))
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def stop(self):
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class RedisNetwork:
    """Processes that meet on a Redis."""

    def __init__(self, directory):
        self._server = RedisServer(directory)
        self.url = self._server.url
        self.environment = {}

    def lose(self):
        self._server.stop()

    def restore(self):
        self._server.start()

    def inject(self, data):
        """Bytes of a stranger, to everybody who hears the topic "t"."""
        with self._server.client() as client:
            assert client.publish("wshandler:{test/0}:t", data)

    def stop(self):
        self._server.stop()


class LocalNetwork:
    """Processes that meet in a directory."""

    url = "local"

    def __init__(self, directory):
        del directory  # a Unix socket's path must be short
        self.runtime = Path(tempfile.mkdtemp(prefix="ws-"))
        self.environment = {"XDG_RUNTIME_DIR": str(self.runtime)}

    @property
    def directory(self):
        """Where the sockets are."""
        return next((self.runtime / "flask-wshandler").iterdir())

    def lose(self):
        shutil.rmtree(self.runtime)
        self.runtime.touch()  # so that nobody can make it again

    def restore(self):
        self.runtime.unlink()
        self.runtime.mkdir(0o700)

    def inject(self, data):
        """Bytes of a stranger, to every process."""
        for path in self.directory.iterdir():
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(path))
                stranger.sendall(len(data).to_bytes(4, "big") + data)

    def stop(self):
        shutil.rmtree(self.runtime, ignore_errors=True)


NETWORKS = {"local": LocalNetwork, "redis": RedisNetwork}


class Member:
    """A process on the bus, from its parent's side: its methods are those of `member.Member`."""

    module = "tests.bus.member"

    def __init__(self, network, name="test", **options):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self.process = preloaded.start(
            [sys.executable, "-m", self.module, network.url, name, json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, **network.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._answers = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._answer() == "ready"

    def _read(self):
        for line in self.process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def _answer(self):
        return self._answers.get(timeout=DEADLINE_S)

    def __getattr__(self, method):
        def call(*arguments):
            self.order(method, *arguments)
            return self._answer()

        return call

    def order(self, method, *arguments):
        """Say what to do, without waiting for it; `done` waits."""
        self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self.process.stdin.flush()

    def done(self):
        return self._answer()

    def say(self, topic, text):
        self.publish(topic, base64.b64encode(text.encode()).decode())

    def wait_for_texts(self, topic, texts):
        """Wait for so many messages as `texts`, and compare."""
        wait_for(lambda: len(self.texts(topic)) >= len(texts), f"{len(texts)} messages")
        assert self.texts(topic) == texts

    @property
    def log(self):
        self._errors.seek(0)
        return self._errors.read().decode()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def end(self):
        """Let it come to its end by itself; the log of its life."""
        if self._errors.closed:
            return self._last_log
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self.process.stdout.close()
        self._last_log = self.log
        self._errors.close()
        return self._last_log
