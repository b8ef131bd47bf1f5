"""The examples of docstrings run, and everything public is documented."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[4] / "docs" / "doors"
MODULES = ["vekterdb", "langchain", "haystack", "llama_index"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_documented_and_its_examples_run(name):
    module = importlib.import_module(f"voisin.{name}")
    assert doctest.testmod(module).failed == 0
    own = [it for it in vars(module).values() if getattr(it, "__module__", "") == module.__name__]
    for it in (it for it in own if inspect.isclass(it) and not it.__name__.startswith("_")):
        for member, value in vars(it).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{it.__name__}.{member}"


@pytest.mark.parametrize("page", ["langchain", "haystack", "llama-index", "vekterdb"])
def test_the_programs_of_a_page_run(page, monkeypatch, tmp_path):
    """Twice each, in one folder, as a reader would."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{page}.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert programs
    for program in programs * 2:
        exec(compile(program, page, "exec"), {"__name__": "program"})
