"""The stores for other frameworks check as strictly as the rest of the package, against those."""

import os
import subprocess
import sys

MODULES = ["vekterdb", "langchain", "haystack", "llama_index"]


def test_their_types_check(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "MYPYPATH"}
    names = [part for module in MODULES for part in ("-m", f"voisin.{module}")]
    command = [sys.executable, "-m", "mypy", "--strict", *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
