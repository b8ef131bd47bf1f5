"""The classes of FAISS for binary vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from voisin.faiss._asked import METRIC_L2, Ints, SearchParameters, refused
from voisin.faiss._classes import HNSW, Graph, IndexIDMap
from voisin.faiss._index import Answer, Index, Stored


class IndexBinary(Stored):
    """What indexes of binary vectors have. Vectors are rows of `d / 8` bytes, of type `uint8`, as
    `numpy.packbits` makes them; distances are the number of bits that differ, of type `int32`."""

    def __init__(self, d: int) -> None:
        if d % 8:
            raise refused(f"d is {d}: use a multiple of 8, the number of bits of a row")
        Stored.__init__(self, d, METRIC_L2)

    def search_and_reconstruct(
        self, x: Any, k: int, *, params: SearchParameters | None = None
    ) -> tuple[npt.NDArray[Any], Ints, npt.NDArray[Any]]:
        """Refused, as no vector stands for a missing item: use `reconstruct_batch`."""
        raise refused("binary vectors are not found with their items: use reconstruct_batch")

    def _creation(self) -> dict[str, Any]:
        return {"metric": "hamming", "kinds": ["flat"]}

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d}

    def _rows(self, x: Any) -> npt.NDArray[Any]:
        rows = np.ascontiguousarray(x)
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != self.d // 8:
            raise refused(
                f"an array of shape {rows.shape} and type {rows.dtype} is no rows: give one of (n, "
                f"{self.d // 8}) and uint8, such as numpy.packbits makes"
            )
        return rows

    def _answer(self, distances: npt.NDArray[Any], names: Ints) -> Answer:
        is_there = names >= 0
        counts = np.full(names.shape, np.iinfo(np.int32).max, dtype=np.int32)
        counts[is_there] = np.rint(distances[is_there] * self.d)
        return counts, self._placed(names)

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: Ints | None
    ) -> Answer:
        counts, places = super()._within(row, radius, params, among)
        # As FAISS has it.
        return counts.astype(np.float32), places

    def _within_nothing(self) -> Answer:
        counts, places = super()._within_nothing()
        return counts.astype(np.float32), places

    def _at(self, places: Ints) -> npt.NDArray[Any]:
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


class IndexBinaryHNSW(IndexBinary, Graph):
    """Search in a graph by Hamming distances: see `IndexHNSWFlat`."""

    def __init__(self, d: int, M: int = 32) -> None:
        IndexBinary.__init__(self, d)
        self._m, self.hnsw = int(M), HNSW(self)

    def _creation(self) -> dict[str, Any]:
        return {**Graph._creation(self), "metric": "hamming"}

    def _arguments(self) -> dict[str, Any]:
        return {"d": self.d, "M": self._m}


class IndexBinaryIVF(IndexBinary):
    """Inverted lists of binary vectors, which voisin has not: every search compares all items, and
    is exact, whatever `nprobe` is."""

    _has_ids = True

    def __init__(self, quantizer: IndexBinary, d: int, nlist: int) -> None:
        super().__init__(d)
        if quantizer.d != d:
            raise refused(f"the quantizer has {quantizer.d} dimensions: give one of {d}")
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
