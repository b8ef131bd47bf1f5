"""Documents with metadata in an index: what the stores of several frameworks share.

An item is named by a str. Its record is a JSON object of the metadata of a document, so that the
fields of the index are names of metadata. Beside them are members of the store's own, whose names
begin with `_`; metadata whose names begin with `_` are stored with one more.

A filter becomes a `Where`: a condition that the index answers by its fields, and a test of the
documents for all else, so that nothing is ignored.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

import voisin
from voisin.errors import _exception

T = TypeVar("T")

# A condition as JSON has it.
Condition = dict[str, Any]
# Options of `voisin.create` that `voisin.open` does not have.
_OF_CREATION = {"dtype", "codes", "m", "m0", "ef_construction", "alpha", "seed"}
# Records that are read at a time.
_PART = 1000


def to_record(metadata: Mapping[str, Any], **own: Any) -> dict[str, Any]:
    """The record of a document: `own` members get an `_`."""
    record = {f"_{name}": value for name, value in own.items()}
    for name, value in metadata.items():
        record[member(name)] = value
    return record


def to_metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a record."""
    if not any(name.startswith("__") for name in record):
        return {name: value for name, value in record.items() if not name.startswith("_")}
    names = ((name[1:] if name.startswith("__") else name) for name in record)
    pairs = zip(record, names, record.values(), strict=True)
    return {to: value for name, to, value in pairs if not name.startswith("_") or to != name}


def lists(metadata: Mapping[str, Any]) -> list[str]:
    """The metadata that are lists, which a store notes in the field `_lists` if its framework does
    not compare their members. Fields have names of at most 64 bytes."""
    return [
        name
        for name, value in metadata.items()
        if isinstance(value, (list, tuple)) and len(name.encode(errors="replace")) <= 64
    ]


def member(name: str) -> str:
    """The member of a record that has metadata of this name."""
    return f"_{name}" if name.startswith("_") else name


@dataclass(frozen=True)
class Where(Generic[T]):
    """A restriction: the condition and the test hold both, of these ids. Without any, it holds for
    all documents."""

    condition: Condition | None = None
    test: Callable[[str, T], bool] | None = None
    ids: frozenset[str] | None = None

    def alone(self, snapshot: voisin.Snapshot) -> Callable[[str, T], bool]:
        """The same as a test."""
        test = self.test or (lambda id, document: True)
        if self.condition is None:
            return test
        ids = set(snapshot.ids(self.condition).tolist())
        return lambda id, document: id in ids and test(id, document)


def every(parts: Sequence[Where[T]]) -> Where[T]:
    """Where all of them hold, none of which is of ids."""
    conditions = [it.condition for it in parts if it.condition is not None]
    tests = [it.test for it in parts if it.test is not None]
    return Where(
        {"and": conditions} if conditions else None,
        (lambda id, document: all(test(id, document) for test in tests)) if tests else None,
    )


def some(parts: Sequence[Where[T]], snapshot: voisin.Snapshot) -> Where[T]:
    """Where at least one of them holds."""
    if all(it.test is None for it in parts):
        return Where({"or": [it.condition or {"and": []} for it in parts]})
    tests = [it.alone(snapshot) for it in parts]
    return Where(None, lambda id, document: any(test(id, document) for test in tests))


def no(part: Where[T], snapshot: voisin.Snapshot) -> Where[T]:
    """Where it does not hold."""
    if part.test is None:
        return Where({"not": part.condition or {"and": []}})
    test = part.alone(snapshot)
    return Where(None, lambda id, document: not test(id, document))


def answered(fields: Mapping[str, str], name: str, operator: str, value: Any) -> Condition | None:
    """A comparison as a condition, if a field of the index answers it as a test of documents would.
    None if it does not. Operators are those of conditions: `"eq"`, `"in"`, `"below"`, `"exists"`.
    Timestamps are compared by fields alone."""
    of = fields.get(member(name))
    condition = {"field": member(name), operator: value}
    if of is None or operator == "exists":
        return condition if of else None
    is_ok = _ANSWERED.get(of, lambda operator, value: False)
    values = value if operator == "in" else [value]
    return condition if all(is_ok(operator, it) for it in values) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# What each type of fields answers. Integers up to 2^53 are told apart by floats.
_ANSWERED: dict[str, Callable[[str, Any], bool]] = {
    "keyword": lambda operator, it: (
        operator in ("eq", "in") and isinstance(it, str) and len(it.encode(errors="replace")) <= 480
    ),
    "bool": lambda operator, it: operator in ("eq", "in") and isinstance(it, bool),
    "integer": lambda _, it: _is_number(it) and isinstance(it, int) and abs(it) < 2**63,
    "float": lambda _, it: (
        _is_number(it) and math.isfinite(it) and (isinstance(it, float) or abs(it) < 2**53)
    ),
    "timestamp": lambda _, it: it is not None,
}


class Answer(NamedTuple):
    """A document that a search has found."""

    id: str
    distance: float
    record: dict[str, Any]
    vector: Any
    """An array of shape `(dimensions,)`, or None unless asked for."""


@dataclass(frozen=True)
class Matched(Generic[T]):
    """A document that a filter matches."""

    id: str
    record: dict[str, Any]
    document: T


class Documents(Generic[T]):
    """An index of documents. It is created with the first document, whose vector tells how many
    dimensions it has.

    Args:
        path: the folder of the index; a temporary one, which is deleted with this, for None.
        metric: that of the index.
        fields: the types of metadata to filter by, by name.
        options: further options of `voisin.create`.
        to_document: makes a document, for tests, of an id and a record.
        own_fields: fields of the store's own members.
    """

    def __init__(
        self,
        path: str | PathLike[str] | None,
        metric: str,
        fields: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        to_document: Callable[[str, dict[str, Any]], T],
        own_fields: Mapping[str, str] | None = None,
    ) -> None:
        if path is None:
            temporary = tempfile.mkdtemp(prefix="voisin")
            weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
            path = Path(temporary, "index")
        self.path = Path(path)
        self.metric, self.options, self.to_document = metric, dict(options), to_document
        self._given = {f"_{name}": of for name, of in (own_fields or {}).items()}
        self._given |= {member(name): of for name, of in (fields or {}).items()}
        self.fields: Mapping[str, str] = {}
        self._index: voisin.Index | None = None
        # For names of metadata, a commit, and whether a document had a list then.
        self._has_lists: dict[str, tuple[int, bool]] = {}
        self.index()

    def index(self) -> voisin.Index | None:
        """The index, or None as long as there is no document."""
        if self._index is None and (self.path / "data.mdb").exists():
            options = {key: it for key, it in self.options.items() if key not in _OF_CREATION}
            try:
                self._index = self._checked(voisin.open(self.path, **options))
            except voisin.NotThere:
                # The folder has indexes of other names.
                return None
        return self._index

    def _checked(self, index: voisin.Index) -> voisin.Index:
        fields = index.fields()
        missing = [name for name in self._given if name not in fields]
        wrong = None
        if index.id_type != "str":
            wrong = f"names items by {index.id_type}"
        elif index.metric != {"dot": "dot product", "l2": "euclidean"}.get(
            self.metric, self.metric
        ):
            wrong = f"is of the metric {index.metric!r}, and not {self.metric!r}"
        elif missing:
            wrong = f"has no field {missing[0]!r}"
        if wrong is not None:
            index.close()
            text = (
                f"the index in {str(self.path)!r} {wrong}: open it as what it is, or use another "
            )
            raise _exception("OptionMismatch", "caller", text + "folder", str(self.path), None)
        self.fields = fields
        return index

    def put(
        self, ids: Sequence[str], vectors: Any, records: Sequence[Mapping[str, Any]]
    ) -> voisin.Index:
        """Adds documents, or replaces them, in one commit."""
        matrix = np.asarray(vectors, dtype=np.float32)
        index = self.index()
        if index is None:
            index = self.create(matrix.shape[-1])
        if len(ids):
            index.add(list(ids), matrix, list(records))
        return index

    def create(self, dimensions: int) -> voisin.Index:
        """The index, which is created if nobody has done so meanwhile."""
        options = {"metric": self.metric, "ids": str, "fields": dict(self._given)}
        index = voisin.open_or_create(self.path, dimensions, **options, **self.options)
        self._index = self._checked(index)
        return index

    def delete(self, ids: Iterable[str]) -> int:
        """Deletes documents. Returns how many there were."""
        index = self.index()
        return index.delete(list(ids)) if index is not None else 0

    def records(self, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """The record of each document, or None where there is none."""
        index = self.index()
        found = index.get_records(list(ids)) if index is not None else [None] * len(ids)
        return [it if isinstance(it, dict) else None for it in found]

    def of_one_value(self, condition: Condition, name: str, snapshot: voisin.Snapshot) -> Condition:
        """The same condition, but not for documents whose metadata of this name are a list."""
        is_list = {"field": "_lists", "eq": name}
        commit, has_lists = self._has_lists.get(name, (None, True))
        if commit != snapshot.commit:
            has_lists = snapshot.count(is_list) > 0
            self._has_lists[name] = (snapshot.commit, has_lists)
        return {"and": [condition, {"not": is_list}]} if has_lists else condition

    def search(
        self,
        vector: Any,
        k: int,
        where: Callable[[voisin.Snapshot], Where[T]] | None = None,
        **options: Any,
    ) -> list[Answer]:
        """The nearest documents among those of a restriction, nearest first."""
        index = self.index()
        if index is None:
            return []
        query = np.asarray(vector, dtype=np.float32)
        if where is None:
            return _answers(index.search(query, k, records=True, **options))
        with index.snapshot() as snapshot:
            restriction = self._restriction(snapshot, where(snapshot))
            return _answers(snapshot.search(query, k, records=True, filter=restriction, **options))

    def _restriction(self, snapshot: voisin.Snapshot, where: Where[T]) -> Any:
        """The same as what a search takes: a condition, ids, or a function."""
        test = where.test
        if test is None and where.ids is None:
            return where.condition
        if test is None and where.condition is None:
            return list(where.ids or ())
        if test is None or where.condition is not None or where.ids is not None:
            return [it.id for it in self._matching(snapshot, where)]

        def passes(id: str) -> bool:
            record = snapshot.get_record(id)
            return isinstance(record, dict) and test(id, self.to_document(id, record))

        return passes

    def matching(
        self, where: Callable[[voisin.Snapshot], Where[T]] | None = None
    ) -> list[Matched[T]]:
        """All documents of a restriction, in the order of their ids."""
        index = self.index()
        if index is None:
            return []
        with index.snapshot() as snapshot:
            return list(self._matching(snapshot, where(snapshot) if where else Where()))

    def _matching(self, snapshot: voisin.Snapshot, where: Where[T]) -> Iterator[Matched[T]]:
        if where.ids is None:
            ids = snapshot.ids(where.condition).tolist()
        elif where.condition is None:
            ids = sorted(where.ids)
        else:
            ids = sorted(where.ids.intersection(snapshot.ids(where.condition).tolist()))
        for at in range(0, len(ids), _PART):
            part = ids[at : at + _PART]
            for id, record in zip(part, snapshot.get_records(part), strict=True):
                if isinstance(record, dict):
                    document = self.to_document(id, record)
                    if where.test is None or where.test(id, document):
                        yield Matched(id, record, document)


def _answers(found: voisin.Found) -> list[Answer]:
    vectors = found.vectors if found.vectors is not None else [None] * len(found)
    rows = zip(
        found.ids.tolist(), found.distances.tolist(), found.records or [], vectors, strict=True
    )
    return [
        Answer(id, distance, record, vector)
        for id, distance, record, vector in rows
        if isinstance(record, dict)
    ]


def similarity(metric: str, distance: float) -> float:
    """What frameworks call a score, of which more is nearer: the cosine, the inner product, or, of
    Euclidean distances, `1 / (1 + distance)`."""
    if metric == "cosine":
        return 1.0 - 2.0 * distance
    if metric in ("dot", "dot product"):
        return -distance
    return 1.0 / (1.0 + math.sqrt(distance))
