"""What is in the distributions: all of the package, and nothing else."""

import configparser
import email
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from .conftest import ROOT, files_of_the_project


@pytest.fixture(scope="module")
def wheel(distributions):
    with zipfile.ZipFile(distributions[1]) as wheel:
        yield wheel


@pytest.fixture(scope="module")
def metadata(wheel):
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_has_every_file_of_the_package(wheel):
    """Also those of a subpackage that is new, and of data; no tests, no example site."""
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {
        name
        for name in files_of_the_project()
        if name.startswith("flask_wshandler/")
        or name in ("flask_wshandler_command.py", "pytest_flask_wshandler.py")
    }
    assert "flask_wshandler/py.typed" in packed


def test_the_sdist_has_every_file_of_the_project(distributions):
    """Whoever packages it for a system can run the tests; only what serves the checkout is out.

    And what a checkout has besides: environments, the built documentation.
    """
    with tarfile.open(distributions[0]) as sdist:
        packed = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    made = {name for name in packed if name == "PKG-INFO" or ".egg-info/" in name}
    project = {name for name in files_of_the_project() if not name.startswith(".")}
    assert packed - made == project


def test_the_metadata_is_what_the_index_takes(distributions):
    """It renders the README, and has nothing to warn of."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *distributions]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_licence_comes_along(wheel):
    """Its text, not its name alone."""
    [name] = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()


def test_the_version_is_the_changelogs(metadata):
    """The newest heading."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == metadata["Version"]


def test_the_example_site_can_have_any_bus(metadata):
    """What the README lets it be started with is installed by `example_site/run`."""
    needed = [each for each in metadata.get_all("Requires-Dist") if 'extra == "example"' in each]
    assert sorted(re.match(r"[\w-]+", each)[0] for each in needed) == [
        "gunicorn",
        "msgspec",
        "redis",
    ]


@pytest.mark.parametrize(
    ("group", "name"), [("pytest11", "flask_wshandler"), ("flask.commands", "websockets")]
)
def test_pytest_and_flask_find_their_plugins(wheel, group, name):
    """By an entry point, in a module that is there."""
    [path] = [path for path in wheel.namelist() if path.endswith("/entry_points.txt")]
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(path).decode())
    module = entry_points[group][name].partition(":")[0]
    assert f"{module}.py" in wheel.namelist()
