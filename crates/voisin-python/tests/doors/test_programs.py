"""The examples of the doors run, those of their docstrings and of their pages, too; and they are
typed."""

import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import EXAMPLES

ROOT = Path(__file__).parents[4]
PAGES = ROOT / "docs" / "doors"
DOORS = ["faiss", "nseekfs", "sklearn", "vers"]
MODULES = [importlib.import_module(f"voisin.{name}") for name in DOORS]


def documented() -> dict[str, str]:
    """All docstrings of the doors, by name."""
    found: dict[str, str] = {}

    def walk(name: str, it: object) -> None:
        doc = inspect.getdoc(it)
        if doc:
            found[name] = doc
        if isinstance(it, type):
            for member in vars(it):
                if not member.startswith("_"):
                    walk(f"{name}.{member}", vars(it)[member])

    for module in MODULES:
        walk(module.__name__, module)
        for name in module.__all__:
            walk(f"{module.__name__}.{name}", getattr(module, name))
    return found


DOCUMENTED = documented()


def test_everything_public_is_documented():
    for module in MODULES:
        for name in module.__all__:
            it = getattr(module, name)
            if inspect.isclass(it) or inspect.isfunction(it):
                assert inspect.getdoc(it), name
            for member, value in vars(it).items() if inspect.isclass(it) else ():
                if inspect.isfunction(value) and not member.startswith("_"):
                    assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize("name", [name for name, doc in DOCUMENTED.items() if ">>>" in doc])
def test_the_examples_of_docstrings_run(name):
    module = next(one for one in MODULES if f"{name}.".startswith(f"{one.__name__}."))
    names = {own: getattr(module, own) for own in module.__all__} | {"np": np}
    examples = doctest.DocTestParser().get_doctest(DOCUMENTED[name], names, name, None, None)
    runner = doctest.DocTestRunner(verbose=False)
    output: list[str] = []
    with np.printoptions(legacy=False):
        runner.run(examples, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


@pytest.mark.parametrize("name", DOORS)
def test_the_programs_of_the_pages_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (PAGES / f"{name}.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert programs
    for number, program in enumerate(programs):
        module = ModuleType(f"program_{number}")
        exec(compile(program, f"{name}.md, program {number}", "exec"), vars(module))


def run(program: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nseekfs_search.py", "ann: 10 of 10"),
        ("sklearn_digits.py", "0.9"),
        ("vers_words.py", "emperor"),
    ],
)
def test_examples_run(name, line, tmp_path):
    """Twice, in one folder, as a person would."""
    program = (EXAMPLES / name).read_text()
    printed = run(program, tmp_path)
    assert line in printed and run(program, tmp_path) == printed


def test_a_program_of_faiss_prints_the_same_but_for_recall(tmp_path):
    program = (EXAMPLES / "faiss_every_class.py").read_text()
    line = "import voisin.faiss as faiss\n"
    assert program.count(line) == 1
    ours = run(program, tmp_path).splitlines()
    theirs = run(program.replace(line, "import faiss\n"), tmp_path).splitlines()
    recalls = [[], []]
    for lines, into in zip((ours, theirs), recalls, strict=True):
        for at, text in enumerate(lines):
            lines[at], _, recall = text.partition(", recall ")
            into += [float(recall)] if recall else []
    assert ours == theirs
    assert len(recalls[0]) == 9
    assert all(mine >= other for mine, other in zip(*recalls, strict=True)), recalls


def test_the_doors_are_typed():
    command = [sys.executable, "-m", "mypy", "--strict"]
    for name in DOORS:
        command += ["-p", f"voisin.{name}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
