"""The example site under a real gunicorn, and a real browser to visit it with."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from tests import preloaded
from tests.chromium import chromium
from tests.deadlines import DEADLINE_S, PAGE_DEADLINE_MS, STOP_DEADLINE_S
from tests.ports import free_port
from tests.resume.cutting_proxy import CuttingProxy

ROOT = Path(__file__).resolve().parents[2]
# The browser's remark on a page that a test leaves while it is connecting.
CUT_SHORT = "WebSocket is closed before the connection is established"

# An installation of the package leaves the site out.
sys.path.insert(0, str(ROOT))


class Site:
    """One gunicorn that serves the example site, with a database and a run directory of its own."""

    def __init__(self, directory: Path, port: int | None = None, workers: int = 2) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.game_database = directory / "game.sqlite3"
        self._directory = directory
        self._workers = workers
        self._log = directory / "gunicorn.log"
        # The address of a Unix socket has 107 bytes at most: `directory` may be too long.
        self._run_directory = ""
        self._process: Any = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        arguments = ["--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread"]
        arguments += ["--threads", "4", "--workers", str(self._workers), "example_site.wsgi:app"]
        self._run_directory = tempfile.mkdtemp(prefix="site-")
        with self._log.open("ab") as log:
            self._process = preloaded.start(
                [sys.executable, "-m", "gunicorn", *arguments],
                cwd=self._directory,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until(self._answers, f"gunicorn does not answer at {self.url}")
        self._wait_until(self._has_all_workers, f"{self._workers} workers have not started")

    def kill(self) -> None:
        """End all of its processes at once, as a machine's end would."""
        assert self._process is not None
        worker_pids = self.worker_pids
        self._process.kill()
        for pid in worker_pids:
            os.kill(pid, signal.SIGKILL)
        self.stop()

    def reload(self) -> None:
        """Have new workers take the place of the old ones, as a deployment would."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOME": str(self._directory),
            "GAME_DATABASE": str(self.game_database),
            "XDG_RUNTIME_DIR": self._run_directory,
        }

    def _wait_until(self, is_true: Callable[[], bool], failure: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_true():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                pytest.fail(f"{failure}:\n{self.log}")
            time.sleep(0.02)

    @property
    def worker_pids(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    @contextlib.contextmanager
    def clients_on_two_workers(self, path: str, **options: Any) -> Iterator[list[Any]]:
        """Give two clients of `websockets` that are served by different workers.

        `options` are those of `websockets.sync.client.connect`.
        """
        clients: dict[int, Any] = {}
        deadline_s = time.monotonic() + DEADLINE_S
        with contextlib.ExitStack() as stack:
            while len(clients) < 2:
                assert time.monotonic() < deadline_s, "all connections are one worker's"
                # It reads on, whatever it is told: else it would not see the answer to its close.
                client = stack.enter_context(
                    connect(f"ws://127.0.0.1:{self.port}{path}", max_queue=None, **options)
                )
                # One that is not wanted goes: a game has few places.
                if clients.setdefault(self.worker_of(client), client) is not client:
                    client.close()
            yield list(clients.values())

    def worker_of(self, client: Any) -> int:
        """Return the process id of the worker that serves this client of `websockets`."""
        inode = self._inode_of(client.socket.getsockname()[1])
        found: list[int] = []

        # Not at the first look while the worker gives the socket another descriptor.
        def is_found() -> bool:
            found.extend(pid for pid in self.worker_pids if _has_socket(pid, inode))
            return bool(found)

        self._wait_until(is_found, f"no worker has socket {inode}")
        return found[0]

    def _inode_of(self, client_port: int) -> str:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, *_, inode = line.split()[:10]
            if local.endswith(f":{self.port:04X}") and remote.endswith(f":{client_port:04X}"):
                return inode
        raise LookupError(f"nobody is connected from port {client_port}")

    def stop(self) -> None:
        """Stop it as a deployment would, and wait for its end."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"gunicorn did not stop in {STOP_DEADLINE_S} s:\n{self.log}")
        finally:
            shutil.rmtree(self._run_directory, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _has_all_workers(self) -> bool:
        return len(self.worker_pids) == self._workers


def _has_socket(pid: int, inode: str) -> bool:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(descriptor) == f"socket:[{inode}]":
                return True
    return False


class Network(CuttingProxy):
    """Leads to a site, and can be down."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.url = f"http://127.0.0.1:{self.port}"
        self._is_up = True
        self._channels: list[socket.socket] = []

    def go_down(self) -> None:
        """Cut all connections, and let none be made."""
        self._is_up = False
        for channel in self._channels:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)

    def come_up(self) -> None:
        """Let connections be made again."""
        self._is_up = True

    def serve(self, near: socket.socket, budget: Any, cut: Any) -> None:
        self._channels.append(near)
        if self._is_up:
            super().serve(near, budget, cut)
        near.close()


class Visitors:
    """Opens pages, each in a browser profile of its own, and notes what must not happen there."""

    def __init__(self, browser: Any, site_url: str) -> None:
        self._browser = browser
        self._site_url = site_url
        self._contexts: list[Any] = []
        self.faults: list[str] = []

    def open(self, path: str, **options: Any) -> Any:
        """Return a Playwright page; `options` are those of a browser context."""
        context = self._browser.new_context(**options)
        context.set_default_timeout(PAGE_DEADLINE_MS)
        self._contexts.append(context)
        context.on("request", lambda request: self._check_address(request.url))
        page = context.new_page()
        page.on("websocket", lambda opened: self._check_address(opened.url))
        page.on("console", self._check_console)
        page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.goto(self._site_url + path)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _check_address(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self._site_url).netloc:
            self.faults.append(f"request to another host: {url}")

    def _check_console(self, message: Any) -> None:
        if message.type in ("error", "warning") and CUT_SHORT not in message.text:
            self.faults.append(f"console {message.type}: {message.text}")


# Not for the session: there can be one Playwright at a time in a process, and others have theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        from playwright.sync_api import expect  # not everybody has it

        # Time passes only when something is wrong, or the machine is slow.
        expect.set_options(timeout=PAGE_DEADLINE_MS)
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running site, fresh for each module of tests."""
    running = Site(tmp_path_factory.mktemp("site"))
    running.start()
    yield running
    running.stop()
    assert "Traceback" not in running.log, running.log


@pytest.fixture
def visitors(browser: Any, site: Site) -> Iterator[Visitors]:
    """Opens pages of the site; fails the test for whatever went wrong in one of them."""
    opened = Visitors(browser, site.url)
    yield opened
    opened.close()
    assert opened.faults == []


@pytest.fixture
def visit(visitors: Visitors) -> Callable[..., Any]:
    """Open one page of the site."""
    return visitors.open


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show gunicorn's log beside a failure."""
    report = yield
    running = getattr(item, "funcargs", {}).get("site")
    if report.failed and running is not None:
        report.sections.append(("gunicorn's log", running.log))
    return report
