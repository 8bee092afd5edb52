"""Real servers, started and stopped as a deployment would."""

import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import websocket

from tests import preloaded
from tests.deadlines import DEADLINE_S, STOP_DEADLINE_S

from .wire import RawClient

HERE = Path(__file__).resolve().parent

_ADDRESS = re.compile(r"(?:Listening at|Running on):? (https?)://127\.0\.0\.1:(\d+)")

GUNICORN = {
    "sync": ["--worker-class", "sync"],
    "gthread": ["--threads", "4"],
    "gevent": ["--worker-class", "gevent"],
    "tls": ["--threads", "16"],
}
KINDS = [*GUNICORN, "werkzeug"]
MODULES = {
    "forking": "tests.live.forking_server",
    "wsgiref": "tests.live.wsgiref_server",
}


def certificate(directory):
    """A self-signed certificate for 127.0.0.1; the options that give it to gunicorn."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    if not cert.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]  # noqa: RUF005
            + ["-subj", "/CN=127.0.0.1", "-keyout", key, "-out", cert],
            check=True,
            capture_output=True,
        )
    return ["--keyfile", str(key), "--certfile", str(cert)]


class Server:
    """One server with one worker that runs `app`."""

    def __init__(
        self,
        kind,
        directory,
        *arguments,
        app="tests.live.app:app",
        first_path=None,
        runtime=None,
        in_earnest=False,
        **settings,
    ):
        """`first_path` goes before all else that Python imports from. Processes with the same
        `runtime` directory find each other. `in_earnest`, all of it begins with nothing imported:
        see tests/preloaded.py."""
        self.kind = kind
        self._start_process = subprocess.Popen if in_earnest else preloaded.start
        self._ends = []
        self.directory = directory
        self._events_path = directory / "events"
        self._events_path.touch()
        self._log_path = directory / "server.log"
        # Of its own: a Unix socket's path must be short.
        self._own_runtime = tempfile.TemporaryDirectory(prefix="ws-")
        self.environment = {
            **os.environ,
            "EVENTS": str(self._events_path),
            "HOME": str(directory),
            "PYTHONPATH": os.pathsep.join(map(str, filter(None, [first_path, HERE.parents[1]]))),
            "PYTHONUNBUFFERED": "1",
            "XDG_RUNTIME_DIR": str(runtime or self._own_runtime.name),
            **{key: json.dumps(value) for key, value in settings.items()},
        }
        if kind == "gevent":
            # coverage can follow threads or greenlets in all processes, not each in some; with
            # greenlets it once fell into an endless loop of weak references, in a test of ours.
            self.environment.pop("COVERAGE_PROCESS_CONFIG", None)
        if kind in MODULES:
            self._command = [sys.executable, "-m", MODULES[kind]]
        elif kind == "werkzeug":
            self._command = [
                sys.executable,
                "-m",
                "flask",
                "--app",
                app,
                "run",
                "--port",
                "0",
                *arguments,
            ]
        else:
            self._command = [
                # The program: SIGUSR2 starts what stands first here once more, and a module's
                # file as a script would have the package's directory to import from.
                str(Path(sys.executable).with_name("gunicorn")),
                "--bind",
                "127.0.0.1:0",
                *GUNICORN[kind],
            ]
            self._command += ["--access-logfile", "-"]
            if kind == "tls":
                self._command += certificate(directory)
            self._command += [*arguments, app]
        self._start()

    def _start(self):
        with self._log_path.open("wb") as log:
            self.process = self._start_process(
                self._command,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
            )
        found = self.wait_for(lambda: _ADDRESS.search(self.log), "the server's address", DEADLINE_S)
        self.scheme, self.port = found[1], int(found[2])
        self.wait_for(self._answers, "an answer", DEADLINE_S)

    def _answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/stats").status in (200, 404)
        return False

    @property
    def log(self):
        return self._log_path.read_text(errors="replace")

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self):
        return f"{self.scheme}://{self.host}"

    def url(self, path):
        return f"{'wss' if self.scheme == 'https' else 'ws'}://{self.host}{path}"

    def wait_for(self, question, what, deadline_s=DEADLINE_S):
        """Ask until the answer is true, and return it."""
        until_s = time.monotonic() + deadline_s
        while True:
            answer = question()
            if answer:
                return answer
            assert time.monotonic() < until_s, f"no {what} in {deadline_s} s:\n{self.log[-3000:]}"
            time.sleep(0.01)

    # Clients.

    def connect(self, path, **options):
        """A WebSocket by websocket-client."""
        options.setdefault("timeout", DEADLINE_S)
        options.setdefault("suppress_origin", True)
        client = websocket.create_connection(
            self.url(path), sslopt={"cert_reqs": ssl.CERT_NONE}, **options
        )
        self._ends.append(client.shutdown)
        return client

    def raw(self, path=None, headers=(), early=b"", **request):
        """A client that sends any bytes; after the handshake if there is a path."""
        client = RawClient(self.host, self.scheme == "https")
        self._ends.append(client.end)
        if path is not None:
            client.handshake(path, headers, early, **request)
        return client

    def get(self, path, headers=None):
        """A plain HTTP request; the response has been read into `.body`."""
        if self.scheme == "https":
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(self.host, timeout=DEADLINE_S, context=context)
        else:
            connection = http.client.HTTPConnection(self.host, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            response.body = response.read().decode()
            response.json = lambda: json.loads(response.body)
            return response

    def end_clients(self):
        """Have the clients vanish that have not left by themselves."""
        while self._ends:
            self._ends.pop()()

    # What the app has noted.

    def events(self, id=None):
        """The events so far: of one handler, or all."""
        # A line that crosses a page of the file can be seen before its second half is there.
        *lines, _unfinished = self._events_path.read_bytes().split(b"\n")
        events = [json.loads(line) for line in lines]
        return [event for event in events if id is None or event.get("id") == id]

    def wait_for_event(self, event, id=None):
        """The first such event, waiting for it."""
        return self.wait_for(
            lambda: next((e for e in self.events(id) if e["event"] == event), None),
            f"event {event!r} of {id!r}",
        )

    # The process.

    @property
    def workers(self):
        """The process ids of gunicorn's workers that run, the oldest first."""
        pids = [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log)]
        return [pid for pid in pids if self.is_running(pid)]

    @staticmethod
    def is_running(pid):
        """Whether a process has not ended; one that nobody has waited for counts as ended."""
        try:
            return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False

    @staticmethod
    def signal_process(pid, number):
        os.kill(pid, number)

    def signal_until_gone(self, pid, number):
        """Send a signal to a process that may have ended; whether it has."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return not self.is_running(pid)

    @property
    def worker_pid(self):
        return self.get("/stats").json()["pid"]

    def threads_of(self, pid):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"Threads:\s+(\d+)", status)[1])

    def is_on_the_bus(self):
        """Whether a process of it can be asked by others: from soon after the first WebSocket."""
        runtime = Path(self.environment["XDG_RUNTIME_DIR"])
        return any(path.is_socket() for path in runtime.glob("flask-wshandler*/*/*"))

    def descriptors_of(self, pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    def signal(self, number):
        self.process.send_signal(number)

    def wait_for_end(self):
        self.process.wait(STOP_DEADLINE_S)

    def stop(self):
        """Stop it and check that it ends."""
        self.end_clients()
        with self._own_runtime:
            if self.process.poll() is not None:
                return
            # `flask run` does not handle SIGTERM; it would die of it without a word.
            self.signal(signal.SIGINT if self.kind == "werkzeug" else signal.SIGTERM)
            try:
                self.wait_for_end()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.kind} did not end:\n{self.log}") from None


@contextlib.contextmanager
def starting(directory, **defaults):
    """What starts servers, each in a directory of its own below `directory`; all end at the end."""
    running = []

    def start(kind, *arguments, **options):
        own = directory / f"server-{len(running)}"
        own.mkdir()
        running.append(Server(kind, own, *arguments, **(defaults | options)))
        return running[-1]

    yield start
    for each in running:
        each.stop()
