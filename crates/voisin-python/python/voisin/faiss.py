"""FAISS's classes and names over voisin: a program written for FAISS, or for FAISSx, runs with
``import voisin.faiss as faiss``.

Answers have the shapes and types of FAISS's: distances `float32` (`int32` for binary indexes) and
labels `int64`, of shape `(n, k)`, filled up with label -1. Exact kinds give FAISS's answers.
Approximate kinds store the vectors as they were given, beside what they search by, so that their
distances are exact, and what `reconstruct` returns.

An index of FAISS lives in memory. One of these is an index of voisin in a folder of its own, which
is removed with the object, or when the interpreter ends; the system's folder for temporary files
has it, or that of `configure(path=...)`. Every `add` is a commit: add many rows at once.
`docs/doors/faiss.md` of the repository says what else differs.

>>> import numpy as np
>>> import voisin.faiss as faiss
>>> index = faiss.IndexFlatL2(2)
>>> index.add(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], dtype="float32"))
>>> D, I = index.search(np.array([[0.0, 1.0]], dtype="float32"), 2)
>>> D, I
(array([[ 1., 18.]], dtype=float32), array([[0, 1]]))
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

import voisin
from voisin._temporary import DATA, Folder, copied
from voisin.errors import _exception

__all__ = [
    "HNSW",
    "IO_FLAG_MMAP",
    "IO_FLAG_READ_ONLY",
    "METRIC_INNER_PRODUCT",
    "METRIC_L1",
    "METRIC_L2",
    "Error",
    "IDSelector",
    "IDSelectorArray",
    "IDSelectorBatch",
    "IDSelectorNot",
    "IDSelectorRange",
    "Index",
    "IndexBinary",
    "IndexBinaryFlat",
    "IndexBinaryHNSW",
    "IndexBinaryIDMap",
    "IndexBinaryIDMap2",
    "IndexBinaryIVF",
    "IndexFlat",
    "IndexFlatIP",
    "IndexFlatL2",
    "IndexHNSWFlat",
    "IndexIDMap",
    "IndexIDMap2",
    "IndexIVFFlat",
    "IndexIVFPQ",
    "IndexIVFScalarQuantizer",
    "IndexPQ",
    "IndexScalarQuantizer",
    "ParameterSpace",
    "ScalarQuantizer",
    "SearchParameters",
    "SearchParametersHNSW",
    "SearchParametersIVF",
    "clone_index",
    "configure",
    "deserialize_index",
    "index_binary_factory",
    "index_factory",
    "merge_indices",
    "normalize_L2",
    "read_index",
    "read_index_binary",
    "serialize_index",
    "split_index",
    "vector_to_array",
    "write_index",
    "write_index_binary",
]


# --------------------------------------------------------------------------------------------------
# What callers choose: metrics, flags, parameters of searches, where indexes are made.

METRIC_INNER_PRODUCT, METRIC_L2, METRIC_L1 = 0, 1, 2
_METRICS = {METRIC_INNER_PRODUCT: "dot product", METRIC_L2: "euclidean", METRIC_L1: "manhattan"}

IO_FLAG_READ_ONLY = 2
# What is read is always mapped.
IO_FLAG_MMAP = 0x646F0000 | 8

_Ints = npt.NDArray[np.int64]
_Place = str | os.PathLike[str]

# The folder in which indexes are made, if one was chosen.
_parent: Path | None = None


class Error(voisin.CallerError, RuntimeError):
    """What FAISS refuses by a `RuntimeError`, or would get wrong."""


def _refused(message: str) -> Error:
    error = Error(message)
    error.kind, error.remedy = "InvalidParameter", message.rpartition(": ")[2]
    return error


def configure(
    server: str | None = None,
    api_key: str | None = None,
    tenant_id: str | None = None,
    *,
    path: _Place | None = None,
) -> None:
    """Chooses where indexes are made from now on.

    Args:
        server, api_key, tenant_id: those of FAISSx. voisin has no remote mode yet: an `Error`.
        path: the folder in which each index gets a folder of its own, such as one of a large disk,
            or `/dev/shm` for indexes in memory. None for the system's folder of temporary files.
    """
    global _parent
    if server is not None or api_key is not None or tenant_id is not None:
        raise _refused(
            "voisin.faiss has no remote mode yet, so that there is no server to configure: leave "
            "server=, api_key= and tenant_id= out, and share a folder between processes by "
            "voisin.open"
        )
    if path is not None:
        Path(path).mkdir(parents=True, exist_ok=True)
    _parent = None if path is None else Path(path)


class IDSelector:
    """A set of labels, for searches (`SearchParameters`) and `remove_ids`."""

    def is_member(self, id: int) -> bool:
        """Whether a label is one of the set."""
        return bool(self._holds(np.array([id], dtype=np.int64))[0])

    def _holds(self, labels: _Ints) -> npt.NDArray[np.bool_]:
        raise NotImplementedError


class IDSelectorBatch(IDSelector):
    """The labels of an array or a list.

    >>> IDSelectorBatch([3, 5]).is_member(5)
    True
    """

    def __init__(self, indices: Any) -> None:
        self._indices = np.asarray(indices, dtype=np.int64).ravel()

    def _holds(self, labels: _Ints) -> npt.NDArray[np.bool_]:
        return np.isin(labels, self._indices)


IDSelectorArray = IDSelectorBatch


class IDSelectorRange(IDSelector):
    """The labels from `imin`, and below `imax`."""

    def __init__(self, imin: int, imax: int) -> None:
        self.imin, self.imax = imin, imax

    def _holds(self, labels: _Ints) -> npt.NDArray[np.bool_]:
        return (labels >= self.imin) & (labels < self.imax)


class IDSelectorNot(IDSelector):
    """The labels that another set has not."""

    def __init__(self, sel: IDSelector) -> None:
        self.sel = sel

    def _holds(self, labels: _Ints) -> npt.NDArray[np.bool_]:
        return ~self.sel._holds(labels)


class SearchParameters:
    """Parameters of one search: the labels that may be found."""

    def __init__(self, *, sel: IDSelector | None = None) -> None:
        self.sel = sel


class SearchParametersIVF(SearchParameters):
    """Parameters of one search of inverted lists."""

    def __init__(self, *, sel: IDSelector | None = None, nprobe: int = 1) -> None:
        super().__init__(sel=sel)
        self.nprobe = nprobe


class SearchParametersHNSW(SearchParameters):
    """Parameters of one search of a graph."""

    def __init__(self, *, sel: IDSelector | None = None, efSearch: int = 16) -> None:
        super().__init__(sel=sel)
        self.efSearch = efSearch


# --------------------------------------------------------------------------------------------------
# Indexes, and those of them that store vectors: in an index of voisin.

# From so many rows on, a load is quicker than an add, and needs less memory.
_LOADED_ROWS = 10_000
# Rows that are copied at a time from one index to another.
_COPIED_ROWS = 8_192
# The address space that an index begins with; it grows. Small, as a program may have thousands.
_MAP_BYTES = 1 << 28

# Distances and labels, or places of items.
_Answer = tuple[npt.NDArray[Any], _Ints]


class Index:
    """What all indexes have. Items are in the order in which they were added, and labelled by their
    place in it, or by ids.

    Attributes:
        d: the number of dimensions.
        metric_type: `METRIC_L2`, `METRIC_INNER_PRODUCT` or `METRIC_L1`.
        is_trained: whether items can be added.
    """

    d: int
    metric_type: int
    is_trained: bool
    # Accepted, and of no effect: nothing is printed.
    verbose = False
    # The ids of all items by their place, unless these are the places.
    _labels: _Ints | None = None
    # Whether ids can be given, so that items keep theirs when others are removed.
    _has_ids: ClassVar[bool] = False

    @property
    def ntotal(self) -> int:
        """The number of items."""
        raise NotImplementedError

    def train(self, x: Any) -> None:
        """Trains the index on a sample, of shape `(n, d)`. A small one does: voisin learns what it
        needs from the items that it stores."""
        if not len(self._rows(x)):
            raise _refused("there is nothing to train on: give at least one row")
        self.is_trained = True

    def add(self, x: Any) -> None:
        """Adds items, an array of shape `(n, d)`, which is taken as `float32`, and commits."""
        rows = self._rows(x)
        self._add(len(rows), [rows], None)

    def add_with_ids(self, x: Any, ids: Any) -> None:
        """Adds items that are labelled by `ids`, of shape `(n,)` and type `int64`. Equal ids are
        several items."""
        if not self._has_ids:
            raise _refused(
                f"items of {type(self).__name__} are labelled by their place: wrap an empty index "
                "in IndexIDMap2"
            )
        rows, labels = self._rows(x), np.array(ids, dtype=np.int64).ravel()
        if len(labels) != len(rows):
            raise _refused(f"there are {len(rows)} rows and {len(labels)} ids: give one for each")
        self._add(len(rows), [rows], labels)

    def search(
        self,
        x: Any,
        k: int,
        *,
        params: SearchParameters | None = None,
        D: npt.NDArray[Any] | None = None,
        I: npt.NDArray[Any] | None = None,
    ) -> _Answer:
        """Finds the nearest items of each row.

        Args:
            x: an array of shape `(n, d)`.
            k: the number of items to find, from 1 on.
            params: parameters of this search instead of those of the index.
            D, I: arrays to write the answer to.

        Returns:
            The distances and the labels, of shape `(n, k)`, the nearest first. Distances are
            squared under `METRIC_L2`; under `METRIC_INNER_PRODUCT` they are the products, the
            largest first. Where fewer items exist, labels are -1.
        """
        if k < 1:
            raise _refused(f"k is {k}: search for at least 1 item")
        distances, places = self._nearest(self._rows(x), int(k), params, self._among(params))
        labels = self._labelled(places)
        return _put(D, distances), _put(I, labels)

    def assign(self, x: Any, k: int, labels: npt.NDArray[Any] | None = None) -> _Ints:
        """The labels that `search` finds."""
        return self.search(x, k, I=labels)[1]

    def search_and_reconstruct(
        self, x: Any, k: int, *, params: SearchParameters | None = None
    ) -> tuple[npt.NDArray[Any], _Ints, npt.NDArray[Any]]:
        """As `search`, and the vectors of the items, of shape `(n, k, d)`, NaN where there are
        none."""
        distances, labels = self.search(x, k, params=params)
        vectors = np.full((*labels.shape, self.d), np.nan, dtype=np.float32)
        vectors[labels >= 0] = self.reconstruct_batch(labels[labels >= 0])
        return distances, labels, vectors

    def range_search(
        self, x: Any, thresh: float, *, params: SearchParameters | None = None
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any], _Ints]:
        """Finds all items that are nearer than `thresh`, or whose product is larger.

        Args:
            x: an array of shape `(n, d)`.
            thresh: the distance, in the unit of those of `search`.
            params: parameters of this search instead of those of the index.

        Returns:
            `lims`, `D` and `I`: the results of row `i` are `D[lims[i]:lims[i + 1]]`, and as many of
            `I`, in the order in which they were added.
        """
        among = self._among(params)
        found = [self._within(row, thresh, params, among) for row in self._rows(x)]
        lims = np.zeros(len(found) + 1, dtype=np.uint64)
        np.cumsum([len(places) for _, places in found], out=lims[1:])
        order = [places.argsort() for _, places in found]
        empty = self._within_nothing()
        distances = np.concatenate([empty[0], *(d[by] for (d, _), by in zip(found, order))])
        places = np.concatenate([empty[1], *(p[by] for (_, p), by in zip(found, order))])
        return lims, distances, self._labelled(places)

    def reconstruct(self, key: int, x: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """The vector of an item, of shape `(d,)`: see `reconstruct_batch`."""
        return _put(x, self.reconstruct_batch([key])[0])

    def reconstruct_batch(self, key: Any, x: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """The vectors of items, of shape `(n, d)`; of several items of one label, the last one.

        Raises:
            Error: there is no such item. It never returns a vector of zeros instead.
        """
        return _put(x, self._at(self._found(np.asarray(key, dtype=np.int64).ravel())))

    def reconstruct_n(
        self, n0: int = 0, ni: int = -1, x: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """The vectors of the `ni` items from place `n0` on, of shape `(ni, d)`; -1 for all that
        there are."""
        end = self.ntotal if ni == -1 else n0 + ni
        if not 0 <= n0 <= end <= self.ntotal:
            raise _refused(f"there are no items {n0} to {end} of {self.ntotal}: give others")
        return _put(x, self._at(np.arange(n0, end)))

    def remove_ids(self, x: Any) -> int:
        """Removes items by their labels, an array or an `IDSelector`, and commits. Returns their
        number. Where items are labelled by their place, those behind move up."""
        selector = x if isinstance(x, IDSelector) else IDSelectorBatch(x)
        labels = self._ids()
        is_gone = selector._holds(labels)
        if is_gone.any():
            self._drop(np.flatnonzero(is_gone))
            if self._has_ids:
                self._labels = labels[~is_gone]
        return int(is_gone.sum())

    def reset(self) -> None:
        """Removes all items."""
        self._clear()
        self._labels = None

    def merge_from(self, otherIndex: Index, add_id: int = 0) -> None:
        """Moves all items of another index of the same class, dimensions and metric behind those of
        this one, and commits. `add_id` is added to their ids, if they have any."""
        if otherIndex is self or not self._is_like(otherIndex):
            raise _refused(
                f"{self!r} and {otherIndex!r} cannot be merged: give another index of the same "
                "class, dimensions and metric"
            )
        if add_id and not self._has_ids:
            raise _refused("items are labelled by their place, not by ids: leave add_id out")
        self._copy(otherIndex, np.arange(otherIndex.ntotal), add_id)
        otherIndex.reset()

    def set_parameter(self, name: str, value: float) -> None:
        """Sets a parameter by its name: `"nprobe"`, `"efSearch"` or `"efConstruction"`."""
        raise _refused(f"{type(self).__name__} has no parameter {name!r}: leave it out")

    def __reduce__(self) -> tuple[Any, ...]:

        return deserialize_index, (serialize_index(self),)

    def __repr__(self) -> str:
        return f"<voisin.faiss.{type(self).__name__}: {self.ntotal} items, d {self.d}>"

    # What a class does with items by their place.

    def _rows(self, x: Any) -> npt.NDArray[Any]:
        """An array as rows that the index takes."""
        raise NotImplementedError

    def _append(self, count: int, parts: Iterable[npt.NDArray[Any]]) -> None:
        raise NotImplementedError

    def _nearest(
        self, rows: npt.NDArray[Any], k: int, params: SearchParameters | None, among: _Ints | None
    ) -> _Answer:
        raise NotImplementedError

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: _Ints | None
    ) -> _Answer:
        raise NotImplementedError

    def _within_nothing(self) -> _Answer:
        raise NotImplementedError

    def _at(self, places: _Ints) -> npt.NDArray[Any]:
        raise NotImplementedError

    def _drop(self, places: _Ints) -> None:
        raise NotImplementedError

    def _clear(self) -> None:
        raise NotImplementedError

    def _arguments(self) -> dict[str, Any]:
        """What the constructor takes."""
        raise NotImplementedError

    def _parameters(self) -> dict[str, int]:
        """What `set_parameter` takes."""
        return {}

    @classmethod
    def _of(cls, arguments: dict[str, Any]) -> Index:
        return cls(**arguments)

    # What follows from that.

    def _add(self, n: int, parts: Iterable[npt.NDArray[Any]], labels: _Ints | None) -> None:
        if not self.is_trained:
            raise _refused(f"this {type(self).__name__} is not trained: call train(x) first")
        before = None if labels is None and self._labels is None else self._ids()
        if n:
            self._append(n, parts)
        if before is not None:
            if labels is None:
                labels = np.arange(n) + (before.max() + 1 if len(before) else 0)
            self._labels = np.concatenate([before, labels])

    def _copy(self, other: Index, places: _Ints, add_id: int = 0) -> None:
        """Copies items of an index like this one, not all at a time."""
        parts = (
            other._at(places[first : first + _COPIED_ROWS])
            for first in range(0, len(places), _COPIED_ROWS)
        )
        labels = None
        if self._has_ids and (self._labels is not None or other._labels is not None or add_id):
            labels = other._ids()[places] + add_id
        self._add(len(places), parts, labels)

    def _ids(self) -> _Ints:
        """The labels of all items."""
        return np.arange(self.ntotal) if self._labels is None else self._labels

    def _labelled(self, places: _Ints) -> _Ints:
        if self._labels is None or not len(self._labels):
            return places
        return np.where(places < 0, -1, self._labels[places])

    def _found(self, labels: _Ints) -> _Ints:
        """The places of labels."""
        known = self._ids()
        order = np.argsort(known, kind="stable")
        at = np.searchsorted(known, labels, side="right", sorter=order) - 1
        places = order[at] if len(known) else at
        is_there = (at >= 0) & (known[places] == labels) if len(known) else at >= 0
        if not is_there.all():
            missing = labels[~is_there][0]
            raise _refused(f"there is no item {missing} in this index: give the label of one")
        return places

    def _among(self, params: SearchParameters | None) -> _Ints | None:
        """The places that a search may find, unless all."""
        if params is None or params.sel is None:
            return None
        return np.flatnonzero(params.sel._holds(self._ids()))

    def _is_like(self, other: Index) -> bool:
        return (type(self), self.d, self.metric_type) == (type(other), other.d, other.metric_type)

    def _like(self) -> Index:
        """An empty index with the same parameters."""
        new = type(self)._of(self._arguments())
        for name, value in self._parameters().items():
            new.set_parameter(name, value)
        new.is_trained = self.is_trained
        return new


def _put(to: npt.NDArray[Any] | None, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if to is None:
        return values
    to[:] = values
    return to


class _Stored(Index):
    """An index of voisin, made with the first items. Its ids are numbers that are never used again;
    `_live` has those of all items, ascending, unless these are 0, 1, 2, ..."""

    _folder: Folder | None
    _index: voisin.Index | None
    _next: int
    _live: _Ints | None

    def __init__(self, d: int, metric: int, is_trained: bool = True) -> None:
        if metric not in _METRICS:
            raise _refused(f"metric is {metric}: use METRIC_L2, METRIC_INNER_PRODUCT or METRIC_L1")
        self.d, self.metric_type, self.is_trained = int(d), metric, is_trained
        self._clear()

    @property
    def ntotal(self) -> int:
        """The number of items."""
        return self._next if self._live is None else len(self._live)

    def _clear(self) -> None:
        self._folder, self._index, self._next, self._live = None, None, 0, None

    def _creation(self) -> dict[str, Any]:
        """Options of `voisin.create`."""
        return {"metric": _METRICS[self.metric_type], "codes": None, "kinds": ["flat"]}

    def _effort(self, params: SearchParameters | None, k: int) -> dict[str, Any]:
        """Options of `voisin.Index.search`."""
        return {"exact": True}

    def _rows(self, x: Any) -> npt.NDArray[Any]:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.d:
            raise _refused(f"an array of shape {rows.shape} is no rows: give one of (n, {self.d})")
        return rows

    def _append(self, count: int, parts: Iterable[npt.NDArray[Any]]) -> None:
        if self._index is None:
            folder = Folder(_parent)
            made = voisin.create(folder.path, self.d, map_size=_MAP_BYTES, **self._creation())
            self._folder, self._index = folder, made
        first = self._next
        if count < _LOADED_ROWS:
            rows = np.concatenate(list(parts))
            self._index.add(np.arange(first, first + count), rows)
        else:
            self._index.load(_numbered(parts, first))
        self._next += count
        if self._live is not None:
            self._live = np.concatenate([self._live, np.arange(first, first + count)])

    def _nearest(
        self, rows: npt.NDArray[Any], k: int, params: SearchParameters | None, among: _Ints | None
    ) -> _Answer:
        if self._index is None:
            return self._filled(len(rows), k)
        found = self._index.search(rows, k, filter=self._names(among), **self._effort(params, k))
        return self._answer(found.distances, found.ids)

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: _Ints | None
    ) -> _Answer:
        bound = self._bound(radius)
        if self._index is None or bound is None or not self.ntotal:
            return self._within_nothing()
        k = self.ntotal
        found = self._index.search(
            row, k, radius=bound, filter=self._names(among), **self._effort(params, k)
        )
        distances, places = self._answer(found.distances, found.ids)
        is_near = self._is_near(distances, radius)
        return distances[is_near], places[is_near]

    def _within_nothing(self) -> _Answer:
        distances, places = self._filled(1, 0)
        return distances[0], places[0]

    def _at(self, places: _Ints) -> npt.NDArray[Any]:
        if self._index is None:
            return np.empty((0, self.d), dtype=np.float32)
        return self._index.vectors(self._names(places))

    def _drop(self, places: _Ints) -> None:
        if self._index is not None:
            self._index.delete(self._names(places))
            live = np.arange(self._next) if self._live is None else self._live
            self._live = np.delete(live, places)

    def _names(self, places: Any) -> Any:
        return places if self._live is None or places is None else self._live[places]

    def _answer(self, distances: npt.NDArray[Any], names: _Ints) -> _Answer:
        """From voisin's distances and ids."""
        is_product = self.metric_type == METRIC_INNER_PRODUCT
        if is_product:
            distances = np.negative(distances)
        if names.size and names.min() < 0:
            limit = np.finfo(np.float32).max
            distances = np.where(names < 0, -limit if is_product else limit, distances)
        return distances, self._placed(names)

    def _placed(self, names: _Ints) -> _Ints:
        if self._live is None:
            return names
        return np.where(names < 0, -1, np.searchsorted(self._live, names))

    def _filled(self, n: int, k: int) -> _Answer:
        return self._answer(np.empty((n, k), dtype=np.float32), np.full((n, k), -1, dtype=np.int64))

    def _bound(self, radius: float) -> float | None:
        """A radius as one of voisin, which includes it; None if nothing is that near."""
        if self.metric_type == METRIC_INNER_PRODUCT:
            return -radius
        return radius if radius > 0 else None

    def _is_near(self, distances: npt.NDArray[Any], radius: float) -> npt.NDArray[np.bool_]:
        limit = np.float32(radius)
        is_product = self.metric_type == METRIC_INNER_PRODUCT
        return distances > limit if is_product else distances < limit


def _numbered(parts: Iterable[npt.NDArray[Any]], first: int) -> Iterator[tuple[_Ints, Any]]:
    for part in parts:
        yield np.arange(first, first + len(part)), part
        first += len(part)


# --------------------------------------------------------------------------------------------------
# The classes: what of voisin each of them is made of.


class IndexFlat(_Stored):
    """Exact search."""

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        super().__init__(d, metric)

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d, "metric": self.metric_type}


class IndexFlatL2(IndexFlat):
    """Exact search by squared Euclidean distances.

    >>> index = IndexFlatL2(2)
    >>> index.add(np.eye(2))
    >>> lims, D, I = index.range_search(np.zeros((1, 2)), 1.5)
    >>> lims, D, I
    (array([0, 2], dtype=uint64), array([1., 1.], dtype=float32), array([0, 1]))
    """

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d}


class IndexFlatIP(IndexFlat):
    """Exact search by inner products: by cosines, after `normalize_L2`."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d}


class HNSW:
    """The parameters of a graph: the attribute `hnsw` of indexes that have one.

    Attributes:
        efSearch: the number of candidates of a search; `k` if that is larger.
        efConstruction: the number of candidates of the search for an item's neighbors; it can be
            chosen until items are added.
    """

    def __init__(self, of: _Stored) -> None:
        self.efSearch = 16
        self._of, self._efConstruction = weakref.ref(of), 40

    @property
    def efConstruction(self) -> int:
        return self._efConstruction

    @efConstruction.setter
    def efConstruction(self, value: int) -> None:
        of = self._of()
        if of is not None and of._index is not None:
            raise _refused("the graph exists already: set efConstruction before adding items")
        self._efConstruction = int(value)


class _Graph(_Stored):
    """What indexes with a graph share."""

    def __init__(self, d: int, M: int, metric: int) -> None:
        super().__init__(d, metric)
        self._m, self.hnsw = int(M), HNSW(self)

    def _creation(self) -> dict[str, Any]:
        return {
            **super()._creation(),
            "kinds": ["hnsw"],
            "m": self._m,
            "m0": 2 * self._m,
            "ef_construction": self.hnsw.efConstruction,
            # voisin keeps fewer edges than FAISS of as many candidates, unless told to keep more.
            # Products need the few.
            "alpha": 1.0 if self._is_product() else 1.2,
        }

    def _effort(self, params: SearchParameters | None, k: int) -> dict[str, Any]:
        given = params if isinstance(params, SearchParametersHNSW) else self.hnsw
        # A search of voisin ends earlier than one of FAISS with as many candidates, the more so the
        # more edges there are: with these it finds no less, in less time.
        more = self._m / (32.0 if self._is_product() else 128.0)
        return {"ef": math.ceil(max(given.efSearch, k) * (1.0 + more))}

    def _is_product(self) -> bool:
        return self.metric_type == METRIC_INNER_PRODUCT

    def remove_ids(self, x: Any) -> int:
        """Refused: see `IndexIDMap2`."""
        raise _refused(
            "the items of a graph are labelled by their place: wrap an empty index in IndexIDMap2, "
            "which removes items by their ids"
        )

    def set_parameter(self, name: str, value: float) -> None:
        """Sets `"efSearch"` or `"efConstruction"`."""
        if name == "efSearch":
            self.hnsw.efSearch = int(value)
        elif name == "efConstruction":
            self.hnsw.efConstruction = int(value)
        else:
            super().set_parameter(name, value)

    def _parameters(self) -> dict[str, int]:
        return {"efConstruction": self.hnsw.efConstruction, "efSearch": self.hnsw.efSearch}


class IndexHNSWFlat(_Graph):
    """Search in a graph, of `M` neighbors and `2 * M` on the base layer. `hnsw.efSearch` and
    `hnsw.efConstruction` are FAISS's, with its defaults.

    >>> index = IndexHNSWFlat(2, 16)
    >>> index.hnsw.efSearch = 40
    >>> index.add(np.eye(2))
    >>> index.ntotal
    2
    """

    def __init__(self, d: int, M: int = 32, metric: int = METRIC_L2) -> None:
        super().__init__(d, M, metric)

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d, "M": self._m, "metric": self.metric_type}


# The bits a component that codes can have.
_BITS = (1, 2, 4, 7, 8)


def _product_bits(d: int, M: int, nbits: int) -> int:
    """The bits a component of codes that are no coarser than product quantization into M parts of
    nbits each."""
    if M < 1 or d % M:
        raise _refused(f"M is {M}, and {d} dimensions have not as many equal parts: use a divisor")
    if not 1 <= nbits <= 16:
        raise _refused(f"nbits is {nbits}: use 1 to 16")
    return min((bits for bits in _BITS if bits * d >= M * nbits), default=_BITS[-1])


class ScalarQuantizer:
    """The types of scalar quantization."""

    QT_8bit, QT_4bit, QT_8bit_uniform, QT_4bit_uniform, QT_fp16 = range(5)
    QT_8bit_direct, QT_6bit, QT_bf16, QT_8bit_direct_signed = range(5, 9)


_SQ = ScalarQuantizer
# How vectors are stored, and the bits a component of their codes; and whether FAISS trains it.
_QUANTIZED: dict[int, tuple[dict[str, Any], bool]] = {
    _SQ.QT_8bit: ({"codes": 8}, True),
    _SQ.QT_8bit_uniform: ({"codes": 8}, True),
    _SQ.QT_6bit: ({"codes": 7}, True),
    _SQ.QT_4bit: ({"codes": 4}, True),
    _SQ.QT_4bit_uniform: ({"codes": 4}, True),
    _SQ.QT_8bit_direct: ({"codes": 8}, False),
    _SQ.QT_8bit_direct_signed: ({"codes": 8}, False),
    _SQ.QT_fp16: ({"codes": None, "dtype": "f16"}, False),
    _SQ.QT_bf16: ({"codes": None, "dtype": "bf16"}, False),
}


def _quantized(qtype: int) -> tuple[dict[str, Any], bool]:
    if qtype not in _QUANTIZED:
        raise _refused(f"qtype is {qtype}: use one of ScalarQuantizer, such as QT_8bit")
    return _QUANTIZED[qtype]


class _Coded(_Stored):
    """What indexes with quantized codes share. Their search reads codes, and reranks by the
    vectors."""

    def _codes(self) -> dict[str, Any]:
        """Options of `voisin.create`."""
        raise NotImplementedError

    def _creation(self) -> dict[str, Any]:
        made = {**super()._creation(), **self._codes()}
        # Only Euclidean distances and products can be estimated from codes.
        return made if self.metric_type != METRIC_L1 else {**made, "codes": None}


class IndexPQ(_Coded):
    """Search by product quantization: here by codes of at least `M * nbits / d` bits a component,
    and exact."""

    def __init__(self, d: int, M: int, nbits: int, metric: int = METRIC_L2) -> None:
        super().__init__(d, metric, is_trained=False)
        self._bits, self._parts = _product_bits(d, M, nbits), (int(M), int(nbits))

    def _codes(self) -> dict[str, Any]:
        return {"codes": self._bits}

    def _arguments(self) -> dict[str, Any]:
        M, nbits = self._parts
        return {"d": self.d, "M": M, "nbits": nbits, "metric": self.metric_type}


class IndexScalarQuantizer(_Coded):
    """Search by scalar quantization: here by codes, and exact. Under `QT_fp16` and `QT_bf16` the
    vectors themselves are stored so."""

    def __init__(self, d: int, qtype: int, metric: int = METRIC_L2) -> None:
        super().__init__(d, metric, is_trained=not _quantized(qtype)[1])
        self._qtype = int(qtype)

    def _codes(self) -> dict[str, Any]:
        return _quantized(self._qtype)[0]

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d, "qtype": self._qtype, "metric": self.metric_type}


class _Lists(_Coded):
    """What indexes with inverted lists share.

    voisin chooses the number of its lists by the number of items, and keeps them in step with
    these. A search probes as many of them as find what FAISS finds in `nprobe` of `nlist`.
    """

    _has_ids = True

    def __init__(self, quantizer: Index, d: int, nlist: int, metric: int) -> None:
        super().__init__(d, metric, is_trained=False)
        if quantizer.d != d:
            raise _refused(f"the quantizer has {quantizer.d} dimensions: give one of {d}")
        if nlist < 1:
            raise _refused(f"nlist is {nlist}: use 1 or more")
        self.nlist, self.nprobe = int(nlist), 1

    def _effort(self, params: SearchParameters | None, k: int) -> dict[str, Any]:
        given = params if isinstance(params, SearchParametersIVF) else self
        if not self._has_lists() or given.nprobe >= self.nlist:
            return {"exact": True}
        # voisin has about so many for each one that was asked for. Where it has fewer, they are
        # larger, but fewer of them would miss more of the nearest.
        lists = 2.0 * math.sqrt(self.ntotal) / self.nlist
        return {"kind": "ivf", "nprobe": math.ceil(1.2 * given.nprobe * max(1.0, lists))}

    def _has_lists(self) -> bool:
        return self.metric_type != METRIC_L1

    def _creation(self) -> dict[str, Any]:
        made = super()._creation()
        return {**made, "kinds": ["ivf"]} if self._has_lists() else made

    def make_direct_map(self, new_maintain_direct_map: bool = True) -> None:
        """Nothing: every vector is found by its id."""

    def set_parameter(self, name: str, value: float) -> None:
        """Sets `"nprobe"`."""
        if name != "nprobe":
            super().set_parameter(name, value)
        self.nprobe = int(value)

    def _parameters(self) -> dict[str, int]:
        return {"nprobe": self.nprobe}

    @classmethod
    def _of(cls, arguments: dict[str, Any]) -> Index:
        return cls(IndexFlat(arguments["d"]), **arguments)


class IndexIVFFlat(_Lists):
    """Search in inverted lists."""

    def __init__(self, quantizer: Index, d: int, nlist: int, metric: int = METRIC_L2) -> None:
        super().__init__(quantizer, d, nlist, metric)

    def _codes(self) -> dict[str, Any]:
        return {"codes": None}

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d, "nlist": self.nlist, "metric": self.metric_type}


class IndexIVFPQ(_Lists):
    """Search in inverted lists, by codes: see `IndexPQ`."""

    def __init__(
        self,
        quantizer: Index,
        d: int,
        nlist: int,
        M: int,
        nbits_per_idx: int,
        metric: int = METRIC_L2,
    ) -> None:
        super().__init__(quantizer, d, nlist, metric)
        self._bits, self._parts = _product_bits(d, M, nbits_per_idx), (int(M), int(nbits_per_idx))

    def _codes(self) -> dict[str, Any]:
        return {"codes": self._bits}

    def _arguments(self) -> dict[str, Any]:
        M, nbits = self._parts
        of = {"d": self.d, "nlist": self.nlist, "metric": self.metric_type}
        return {**of, "M": M, "nbits_per_idx": nbits}


class IndexIVFScalarQuantizer(_Lists):
    """Search in inverted lists, by codes: see `IndexScalarQuantizer`."""

    def __init__(
        self, quantizer: Index, d: int, nlist: int, qtype: int, metric: int = METRIC_L2
    ) -> None:
        super().__init__(quantizer, d, nlist, metric)
        self._qtype, self._made = int(qtype), _quantized(qtype)[0]

    def _codes(self) -> dict[str, Any]:
        return self._made

    def _arguments(self) -> dict[str, Any]:
        of = {"d": self.d, "nlist": self.nlist, "metric": self.metric_type}
        return {**of, "qtype": self._qtype}


class IndexIDMap(Index):
    """Gives the items of another index, which is empty at first, ids of the caller's: any `int64`.

    Attributes:
        index: the other index.

    >>> index = IndexIDMap(IndexFlatL2(2))
    >>> index.add_with_ids(np.eye(2), np.array([70, -5]))
    >>> index.search(np.eye(2), 1)[1].tolist(), index.remove_ids(np.array([70])), index.ntotal
    ([[70], [-5]], 1, 1)
    """

    _has_ids = True

    def __init__(self, index: Index) -> None:
        if index.ntotal:
            raise _refused(f"the index has {index.ntotal} items: wrap an empty one")
        self.index = index
        self._labels = np.empty(0, dtype=np.int64)

    @property
    def d(self) -> int:  # type: ignore[override]
        """The number of dimensions."""
        return self.index.d

    @property
    def metric_type(self) -> int:  # type: ignore[override]
        """The metric."""
        return self.index.metric_type

    @property
    def is_trained(self) -> bool:
        """Whether items can be added."""
        return self.index.is_trained

    @is_trained.setter
    def is_trained(self, value: bool) -> None:
        self.index.is_trained = value

    @property
    def ntotal(self) -> int:
        """The number of items."""
        return self.index.ntotal

    @property
    def id_map(self) -> _Ints:
        """The ids of all items, of shape `(ntotal,)`."""
        return self._ids().copy()

    def add(self, x: Any) -> None:
        """Refused, as by FAISS: use `add_with_ids`."""
        raise _refused("items of this index have ids: use add_with_ids")

    def train(self, x: Any) -> None:
        """Trains the other index."""
        self.index.train(x)

    def reset(self) -> None:
        """Removes all items."""
        self.index.reset()
        self._labels = np.empty(0, dtype=np.int64)

    def set_parameter(self, name: str, value: float) -> None:
        """Sets a parameter of the other index."""
        self.index.set_parameter(name, value)

    def _rows(self, x: Any) -> npt.NDArray[Any]:
        return self.index._rows(x)

    def _append(self, count: int, parts: Iterable[npt.NDArray[Any]]) -> None:
        self.index._add(count, parts, None)

    def _nearest(
        self, rows: npt.NDArray[Any], k: int, params: SearchParameters | None, among: _Ints | None
    ) -> _Answer:
        return self.index._nearest(rows, k, params, among)

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: _Ints | None
    ) -> _Answer:
        return self.index._within(row, radius, params, among)

    def _within_nothing(self) -> _Answer:
        return self.index._within_nothing()

    def _at(self, places: _Ints) -> npt.NDArray[Any]:
        return self.index._at(places)

    def _drop(self, places: _Ints) -> None:
        self.index._drop(places)

    def _is_like(self, other: Index) -> bool:
        return isinstance(other, IndexIDMap) and self.index._is_like(other.index)

    def _like(self) -> Index:
        return type(self)(self.index._like())


class IndexIDMap2(IndexIDMap):
    """As `IndexIDMap`, which has `reconstruct` here, too."""


# --------------------------------------------------------------------------------------------------
# The classes for binary vectors.


class IndexBinary(_Stored):
    """What indexes of binary vectors have. Vectors are rows of `d / 8` bytes, of type `uint8`, as
    `numpy.packbits` makes them; distances are the number of bits that differ, of type `int32`."""

    def __init__(self, d: int) -> None:
        if d % 8:
            raise _refused(f"d is {d}: use a multiple of 8, the number of bits of a row")
        _Stored.__init__(self, d, METRIC_L2)

    def search_and_reconstruct(
        self, x: Any, k: int, *, params: SearchParameters | None = None
    ) -> tuple[npt.NDArray[Any], _Ints, npt.NDArray[Any]]:
        """Refused, as no vector stands for a missing item: use `reconstruct_batch`."""
        raise _refused("binary vectors are not found with their items: use reconstruct_batch")

    def _creation(self) -> dict[str, Any]:
        return {"metric": "hamming", "kinds": ["flat"]}

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d}

    def _rows(self, x: Any) -> npt.NDArray[Any]:
        rows = np.ascontiguousarray(x)
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != self.d // 8:
            raise _refused(
                f"an array of shape {rows.shape} and type {rows.dtype} is no rows: give one of (n, "
                f"{self.d // 8}) and uint8, such as numpy.packbits makes"
            )
        return rows

    def _answer(self, distances: npt.NDArray[Any], names: _Ints) -> _Answer:
        is_there = names >= 0
        counts = np.full(names.shape, np.iinfo(np.int32).max, dtype=np.int32)
        counts[is_there] = np.rint(distances[is_there] * self.d)
        return counts, self._placed(names)

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: _Ints | None
    ) -> _Answer:
        counts, places = super()._within(row, radius, params, among)
        # As FAISS has it.
        return counts.astype(np.float32), places

    def _within_nothing(self) -> _Answer:
        counts, places = super()._within_nothing()
        return counts.astype(np.float32), places

    def _at(self, places: _Ints) -> npt.NDArray[Any]:
        return np.packbits(super()._at(places) > 0, axis=1)

    def _bound(self, radius: float) -> float | None:
        return (math.ceil(radius) - 0.5) / self.d if radius > 0 else None


class IndexBinaryFlat(IndexBinary):
    """Exact search by Hamming distances.

    >>> index = IndexBinaryFlat(8)
    >>> index.add(np.array([[0b1010], [0b1111]], dtype="uint8"))
    >>> index.search(np.array([[0b1011]], dtype="uint8"), 2)
    (array([[1, 1]], dtype=int32), array([[0, 1]]))
    """


class IndexBinaryHNSW(IndexBinary, _Graph):
    """Search in a graph by Hamming distances: see `IndexHNSWFlat`."""

    def __init__(self, d: int, M: int = 32) -> None:
        IndexBinary.__init__(self, d)
        self._m, self.hnsw = int(M), HNSW(self)

    def _creation(self) -> dict[str, Any]:
        return {**_Graph._creation(self), "metric": "hamming"}

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d, "M": self._m}


class IndexBinaryIVF(IndexBinary):
    """Inverted lists of binary vectors, which voisin has not: every search compares all items, and
    is exact, whatever `nprobe` is."""

    _has_ids = True

    def __init__(self, quantizer: IndexBinary, d: int, nlist: int) -> None:
        super().__init__(d)
        if quantizer.d != d:
            raise _refused(f"the quantizer has {quantizer.d} dimensions: give one of {d}")
        self.nlist, self.nprobe, self.is_trained = int(nlist), 1, False

    def set_parameter(self, name: str, value: float) -> None:
        """Sets `"nprobe"`."""
        if name != "nprobe":
            super().set_parameter(name, value)
        self.nprobe = int(value)

    def _parameters(self) -> dict[str, int]:
        return {"nprobe": self.nprobe}

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d, "nlist": self.nlist}

    @classmethod
    def _of(cls, arguments: dict[str, Any]) -> Index:
        return cls(IndexBinaryFlat(arguments["d"]), **arguments)


class IndexBinaryIDMap(IndexIDMap):
    """As `IndexIDMap`, for a binary index."""


class IndexBinaryIDMap2(IndexBinaryIDMap):
    """As `IndexBinaryIDMap`."""


# --------------------------------------------------------------------------------------------------
# Files of indexes: archives in the format of zip, without compression. A folder has an index.
#
# | member | what it is |
# |---|---|
# | `index.json` | the class of the index, what its constructor takes, its parameters |
# | `ids.npy` | the ids of all items by their place, `int64`, unless these are the places |
# | `live.npy` | the ids that voisin has for them, ascending, unless these are 0, 1, 2, ... |
# | `data.mdb` | the file of the index of voisin, unless there are no items |
# | `index/` | the other index of an `IndexIDMap` |

_VERSION = 1
_CLASSES: dict[str, type[Index]] = {
    name: one
    for name, one in list(globals().items())
    if isinstance(one, type) and issubclass(one, Index) and name.startswith("Index")
}
del _CLASSES["Index"], _CLASSES["IndexBinary"]


def write_index(index: Index, fname: _Place) -> None:
    """Writes an index to a file, which appears as a whole or not at all. FAISS cannot read it."""
    path = Path(fname)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w") as to:
                _write(index, to, "")
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def read_index(fname: _Place, io_flags: int = 0) -> Index:
    """Reads an index from a file that `write_index` has written: a copy of it, as with FAISS, which
    cannot be changed under `IO_FLAG_READ_ONLY`.

    Raises:
        voisin.Corrupt: the file is damaged, or was written by something else.
    """
    with open(fname, "rb") as file:
        return _read_from(file, bool(io_flags & IO_FLAG_READ_ONLY))


write_index_binary, read_index_binary = write_index, read_index


def serialize_index(index: Index) -> npt.NDArray[np.uint8]:
    """The bytes that `write_index` writes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as to:
        _write(index, to, "")
    return np.frombuffer(file.getvalue(), dtype=np.uint8)


def deserialize_index(data: npt.NDArray[np.uint8]) -> Index:
    """An index from the bytes of `serialize_index`."""
    return _read_from(io.BytesIO(np.asarray(data, dtype=np.uint8).tobytes()))


def _write(index: Index, to: zipfile.ZipFile, at: str) -> None:
    """Writes an index to the folder `at` of an archive."""
    told: dict[str, Any] = {"version": _VERSION, "class": type(index).__name__}
    if index._labels is not None:
        _write_array(to, f"{at}ids.npy", index._labels)
    if isinstance(index, IndexIDMap):
        _write(index.index, to, f"{at}index/")
    elif isinstance(index, _Stored):
        told["arguments"], told["parameters"] = index._arguments(), index._parameters()
        told["is_trained"], told["next"] = index.is_trained, index._next
        if index._live is not None:
            _write_array(to, f"{at}live.npy", index._live)
        if index._index is not None:
            copy = copied(index._index, _parent)
            to.write(copy.path / DATA, f"{at}{DATA}")
    to.writestr(f"{at}index.json", json.dumps(told))


def _write_array(to: zipfile.ZipFile, name: str, values: _Ints) -> None:
    with to.open(name, "w", force_zip64=True) as file:
        np.save(file, values, allow_pickle=False)


def _read_from(file: BinaryIO, read_only: bool = False) -> Index:
    try:
        with zipfile.ZipFile(file) as of:
            return _read(of, "", read_only)
    except Exception as error:
        is_of_disk = isinstance(error, OSError) and error.errno != errno.EINVAL
        if is_of_disk or isinstance(error, voisin.DataError):
            raise
        # Whatever the bytes are, such as an offset before the file, they are no index.
        raise _exception(
            "Corrupt",
            "data",
            f"this is no index of voisin.faiss, or it is damaged ({error}): read an index of FAISS "
            "by FAISS, and add its vectors to one of voisin",
            None,
            None,
        ) from error


def _read(of: zipfile.ZipFile, at: str, read_only: bool) -> Index:
    names = of.namelist()
    told = json.loads(of.read(f"{at}index.json"))
    if told["version"] != _VERSION:
        message = f"the file has version {told['version']}: read it by the voisin that wrote it"
        raise _exception("FormatVersion", "data", message, told["version"], _VERSION)
    kind = _CLASSES[told["class"]]
    index: Index
    if issubclass(kind, IndexIDMap):
        inner = _read(of, f"{at}index/", read_only)
        wrapper = kind(inner._like())
        wrapper.index, index = inner, wrapper
    else:
        index = kind._of(told["arguments"])
        for name, value in told["parameters"].items():
            index.set_parameter(name, value)
        index.is_trained = bool(told["is_trained"])
    if isinstance(index, _Stored):
        index._next = int(told["next"])
        index._live = _read_array(of, f"{at}live.npy") if f"{at}live.npy" in names else None
        if f"{at}{DATA}" in names:
            _open_data(index, of, f"{at}{DATA}", read_only)
    if f"{at}ids.npy" in names:
        index._labels = _read_array(of, f"{at}ids.npy")
    if index._labels is not None and len(index._labels) != index.ntotal:
        raise ValueError(f"{len(index._labels)} ids of {index.ntotal} items")
    return index


def _open_data(index: _Stored, of: zipfile.ZipFile, name: str, read_only: bool) -> None:
    folder = Folder(_parent)
    with of.open(name) as data, open(folder.path / DATA, "wb") as to:
        shutil.copyfileobj(data, to, 1 << 20)
    opened = voisin.open(folder.path, map_size=_MAP_BYTES, read_only=read_only)
    if (len(opened), opened.dimensions) != (index.ntotal, index.d):
        raise ValueError(f"{len(opened)} items of {opened.dimensions} dimensions")
    index._folder, index._index = folder, opened


def _read_array(of: zipfile.ZipFile, name: str) -> _Ints:
    with of.open(name) as file:
        values = np.load(io.BytesIO(file.read()), allow_pickle=False)
    if values.ndim != 1 or values.dtype != np.int64:
        raise ValueError(f"{name} has shape {values.shape} and type {values.dtype}")
    return np.asarray(values)


# --------------------------------------------------------------------------------------------------
# Indexes from descriptions and from other indexes.

_SCALARS = {
    "SQ8": ScalarQuantizer.QT_8bit,
    "SQ6": ScalarQuantizer.QT_6bit,
    "SQ4": ScalarQuantizer.QT_4bit,
    "SQfp16": ScalarQuantizer.QT_fp16,
    "SQbf16": ScalarQuantizer.QT_bf16,
}


def index_factory(d: int, description: str, metric: int = METRIC_L2) -> Index:
    """Makes an index from a description: `"Flat"`, `"HNSW32"`, `"PQ16"` (`"PQ16x4"`), `"SQ8"`
    (`"SQ6"`, `"SQ4"`, `"SQfp16"`, `"SQbf16"`); `"IVF100,Flat"`, and the same with these; each of
    them after `"IDMap,"` or `"IDMap2,"`.

    >>> index_factory(64, "IDMap2,HNSW32")
    <voisin.faiss.IndexIDMap2: 0 items, d 64>
    """
    parts = [part for part in re.split(r"\s*,\s*", description.strip()) if part]
    wrapper = next((part for part in parts if part in ("IDMap", "IDMap2")), None)
    if wrapper is not None:
        parts.remove(wrapper)
    index = _described(d, parts, metric, description)
    if wrapper is None:
        return index
    return IndexIDMap(index) if wrapper == "IDMap" else IndexIDMap2(index)


def _described(d: int, parts: list[str], metric: int, description: str) -> Index:
    lists = re.fullmatch(r"IVF(\d+)(?:_HNSW\d*)?", parts[0]) if len(parts) == 2 else None
    graph = re.fullmatch(r"HNSW(\d*)", parts[0]) if parts else None
    last = parts[-1] if parts else ""
    product = re.fullmatch(r"PQ(\d+)(?:x(\d+))?(?:np)?", last)
    if graph and (len(parts) == 1 or parts[1:] == ["Flat"]):
        return IndexHNSWFlat(d, int(graph[1] or 32), metric)
    if lists is not None:
        nlist, quantizer = int(lists[1]), IndexFlat(d, metric)
        if last == "Flat":
            return IndexIVFFlat(quantizer, d, nlist, metric)
        if product:
            bits = int(product[2] or 8)
            return IndexIVFPQ(quantizer, d, nlist, int(product[1]), bits, metric)
        if last in _SCALARS:
            return IndexIVFScalarQuantizer(quantizer, d, nlist, _SCALARS[last], metric)
    if len(parts) == 1:
        if last == "Flat":
            return IndexFlat(d, metric)
        if product:
            return IndexPQ(d, int(product[1]), int(product[2] or 8), metric)
        if last in _SCALARS:
            return IndexScalarQuantizer(d, _SCALARS[last], metric)
    raise _refused(
        f"there is no index {description!r} here: use Flat, HNSW32, PQ16, SQ8, IVF100 with Flat, "
        "PQ16 or SQ8, and IDMap or IDMap2 before any of them"
    )


def index_binary_factory(d: int, description: str) -> Index:
    """Makes a binary index from a description: `"BFlat"`, `"BHNSW32"` or `"BIVF100"`."""
    found = re.fullmatch(r"B(?:Flat|HNSW(\d+)|IVF(\d+))", description.strip())
    if not found:
        raise _refused(f"there is no index {description!r} here: use BFlat, BHNSW32 or BIVF100")
    if found[1]:
        return IndexBinaryHNSW(d, int(found[1]))
    if found[2]:
        return IndexBinaryIVF(IndexBinaryFlat(d), d, int(found[2]))
    return IndexBinaryFlat(d)


class ParameterSpace:
    """Sets parameters by their names, from a string."""

    def set_index_parameter(self, index: Index, name: str, value: float) -> None:
        """Sets one parameter: see `Index.set_parameter`."""
        index.set_parameter(name, value)

    def set_index_parameters(self, index: Index, description_in: str) -> None:
        """Sets several, such as `"nprobe=16"`, separated by commas."""
        for part in filter(None, description_in.split(",")):
            name, _, value = part.partition("=")
            index.set_parameter(name.strip(), float(value))


def normalize_L2(x: npt.NDArray[np.float32]) -> None:
    """Divides each row of a `float32` matrix by its length, in place. Rows of zeros stay."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    np.divide(x, lengths, out=x, where=lengths > 0)


def vector_to_array(v: Any) -> npt.NDArray[Any]:
    """An array of a vector, such as `IndexIDMap.id_map`."""
    return np.array(v)


def merge_indices(indices: Iterable[Index]) -> Index:
    """A new index with all items of others of one class, dimensions and metric, which stay as they
    are.

    >>> parts = [IndexFlat(1), IndexFlat(1)]
    >>> for part in parts:
    ...     part.add([[1.0], [2.0]])
    >>> merge_indices(parts).ntotal, [part.ntotal for part in parts]
    (4, [2, 2])
    """
    all_of_them = list(indices)
    if not all_of_them:
        raise _refused("there is nothing to merge: give at least one index")
    merged = all_of_them[0]._like()
    for index in all_of_them:
        if not merged._is_like(index):
            raise _refused(
                f"{index!r} cannot be merged: give indexes of one class, dimensions and metric"
            )
    for index in all_of_them:
        merged._copy(index, np.arange(index.ntotal))
    return merged


def split_index(index: Index, num_parts: int = 2) -> list[Index]:
    """New indexes like this one, each with an equal part of its items, in their order. Ids are
    kept, if there are any."""
    if num_parts < 1:
        raise _refused(f"num_parts is {num_parts}: use 1 or more")
    parts = []
    for places in np.array_split(np.arange(index.ntotal), num_parts):
        part = index._like()
        part._copy(index, places)
        parts.append(part)
    return parts


def clone_index(index: Index) -> Index:
    """A copy of an index."""
    return deserialize_index(serialize_index(index))
