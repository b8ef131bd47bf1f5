"""The examples of docstrings run, and everything public is documented."""

import doctest
import importlib
import inspect

import pytest

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
