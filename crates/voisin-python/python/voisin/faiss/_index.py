"""Indexes of FAISS, and those of them that store vectors: in an index of voisin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

import voisin
from voisin._temporary import Folder
from voisin.faiss._asked import (
    METRIC_INNER_PRODUCT,
    METRICS,
    IDSelector,
    IDSelectorBatch,
    Ints,
    SearchParameters,
    parent,
    refused,
)

# From so many rows on, a load is quicker than an add, and needs less memory.
_LOADED_ROWS = 10_000
# Rows that are copied at a time from one index to another.
_COPIED_ROWS = 8_192
# The address space that an index begins with; it grows. Small, as a program may have thousands.
MAP_BYTES = 1 << 28

# Distances and labels, or places of items.
Answer = tuple[npt.NDArray[Any], Ints]


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
    _labels: Ints | None = None
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
            raise refused("there is nothing to train on: give at least one row")
        self.is_trained = True

    def add(self, x: Any) -> None:
        """Adds items, an array of shape `(n, d)`, which is taken as `float32`, and commits."""
        rows = self._rows(x)
        self._add(len(rows), [rows], None)

    def add_with_ids(self, x: Any, ids: Any) -> None:
        """Adds items that are labelled by `ids`, of shape `(n,)` and type `int64`. Equal ids are
        several items."""
        if not self._has_ids:
            raise refused(
                f"items of {type(self).__name__} are labelled by their place: wrap an empty index "
                "in IndexIDMap2"
            )
        rows, labels = self._rows(x), np.array(ids, dtype=np.int64).ravel()
        if len(labels) != len(rows):
            raise refused(f"there are {len(rows)} rows and {len(labels)} ids: give one for each")
        self._add(len(rows), [rows], labels)

    def search(
        self,
        x: Any,
        k: int,
        *,
        params: SearchParameters | None = None,
        D: npt.NDArray[Any] | None = None,
        I: npt.NDArray[Any] | None = None,
    ) -> Answer:
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
            raise refused(f"k is {k}: search for at least 1 item")
        distances, places = self._nearest(self._rows(x), int(k), params, self._among(params))
        labels = self._labelled(places)
        return _put(D, distances), _put(I, labels)

    def assign(self, x: Any, k: int, labels: npt.NDArray[Any] | None = None) -> Ints:
        """The labels that `search` finds."""
        return self.search(x, k, I=labels)[1]

    def search_and_reconstruct(
        self, x: Any, k: int, *, params: SearchParameters | None = None
    ) -> tuple[npt.NDArray[Any], Ints, npt.NDArray[Any]]:
        """As `search`, and the vectors of the items, of shape `(n, k, d)`, NaN where there are
        none."""
        distances, labels = self.search(x, k, params=params)
        vectors = np.full((*labels.shape, self.d), np.nan, dtype=np.float32)
        vectors[labels >= 0] = self.reconstruct_batch(labels[labels >= 0])
        return distances, labels, vectors

    def range_search(
        self, x: Any, thresh: float, *, params: SearchParameters | None = None
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any], Ints]:
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
            raise refused(f"there are no items {n0} to {end} of {self.ntotal}: give others")
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
            raise refused(
                f"{self!r} and {otherIndex!r} cannot be merged: give another index of the same "
                "class, dimensions and metric"
            )
        if add_id and not self._has_ids:
            raise refused("items are labelled by their place, not by ids: leave add_id out")
        self._copy(otherIndex, np.arange(otherIndex.ntotal), add_id)
        otherIndex.reset()

    def set_parameter(self, name: str, value: float) -> None:
        """Sets a parameter by its name: `"nprobe"`, `"efSearch"` or `"efConstruction"`."""
        raise refused(f"{type(self).__name__} has no parameter {name!r}: leave it out")

    def __reduce__(self) -> tuple[Any, ...]:
        from voisin.faiss._files import deserialize_index, serialize_index

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
        self, rows: npt.NDArray[Any], k: int, params: SearchParameters | None, among: Ints | None
    ) -> Answer:
        raise NotImplementedError

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: Ints | None
    ) -> Answer:
        raise NotImplementedError

    def _within_nothing(self) -> Answer:
        raise NotImplementedError

    def _at(self, places: Ints) -> npt.NDArray[Any]:
        raise NotImplementedError

    def _drop(self, places: Ints) -> None:
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

    def _add(self, n: int, parts: Iterable[npt.NDArray[Any]], labels: Ints | None) -> None:
        if not self.is_trained:
            raise refused(f"this {type(self).__name__} is not trained: call train(x) first")
        before = None if labels is None and self._labels is None else self._ids()
        if n:
            self._append(n, parts)
        if before is not None:
            if labels is None:
                labels = np.arange(n) + (before.max() + 1 if len(before) else 0)
            self._labels = np.concatenate([before, labels])

    def _copy(self, other: Index, places: Ints, add_id: int = 0) -> None:
        """Copies items of an index like this one, not all at a time."""
        parts = (
            other._at(places[first : first + _COPIED_ROWS])
            for first in range(0, len(places), _COPIED_ROWS)
        )
        labels = None
        if self._has_ids and (self._labels is not None or other._labels is not None or add_id):
            labels = other._ids()[places] + add_id
        self._add(len(places), parts, labels)

    def _ids(self) -> Ints:
        """The labels of all items."""
        return np.arange(self.ntotal) if self._labels is None else self._labels

    def _labelled(self, places: Ints) -> Ints:
        if self._labels is None or not len(self._labels):
            return places
        return np.where(places < 0, -1, self._labels[places])

    def _found(self, labels: Ints) -> Ints:
        """The places of labels."""
        known = self._ids()
        order = np.argsort(known, kind="stable")
        at = np.searchsorted(known, labels, side="right", sorter=order) - 1
        places = order[at] if len(known) else at
        is_there = (at >= 0) & (known[places] == labels) if len(known) else at >= 0
        if not is_there.all():
            missing = labels[~is_there][0]
            raise refused(f"there is no item {missing} in this index: give the label of one")
        return places

    def _among(self, params: SearchParameters | None) -> Ints | None:
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


class Stored(Index):
    """An index of voisin, made with the first items. Its ids are numbers that are never used again;
    `_live` has those of all items, ascending, unless these are 0, 1, 2, ..."""

    _folder: Folder | None
    _index: voisin.Index | None
    _next: int
    _live: Ints | None

    def __init__(self, d: int, metric: int, is_trained: bool = True) -> None:
        if metric not in METRICS:
            raise refused(f"metric is {metric}: use METRIC_L2, METRIC_INNER_PRODUCT or METRIC_L1")
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
        return {"metric": METRICS[self.metric_type], "codes": None, "kinds": ["flat"]}

    def _effort(self, params: SearchParameters | None, k: int) -> dict[str, Any]:
        """Options of `voisin.Index.search`."""
        return {"exact": True}

    def _rows(self, x: Any) -> npt.NDArray[Any]:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.d:
            raise refused(f"an array of shape {rows.shape} is no rows: give one of (n, {self.d})")
        return rows

    def _append(self, count: int, parts: Iterable[npt.NDArray[Any]]) -> None:
        if self._index is None:
            folder = Folder(parent())
            made = voisin.create(folder.path, self.d, map_size=MAP_BYTES, **self._creation())
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
        self, rows: npt.NDArray[Any], k: int, params: SearchParameters | None, among: Ints | None
    ) -> Answer:
        if self._index is None:
            return self._filled(len(rows), k)
        found = self._index.search(rows, k, filter=self._names(among), **self._effort(params, k))
        return self._answer(found.distances, found.ids)

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: Ints | None
    ) -> Answer:
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

    def _within_nothing(self) -> Answer:
        distances, places = self._filled(1, 0)
        return distances[0], places[0]

    def _at(self, places: Ints) -> npt.NDArray[Any]:
        if self._index is None:
            return np.empty((0, self.d), dtype=np.float32)
        return self._index.vectors(self._names(places))

    def _drop(self, places: Ints) -> None:
        if self._index is not None:
            self._index.delete(self._names(places))
            live = np.arange(self._next) if self._live is None else self._live
            self._live = np.delete(live, places)

    def _names(self, places: Any) -> Any:
        return places if self._live is None or places is None else self._live[places]

    def _answer(self, distances: npt.NDArray[Any], names: Ints) -> Answer:
        """From voisin's distances and ids."""
        is_product = self.metric_type == METRIC_INNER_PRODUCT
        if is_product:
            distances = np.negative(distances)
        if names.size and names.min() < 0:
            limit = np.finfo(np.float32).max
            distances = np.where(names < 0, -limit if is_product else limit, distances)
        return distances, self._placed(names)

    def _placed(self, names: Ints) -> Ints:
        if self._live is None:
            return names
        return np.where(names < 0, -1, np.searchsorted(self._live, names))

    def _filled(self, n: int, k: int) -> Answer:
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


def _numbered(parts: Iterable[npt.NDArray[Any]], first: int) -> Iterator[tuple[Ints, Any]]:
    for part in parts:
        yield np.arange(first, first + len(part)), part
        first += len(part)
