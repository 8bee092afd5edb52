"""`example_site/run`, with stand-ins for the two programs that it calls."""

import os
import shutil
import subprocess

import pytest
from conftest import ROOT

PYTHON = """#!/bin/sh
# The virtual environment's Python: notes what it is asked to do.
case "$2 $3" in
    "pip --version") [ ! -e "$0.broken" ] ;;
    "pip install") for argument; do last=$argument; done; echo "install $last" ;;
    gunicorn*) shift 2; echo "gunicorn $*"; echo "secret ${#SECRET_KEY}"; echo "path $PYTHONPATH" ;;
    *) exec python3 "$@" ;;
esac
"""

SYSTEM_PYTHON = """#!/bin/sh
# The machine's Python: makes virtual environments with the one above in them.
case "$*" in
    "-m venv "*) mkdir -p "$3/bin"; cp "$STAND_INS/venv_python" "$3/bin/python"; echo made ;;
    *ensurepip*) [ ! -e "$STAND_INS/without_venv" ] ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the script in a project whose path has spaces in it."""
    root = tmp_path / "a project, copied"
    (root / "example_site").mkdir(parents=True)
    shutil.copy(ROOT / "example_site" / "run", root / "example_site" / "run")
    (root / "setup.cfg").write_text("[metadata]\n")
    (root / "pyproject.toml").write_text("")
    return root


@pytest.fixture
def run(project, tmp_path):
    """Run the script from another directory; return its output."""
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name, text in (("python3", SYSTEM_PYTHON), ("venv_python", PYTHON)):
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    environment = {
        "PATH": f"{stand_ins}:/usr/bin:/bin",
        "STAND_INS": str(stand_ins),
        "REAL_PYTHON": shutil.which("python3") or "",
    }

    def run_script(*arguments, expect_failure=False, **variables):
        result = subprocess.run(
            [project / "example_site" / "run", *arguments],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (result.returncode != 0) == expect_failure, result.stderr
        return result.stderr if expect_failure else result.stdout

    run_script.stand_ins = stand_ins
    return run_script


def gunicorn_line(output):
    return next(line for line in output.splitlines() if line.startswith("gunicorn "))


def test_script_is_executable():
    """It starts as a program of its own."""
    assert os.access(ROOT / "example_site" / "run", os.X_OK)


def test_sets_up_and_serves(run, project):
    """With nothing there, it makes the environment, installs the project, and serves."""
    output = run()
    assert "made" in output
    assert f"install {project}[example]" in output
    assert "The example site: http://127.0.0.1:8000/" in output
    assert gunicorn_line(output) == (
        "gunicorn --workers 2 --bind 127.0.0.1:8000 --worker-class gthread --threads 4"
        " example_site.wsgi:app"
    )
    assert f"path {project}" in output


def test_second_start_is_quick(run):
    """What is there is used."""
    run()
    output = run()
    assert "made" not in output
    assert "install" not in output


@pytest.mark.parametrize("file", ["setup.cfg", "pyproject.toml"])
def test_changed_requirements_are_installed(run, project, file):
    """A newer checkout gets what it asks for."""
    run()
    (project / file).write_text("[changed]\n")
    output = run()
    assert "made" not in output
    assert "install" in output


def test_half_made_environment_is_made_anew(run, project):
    """An interrupted set-up does not stand in the way of the next."""
    run()
    (project / "example_site" / ".venv" / "bin" / "python.broken").touch()
    assert "made" in run()


def test_interrupted_installation_is_repeated(run, project):
    """Only a finished installation counts."""
    run()
    (project / "example_site" / ".venv" / "installed").unlink()
    assert "install" in run()


def test_moved_project_is_installed_again(run, project):
    """An editable installation points to where the project was."""
    run()
    stamp = project / "example_site" / ".venv" / "installed"
    stamp.write_text(stamp.read_text().replace(str(project), "/elsewhere"))
    assert "install" in run()


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["--bind", "127.0.0.1:9000"], "http://127.0.0.1:9000/"),
        (["--bind=127.0.0.1:9000"], "http://127.0.0.1:9000/"),
        (["-b", "127.0.0.1:9000"], "http://127.0.0.1:9000/"),
        (["-b127.0.0.1:9000"], "http://127.0.0.1:9000/"),
        (["--bind", "unix:/run/site.sock"], "unix:/run/site.sock"),
    ],
)
def test_own_address_replaces_ours(run, arguments, address):
    """gunicorn would listen on both."""
    output = run(*arguments)
    assert f"The example site: {address}\n" in output
    assert "8000" not in output


@pytest.mark.parametrize("arguments", [["-k", "sync"], ["-ksync"], ["--worker-class=sync"]])
def test_own_worker_class_replaces_our_threads(run, arguments):
    """With several threads, gunicorn would make a sync worker a gthread one."""
    line = gunicorn_line(run(*arguments))
    assert "gthread" not in line
    assert "--threads" not in line


def test_other_arguments_follow_ours(run):
    """gunicorn takes the last of each."""
    assert gunicorn_line(run("--workers", "3")).endswith("--workers 3 example_site.wsgi:app")


def test_port_is_the_environments(run):
    """PORT is for hosts that give one."""
    assert "The example site: http://127.0.0.1:9123/" in run(PORT="9123")


def test_workers_share_a_secret_key(run):
    """One is made up for all of them; a given one is used."""
    assert "secret 64" in run()
    assert "secret 3" in run(SECRET_KEY="abc")


def test_missing_venv_module_is_explained(run):
    """Debian's python3 comes without it; the message says what to install."""
    (run.stand_ins / "without_venv").touch()
    assert "apt install python3-venv" in run(expect_failure=True)


def test_old_python_is_refused(run):
    """The message says which one is there."""
    (run.stand_ins / "python3").write_text(
        '#!/bin/sh\ncase "$1" in -V) echo Python 3.9.2 ;; *) exit 1 ;; esac\n'
    )
    assert "python3 is Python 3.9.2" in run(expect_failure=True)
