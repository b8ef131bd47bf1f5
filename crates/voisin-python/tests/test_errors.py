"""Exceptions: a tree, by who must act, in words of Python."""

import pickle
import re
from pathlib import Path

import pytest
from conftest import rows

import voisin
from voisin import errors

ROOT = Path(__file__).parents[3]


def test_exceptions_are_a_tree_by_who_must_act():
    classes = [
        it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, Exception)
    ]
    assert len(classes) > 25
    for group, base in errors._GROUPS.items():
        assert base.responsible == group
    for kind, error in errors._CLASSES.items():
        assert issubclass(error, tuple(errors._GROUPS.values())), kind
    exported = {name for name in voisin.__all__ if isinstance(getattr(voisin, name), type)}
    assert {it.__name__ for it in classes} <= exported


def test_every_kind_of_error_that_has_a_class_exists():
    source = (ROOT / "src" / "error.rs").read_text()
    known = set(re.findall(r"^    ([A-Z]\w+)(?: \{|\(|,)", source, flags=re.MULTILINE))
    ours = set(
        re.findall(
            r"refused(?:_value)?\(\s*[\w.()]+,\s*\"(\w+)\"",
            "".join(it.read_text() for it in (ROOT / "crates/voisin-python/src").rglob("*.rs")),
        )
    )
    assert {"DimensionMismatch", "MapBusy", "Cancelled"} <= known
    made = {"InternalError", "AlreadyThere", "WriteTimeout", "MissingFile"}
    unknown = set(errors._CLASSES) - known - ours - made
    assert not unknown
    assert ours <= set(errors._CLASSES)


def test_no_message_names_what_only_rust_has():
    """Every path of Rust in a message of voisin's is in the table that translates them."""
    messages = "".join(
        (ROOT / "src" / name).read_text() for name in ("error.rs", "error/remedy.rs")
    )
    # String literals, whose lines are joined as Rust joins them.
    code = re.sub(r"^\s*//.*$", "", messages, flags=re.MULTILINE)
    literals = re.findall(r'"((?:[^"\\]|\\.)*)"', code, flags=re.DOTALL)
    literals = [re.sub(r"\\\n\s*", "", literal) for literal in literals]
    table = (ROOT / "crates/voisin-python/src/errors.rs").read_text()
    table = table[table.index("const NAMES") : table.index("];")]
    pairs = re.findall(r'"((?:[^"\\]|\\.)*)"', table, flags=re.DOTALL)
    pairs = [re.sub(r"\\\n\s*", "", text) for text in pairs]
    known = pairs[::2]
    assert len(known) > 20 and len(pairs) % 2 == 0 and len(literals) > 100
    # The remedy of a naming ends with one of these types.
    types = {"u64", "str", "[u8]", "[u8; 16]"}
    types = {f"Index<_, {of}>" for of in types} | {"Index<_>"}
    assert types < set(literals) and any("open it as what it is, {}" in it for it in literals)
    for literal in set(literals) - types:
        for name in known:
            literal = literal.replace(name, "")
        left = re.findall(r"\w+::\w+|Index<|\bWriter\b|\bReader\b", literal)
        assert not left, f"{left} in {literal!r}"


def test_an_exception_has_its_parts_and_can_be_pickled(folder):
    index = voisin.create(folder, 3)
    with pytest.raises(voisin.DimensionMismatch) as raised:
        index.add(1, [1.0])
    error = pickle.loads(pickle.dumps(raised.value))
    assert (error.kind, error.value, error.limit) == ("DimensionMismatch", 1, 3)
    assert error.responsible == "caller" and isinstance(error, ValueError)
    assert error.remedy == "give a vector of 3 components" and str(error).endswith(error.remedy)
    with pytest.raises(voisin.OperatorError):
        index.copy_to("/proc/no/such/folder")
    with pytest.raises(voisin.InvalidParameter):
        index.search([1.0, 0.0, 0.0], deadline=-1.0)
    with pytest.raises(voisin.CallerError):
        index.search([1.0, 0.0, 0.0], recall=1.5)
    with pytest.raises(voisin.NamingMismatch):
        index.search([1.0, 0.0, 0.0], prefix="a")
    with pytest.raises(voisin.NamingMismatch) as naming:
        voisin.open_or_create(folder, 3, ids=str)
    assert naming.value.remedy == "name items by int"


def test_damage_is_an_exception_or_a_finding_and_never_a_crash(folder):
    index = voisin.create(folder, 3)
    index.add(range(50), rows(50, 3))
    index.close()
    data = folder / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(voisin.Corrupt) as raised:
        voisin.open(folder)
    assert raised.value.responsible == "data" and raised.value.value < raised.value.limit
    (folder / "data.mdb").write_bytes(b"\0" * len(whole))
    with pytest.raises(voisin.VoisinError):
        voisin.open(folder)
    assert voisin.verify_file(folder) != []


def test_a_write_inside_a_predicate_of_a_write_is_refused_and_not_a_deadlock(folder):
    index = voisin.create(folder, 4)
    index.load(rows(2000))

    def adds(progress: voisin.Progress) -> None:
        if progress.phase in ("adding", "linking"):
            index.add(5000, rows(1)[0])

    with pytest.raises(voisin.NestedWrite):
        index.load(rows(2000, seed=9), ids=range(2000, 4000), progress=adds)
    assert len(index) == 2000
