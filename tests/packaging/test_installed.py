"""The wheel in an empty environment: its imports, and the README's chat."""

import email
import re
import shlex
import subprocess
import time
import zipfile

import pytest

from tests.deadlines import DEADLINE_S

from .conftest import ROOT, install

README = (ROOT / "README.md").read_text(encoding="utf-8")

#: What of the package does not import: a program for the environment, which prints names of modules
#: and of what they miss.
IMPORT_ALL = """
import importlib, pkgutil
import flask_wshandler, flask_wshandler.bus, flask_wshandler.testing

assert "site-packages" in flask_wshandler.__file__
for module in pkgutil.walk_packages(flask_wshandler.__path__, "flask_wshandler."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:  # perhaps one that says what to install
        print(module.name, error.name or error.__cause__.name)
"""

CLIENT = """
from websockets.sync.client import connect

with connect("ws://127.0.0.1:PORT/ws.ashx?name=Eve") as client:
    print(client.recv(10))
    client.send("hello")
    print(client.recv(10))
"""

REDIS = """
import flask_wshandler.bus
try:
    flask_wshandler.bus.connect("redis://127.0.0.1")
except ImportError as error:
    print(error)
"""


def run(python, *arguments, cwd):
    """What a program of the environment prints; away from the checkout and its settings."""
    done = subprocess.run(
        [python, "-I", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def block(language, having):
    """The README's first block of code in a language that has a text in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return next(each for each in blocks if having in each)


def test_requirements_are_met(python, tmp_path):
    """By what its own metadata have brought."""
    run(python, "-m", "pip", "check", cwd=tmp_path)


def test_only_what_an_extra_brings_is_missing(python, distributions, tmp_path):
    """The package and its parts import; modules that need an extra are imported when it is used."""
    optional = packages_of_extras(distributions[1])
    for line in run(python, "-W", "error", "-c", IMPORT_ALL, cwd=tmp_path).splitlines():
        module, missing = line.split()
        top = missing.partition(".")[0].replace("_", "-")
        assert any(name.startswith(top) for name in optional), module


def packages_of_extras(wheel):
    """The names of what is installed on demand."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    wanted = [each for each in metadata.get_all("Requires-Dist") if "extra ==" in each]
    return {re.match(r"[\w-]+", each)[0].lower().replace("_", "-") for each in wanted}


def test_a_missing_extra_is_named(python, tmp_path):
    """What to install is in the message."""
    assert "pip install 'flask-wshandler[redis]'" in run(python, "-c", REDIS, cwd=tmp_path)


@pytest.fixture
def chat(python, tmp_path):
    """The port of the README's chat, saved and served as the README says."""
    install(python, "gunicorn")
    (tmp_path / "chat.py").write_text(block("python", "app = Flask(__name__)"))
    program, *arguments = shlex.split(block("sh", "chat:app"))
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [python.with_name(program), "--bind", "127.0.0.1:0", *arguments],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield port_of(server, log)
    finally:
        server.terminate()
        server.wait(DEADLINE_S)


def port_of(server, log):
    until_s = time.monotonic() + DEADLINE_S
    while True:
        text = log.read_text()
        if found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", text):
            return found[1]
        assert server.poll() is None and time.monotonic() < until_s, text
        time.sleep(0.02)


def test_the_chat_works(python, chat, tmp_path):
    """With a client that came along."""
    printed = run(python, "-c", CLIENT.replace("PORT", chat), cwd=tmp_path)
    assert printed == "Eve has connected.\nEve said: hello\n"
