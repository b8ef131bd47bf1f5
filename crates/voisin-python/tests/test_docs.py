"""The examples of docstrings and of README pages run, and print what they say."""

import doctest
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import voisin
from voisin import _voisin, errors

ROOT = Path(__file__).parents[3]


def documented() -> dict[str, str]:
    """All docstrings of the package, by name."""
    found: dict[str, str] = {}

    def walk(name: str, it: Any) -> None:
        doc = inspect.getdoc(it)
        if doc:
            found[name] = doc
        if isinstance(it, type):
            for member in vars(it):
                if not member.startswith("_"):
                    walk(f"{name}.{member}", vars(it)[member])

    for module in (voisin, errors):
        walk(module.__name__, module)
    for name in voisin.__all__:
        walk(name, getattr(voisin, name))
    return found


DOCUMENTED = documented()


def test_everything_public_is_documented():
    for name in voisin.__all__:
        it = getattr(voisin, name)
        if name.startswith("__"):
            continue
        assert inspect.getdoc(it), name
        for member, value in list(vars(it).items()) if isinstance(it, type) else ():
            is_field = hasattr(it, "__annotations__") and member in it.__annotations__
            is_own = not member.startswith("_") and not isinstance(value, (str, int, type(None)))
            if is_own and not is_field and not hasattr(tuple, member):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_the_native_module_exports_nothing_more():
    native = {name for name in vars(_voisin) if not name.startswith("__")}
    native -= {"_voisin", "_restored_condition", "_run_command"}
    assert native <= set(voisin.__all__)


@pytest.mark.parametrize("name", [name for name, doc in DOCUMENTED.items() if ">>>" in doc])
def test_the_examples_of_docstrings_run(name):
    examples = doctest.DocTestParser().get_doctest(DOCUMENTED[name], {}, name, None, None)
    runner = doctest.DocTestRunner(verbose=False)
    output: list[str] = []
    with np.printoptions(legacy=False):
        runner.run(examples, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


def test_enough_of_it_has_examples():
    with_examples = {name for name, doc in DOCUMENTED.items() if ">>>" in doc}
    assert {
        "create",
        "open",
        "Index",
        "Index.add",
        "Searcher.search",
        "Index.load",
        "Batch",
    } <= with_examples


@pytest.mark.parametrize("page", ["README.md", "crates/voisin-python/README.md"])
def test_the_programs_of_the_pages_run(page, monkeypatch, tmp_path):
    """Twice each, in one folder, as a reader would; they find the data that is shipped."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = (ROOT / page).read_text()
    programs = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert programs
    for number, program in enumerate(programs):
        for _ in range(2):
            name = f"program_{number}"
            module = ModuleType(name)
            exec(compile(program, f"{page}, program {number}", "exec"), vars(module))
