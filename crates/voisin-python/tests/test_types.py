"""The stubs are those of the native module, and a program that uses them type-checks."""

import os
import subprocess
import sys
from pathlib import Path

import voisin

HERE = Path(__file__).parent
# Not the sources: what was installed.
CONFIG = HERE.parent / "pyproject.toml"


def run(*command: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MYPYPATH"}
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd="/", env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_are_those_of_the_native_module(tmp_path):
    run("mypy.stubtest", "voisin._voisin", "--mypy-config-file", str(CONFIG))


def test_the_package_is_typed_and_its_own_sources_check():
    package = Path(voisin.__file__).parent
    assert (package / "py.typed").exists() and (package / "_voisin.pyi").exists()
    # But for the stores of other frameworks, which are not installed here.
    run("mypy", "--strict", "--config-file", str(CONFIG), "-p", "voisin")


def test_a_program_type_checks():
    run("mypy", "--strict", str(HERE / "typed.py"))
