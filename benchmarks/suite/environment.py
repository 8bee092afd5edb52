"""Where the peers are installed: a virtual environment and Node packages, made at first use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

from .failure import SuiteError
from .programs import Programs

ROOT = Path(__file__).resolve().parents[2]
PEER_APPS = ROOT / "benchmarks" / "peers"

PYTHON_PACKAGES = (
    "aiohttp",
    "channels",
    "django",
    "flask-sock",
    "flask-socketio",
    "gunicorn[gevent]",
    "picows",
    "python-socketio[client]",
    "starlette",
    "tornado",
    "uvicorn[standard]",
    "uvloop",
    "websockets",
)
NODE_PACKAGES = (
    "@socket.io/redis-streams-adapter",
    "redis",
    "socket.io",
    "socket.io-client",
    "ws",
)


class Environment:
    """A directory with all that is measured."""

    def __init__(self, directory: Path = ROOT / ".venv-benchmarks") -> None:
        self.directory = directory
        self.programs = Programs(directory / "load")
        self._python = directory / "python"
        self._bin = self._python / "bin"
        self._node = directory / "node"
        self._stamp = directory / "installed"

    def set_up(self) -> None:
        """Install and compile what is missing. Needs a compiler, and a network the first time."""
        self.programs.compile()
        if not self._is_installed():
            self._install()

    @property
    def variables(self) -> dict[str, str]:
        """What processes of the peers have in their environment."""
        return os.environ | {
            "PATH": f"{self._bin}{os.pathsep}{self.programs.directory}{os.pathsep}"
            + os.environ.get("PATH", ""),
            "PYTHONPATH": str(PEER_APPS),
            "NODE_PATH": str(self._node / "node_modules"),
        }

    def find(self, program: str) -> str | None:
        """The path of a program of the environment or of the machine."""
        return shutil.which(program, path=self.variables["PATH"])

    def versions(self) -> dict[str, str]:
        """Of all that is installed, by the names of the packages."""
        [packages] = self._python.glob("lib/python*/site-packages")
        found = {
            distribution.metadata["Name"].lower(): distribution.version
            for distribution in distributions(path=[str(packages)])
        }
        found["python"] = ".".join(map(str, sys.version_info[:3]))
        if node := self.find("node"):
            asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
            found["node"] = asked.stdout.strip().removeprefix("v")
        for name in NODE_PACKAGES:
            package = self._node / "node_modules" / name / "package.json"
            if package.exists():
                found[name] = json.loads(package.read_text())["version"]
        return found

    def _wanted(self) -> str:
        return repr((sys.version_info[:3], str(ROOT), PYTHON_PACKAGES, NODE_PACKAGES))

    def _is_installed(self) -> bool:
        return self._stamp.exists() and self._stamp.read_text() == self._wanted()

    def _install(self) -> None:
        print(f"installing the peers into {self.directory}", file=sys.stderr)
        venv.create(self._python, clear=True, with_pip=True)
        pip = [str(self._bin / "python"), "-m", "pip", "--disable-pip-version-check"]
        self._run(*pip, "install", "--quiet", "--upgrade", "--editable", ".", *PYTHON_PACKAGES)
        self.install_node_packages()
        self._stamp.write_text(self._wanted())

    def has_node_package(self, name: str) -> bool:
        """Whether one of `NODE_PACKAGES` is there, with a Node.js to run it."""
        found = self._node / "node_modules" / name / "package.json"
        return found.exists() and shutil.which("node") is not None

    def install_node_packages(self) -> None:
        """Those that are missing. Needs a network; without npm it says so and does nothing."""
        if all(map(self.has_node_package, NODE_PACKAGES)):
            return
        if shutil.which("npm"):
            self._node.mkdir(parents=True, exist_ok=True)
            self._run("npm", "install", "--silent", "--prefix", str(self._node), *NODE_PACKAGES)
        else:
            print(
                "npm is missing; without Node.js. On Debian: apt install nodejs npm",
                file=sys.stderr,
            )

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SuiteError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
