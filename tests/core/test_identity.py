"""What an app is called: the same from everywhere, and no two apps the same."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from flask_wshandler.runtime.identity import app_name
from tests.deadlines import DEADLINE_S

ROOT = Path(__file__).resolve().parents[2]

APP = """
from flask import Flask
from flask_wshandler import WebSockets

app = Flask(__name__)
WebSockets(app)
print(app.extensions["wshandler"].name, flush=True)
"""

SPAWNED = "import runpy; (lambda name, run_name: runpy.run_module(name, None, run_name, True))"


@pytest.fixture
def deployment(tmp_path):
    """Two releases of a package and of a module, and a link to the second."""
    for release in ("1", "2"):
        package = tmp_path / "releases" / release / "shop"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "web.py").write_text(APP)
        (package.parent / "single.py").write_text(APP)
    (tmp_path / "current").symlink_to("releases/2")
    return tmp_path


def name_of(directory, *command, **environment):
    """What an app calls itself, run by a command of Python's with this current directory."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        # As shells and gunicorn have it, which keep the spelling.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PWD": str(directory), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    name, *_ = done.stdout.splitlines()
    return name


def imported_from(directory, module):
    """As a server does: by a path that it was given."""
    return name_of("/", "-c", f"import {module}", PYTHONPATH=f"{directory}{os.pathsep}{ROOT}")


def test_however_it_is_run(deployment):
    """By the path with the link or the one behind it, as a package's module or as a program."""
    current, real = deployment / "current", deployment / "releases" / "2"
    names = {
        imported_from(current, "shop.web"),
        imported_from(current / "shop", "web"),
        name_of(current, "-m", "shop.web"),
        name_of("/", str(real / "shop" / "web.py")),
        name_of("/", "-m", "flask", "--app", str(current / "shop" / "web.py"), "routes"),
        # A child that is spawned has the program under a name of its own.
        name_of(current, "-c", f"{SPAWNED}('shop.web', '__mp_main__')"),
    }
    assert names == {str(current / "shop" / "web")}


@pytest.fixture
def loaded_from(monkeypatch):
    """The name of an app whose module was loaded from a path."""

    def loaded_from(path):
        module = types.ModuleType(path.stem)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, path.stem, module)
        return app_name(path.stem, str(path.parent))

    return loaded_from


def test_releases_are_one_app(deployment, loaded_from):
    """Before and after the link is moved: old and new workers reach each other's clients."""
    paths = [deployment / "releases" / release / "single.py" for release in ("1", "2")]
    paths.append(deployment / "current" / "single.py")
    expected = {str(deployment / "current" / "single")}
    assert {loaded_from(path) for path in paths} == expected
    (deployment / "current").unlink()
    (deployment / "current").symlink_to(deployment / "releases" / "1")
    assert {loaded_from(path) for path in paths} == expected


@pytest.mark.parametrize("link", [None, "releases/2/shop", "elsewhere", "current"])
def test_what_only_looks_like_releases_is_not_one_app(deployment, loaded_from, link):
    """There must be the link that leads to one of them."""
    (deployment / "current").unlink()
    if link is not None:
        (deployment / "current").symlink_to(link)
    paths = [deployment / "releases" / release / "single.py" for release in ("1", "2")]
    assert [loaded_from(path) for path in paths] == [str(path.with_suffix("")) for path in paths]


def test_apps_of_one_directory_are_apart(deployment, loaded_from):
    """And those of the same name in two."""
    paths = [deployment / "single.py", deployment / "other.py", deployment / "shop" / "single.py"]
    assert len({loaded_from(path) for path in paths}) == 3


def test_an_import_name_that_is_no_modules(deployment):
    """Goes by that and the current directory, as Flask's root path does."""
    assert app_name("shop-7", str(deployment / "current")) == f"shop-7 in {deployment / 'current'}"
