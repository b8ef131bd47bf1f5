"""The stores for other frameworks check as strictly as the rest of the package, against those."""

import os
import subprocess
import sys

import pytest

MODULES = ["vekterdb"]


@pytest.mark.parametrize("module", MODULES)
def test_its_types_check(module, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "MYPYPATH"}
    command = [sys.executable, "-m", "mypy", "--strict", "-m", f"voisin.{module}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
