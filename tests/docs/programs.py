"""Real servers for the programs of the documentation, on ports that are free."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import preloaded
from tests.deadlines import DEADLINE_S, STOP_DEADLINE_S
from tests.ports import free_port


class Program:
    """A server that runs in a directory of its own, between `with` and the end of its block."""

    def __init__(self, command: list[str], port: int, directory: Path) -> None:
        self.port = port
        self.netloc = f"127.0.0.1:{port}"
        self._command = command
        self._directory = directory
        self._log = directory / f"{Path(command[0]).name}-{port}.log"

    def __enter__(self) -> "Program":
        with self._log.open("wb") as log:
            self._process = preloaded.start(
                self._command,
                cwd=self._directory,
                env=os.environ | {"HOME": str(self._directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline_s = time.monotonic() + DEADLINE_S
        while not self._takes_connections():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise RuntimeError(f"{shlex.join(self._command)} does not start:\n{self.log}")
            time.sleep(0.02)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _takes_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def gunicorn(command: str, directory: Path) -> Program:
    """A command line of the documentation that begins with `gunicorn`."""
    _, *arguments = shlex.split(command)
    port = free_port()
    bind = ["--bind", f"127.0.0.1:{port}"]
    return Program([sys.executable, "-m", "gunicorn", *bind, *arguments], port, directory)


_NGINX_CONFIGURATION = """\
daemon off;
master_process off;
pid {directory}/{name}.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {sites}
}}
"""


def nginx(
    executable: str,
    sites: str,
    listen: str,
    backend: Program,
    directory: Path,
    name: str = "nginx",
) -> Program:
    """nginx with the configuration `sites`, in which the addresses of both ends are replaced.

    `listen` is what follows the port in the listen directive; two in one directory need a `name`.
    """
    port = free_port()
    for written, tried in (
        ("listen 80;", f"listen 127.0.0.1:{port}{listen};"),
        ("http://127.0.0.1:8000;", f"http://{backend.netloc};"),
    ):
        if sites.count(written) != 1:
            raise ValueError(f"{written!r} should be there once")
        sites = sites.replace(written, tried)
    configuration = directory / f"{name}.conf"
    configuration.write_text(
        _NGINX_CONFIGURATION.format(directory=directory, name=name, sites=sites)
    )
    command = [executable, "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
    return Program(command, port, directory)


def haproxy(
    executable: str, configuration: str, bind: str, backend: Program, directory: Path
) -> Program:
    """HAProxy with `configuration`, in which the addresses of both ends are replaced.

    `bind` is what follows the port in the bind line.
    """
    port = free_port()
    for written, tried in (
        ("bind :80\n", f"bind 127.0.0.1:{port}{bind}\n"),
        (" 127.0.0.1:8000 ", f" {backend.netloc} "),
        # It wants two descriptors for each at its start.
        ("maxconn 25000\n", "maxconn 100\n"),
    ):
        if configuration.count(written) != 1:
            raise ValueError(f"{written!r} should be there once")
        configuration = configuration.replace(written, tried)
    path = directory / "haproxy.cfg"
    path.write_text(configuration)
    return Program([executable, "-db", "-f", str(path)], port, directory)


def self_signed_certificate(directory: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt install openssl")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1"
    arguments = [*command.split(), "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(arguments, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return certificate, key


def written_for(configuration: str, replacements: dict[str, str]) -> str:
    """A page's configuration with the addresses of this test. Each must be there once."""
    for written, tried in replacements.items():
        if configuration.count(written) != 1:
            raise ValueError(f"{written!r} should be there once")
        configuration = configuration.replace(written, tried)
    return configuration


_APACHE_CONFIGURATION = """\
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
{modules}
User www-data
Group www-data
{site}
"""
_APACHE_MODULES = "mpm_event authz_core proxy proxy_http proxy_wstunnel rewrite headers ssl"


def apache(executable: str, site: str, backend: Program, directory: Path) -> Program:
    """Apache with the configuration `site`, in which the addresses of both ends are replaced."""
    port = free_port()
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in _APACHE_MODULES.split()
    )
    site = site.replace("127.0.0.1:8000", backend.netloc)
    site = written_for(site, {"<VirtualHost *:80>": f"<VirtualHost *:{port}>"})
    configuration = directory / "apache.conf"
    configuration.write_text(
        _APACHE_CONFIGURATION.format(directory=directory, port=port, modules=modules, site=site)
    )
    return Program([executable, "-f", str(configuration), "-DFOREGROUND"], port, directory)


def caddy(executable: str, site: str, tls: str, backend: Program, directory: Path) -> Program:
    """Caddy with the configuration `site`, in which the addresses of both ends are replaced.

    `tls` is a directive with a certificate; without, it speaks HTTP.
    """
    port = free_port()
    scheme = "https" if tls else "http"
    site = written_for(
        site,
        {
            "chat.example.org {": f"{scheme}://127.0.0.1:{port} {{\n{tls}\n",
            "127.0.0.1:8000": backend.netloc,
        },
    )
    configuration = directory / "Caddyfile"
    settings = "admin off\nauto_https off\n"
    configuration.write_text(f"{{\n{settings}}}\n{site}")
    command = [executable, "run", "--adapter", "caddyfile", "--config", str(configuration)]
    return Program(command, port, directory)
