"""The checks of style and types: those that run before a commit, in this environment."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / ".pre-commit-config.yaml"
HOOKS = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))["repos"][0]["hooks"]


def run(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_has_nothing_to_say(hook):
    """Lint, format, strict types, shell scripts."""
    program, *arguments = shlex.split(hook["entry"])
    if program == "tests/python":
        program = sys.executable
    elif shutil.which(program) is None:
        pytest.skip(f"{program} is missing: apt install {program}")
    run(program, *arguments)


def test_pre_commit_takes_the_configuration():
    """It would refuse a commit over a mistake in it."""
    run(sys.executable, "-m", "pre_commit", "validate-config", str(CONFIGURATION))


def test_every_shell_script_is_checked():
    """The hook names them."""
    [checked] = [shlex.split(hook["entry"])[1:] for hook in HOOKS if hook["id"] == "shellcheck"]
    candidates = [*ROOT.glob("*/*"), *ROOT.glob(".ci/*")]
    scripts = {path for path in candidates if path.is_file() and is_shell_script(path)}
    assert {ROOT / name for name in checked} == scripts


def is_shell_script(path):
    first = path.read_bytes().partition(b"\n")[0]
    return first.startswith(b"#!") and first.endswith(b"sh")
