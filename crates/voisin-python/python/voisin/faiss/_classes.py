"""The classes of FAISS: what of voisin each of them is made of."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from voisin.faiss._asked import (
    METRIC_INNER_PRODUCT,
    METRIC_L1,
    METRIC_L2,
    Ints,
    SearchParameters,
    SearchParametersHNSW,
    SearchParametersIVF,
    refused,
)
from voisin.faiss._index import Answer, Index, Stored


class IndexFlat(Stored):
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

    def __init__(self, of: Stored) -> None:
        self.efSearch = 16
        self._of, self._efConstruction = weakref.ref(of), 40

    @property
    def efConstruction(self) -> int:
        return self._efConstruction

    @efConstruction.setter
    def efConstruction(self, value: int) -> None:
        of = self._of()
        if of is not None and of._index is not None:
            raise refused("the graph exists already: set efConstruction before adding items")
        self._efConstruction = int(value)


class Graph(Stored):
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
        raise refused(
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


class IndexHNSWFlat(Graph):
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
        raise refused(f"M is {M}, and {d} dimensions have not as many equal parts: use a divisor")
    if not 1 <= nbits <= 16:
        raise refused(f"nbits is {nbits}: use 1 to 16")
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
        raise refused(f"qtype is {qtype}: use one of ScalarQuantizer, such as QT_8bit")
    return _QUANTIZED[qtype]


class _Coded(Stored):
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
    these. A search probes the share of them that `nprobe` is of `nlist`.
    """

    _has_ids = True

    def __init__(self, quantizer: Index, d: int, nlist: int, metric: int) -> None:
        super().__init__(d, metric, is_trained=False)
        if quantizer.d != d:
            raise refused(f"the quantizer has {quantizer.d} dimensions: give one of {d}")
        if nlist < 1:
            raise refused(f"nlist is {nlist}: use 1 or more")
        self.nlist, self.nprobe = int(nlist), 1

    def _effort(self, params: SearchParameters | None, k: int) -> dict[str, Any]:
        given = params if isinstance(params, SearchParametersIVF) else self
        if not self._has_lists() or given.nprobe >= self.nlist:
            return {"exact": True}
        # voisin has about so many.
        lists = 2.0 * math.sqrt(self.ntotal)
        return {"kind": "ivf", "nprobe": max(1, math.ceil(given.nprobe / self.nlist * lists))}

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
            raise refused(f"the index has {index.ntotal} items: wrap an empty one")
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
    def id_map(self) -> Ints:
        """The ids of all items, of shape `(ntotal,)`."""
        return self._ids().copy()

    def add(self, x: Any) -> None:
        """Refused, as by FAISS: use `add_with_ids`."""
        raise refused("items of this index have ids: use add_with_ids")

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
        self, rows: npt.NDArray[Any], k: int, params: SearchParameters | None, among: Ints | None
    ) -> Answer:
        return self.index._nearest(rows, k, params, among)

    def _within(
        self, row: npt.NDArray[Any], radius: float, params: Any, among: Ints | None
    ) -> Answer:
        return self.index._within(row, radius, params, among)

    def _within_nothing(self) -> Answer:
        return self.index._within_nothing()

    def _at(self, places: Ints) -> npt.NDArray[Any]:
        return self.index._at(places)

    def _drop(self, places: Ints) -> None:
        self.index._drop(places)

    def _is_like(self, other: Index) -> bool:
        return isinstance(other, IndexIDMap) and self.index._is_like(other.index)

    def _like(self) -> Index:
        return type(self)(self.index._like())


class IndexIDMap2(IndexIDMap):
    """As `IndexIDMap`, which has `reconstruct` here, too."""
