"""The types of the JavaScript client, and programs that use them."""

import shutil
import subprocess
from pathlib import Path

import pytest

TYPES = Path(__file__).parent / "types"
FLAGS = "--strict --noEmit --skipDefaultLibCheck --target es2022 --module es2022"
FLAGS += " --moduleResolution node --lib es2022,dom"


def test_right_uses_are_right_and_wrong_ones_are_found():
    """By TypeScript's compiler, as strict as it can be."""
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("tsc is missing: apt install node-typescript")
    command = [compiler, *FLAGS.split(), *sorted(TYPES.glob("*.ts"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TYPES)
    assert done.stdout == ""
    assert done.returncode == 0
