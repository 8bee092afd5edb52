"""What `python -m build` makes of the project, and an environment with nothing but that in it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What work in a checkout leaves behind.
MADE_IN_A_CHECKOUT = (
    ".venv-benchmarks/pyvenv.cfg",
    "docs/_build/html/index.html",
    "example_site/.venv/pyvenv.cfg",
    "tests/.venv/3.11/pyvenv.cfg",
    "tests/__pycache__/ports.cpython-311.pyc",
)


def files_of_the_project():
    """Every file that belongs to it: what git has or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {name for name in listed.split("\0") if name}
    return {name for name in names if (ROOT / name).exists()}


@pytest.fixture(scope="package")
def distributions(tmp_path_factory):
    """(sdist, wheel): built as a release is, the wheel from the sdist."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in files_of_the_project():
        copy = checkout / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    for name in MADE_IN_A_CHECKOUT:
        made = checkout / name
        made.parent.mkdir(parents=True, exist_ok=True)
        made.touch()
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", checkout / "made", checkout],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [sdist] = (checkout / "made").glob("*.tar.gz")
    [wheel] = (checkout / "made").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="package")
def python(distributions, tmp_path_factory):
    """The interpreter of an environment that had nothing in it before the wheel."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    interpreter = environment / "bin" / "python"
    install(interpreter, distributions[1])
    return interpreter


def install(python, *requirements):
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
