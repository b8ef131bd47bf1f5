"""Indexes from descriptions and from other indexes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from voisin.faiss._asked import METRIC_L2, refused
from voisin.faiss._binary import IndexBinaryFlat, IndexBinaryHNSW, IndexBinaryIVF
from voisin.faiss._classes import (
    IndexFlat,
    IndexHNSWFlat,
    IndexIDMap,
    IndexIDMap2,
    IndexIVFFlat,
    IndexIVFPQ,
    IndexIVFScalarQuantizer,
    IndexPQ,
    IndexScalarQuantizer,
    ScalarQuantizer,
)
from voisin.faiss._files import deserialize_index, serialize_index
from voisin.faiss._index import Index

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
    raise refused(
        f"there is no index {description!r} here: use Flat, HNSW32, PQ16, SQ8, IVF100 with Flat, "
        "PQ16 or SQ8, and IDMap or IDMap2 before any of them"
    )


def index_binary_factory(d: int, description: str) -> Index:
    """Makes a binary index from a description: `"BFlat"`, `"BHNSW32"` or `"BIVF100"`."""
    found = re.fullmatch(r"B(?:Flat|HNSW(\d+)|IVF(\d+))", description.strip())
    if not found:
        raise refused(f"there is no index {description!r} here: use BFlat, BHNSW32 or BIVF100")
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
        raise refused("there is nothing to merge: give at least one index")
    merged = all_of_them[0]._like()
    for index in all_of_them:
        if not merged._is_like(index):
            raise refused(
                f"{index!r} cannot be merged: give indexes of one class, dimensions and metric"
            )
    for index in all_of_them:
        merged._copy(index, np.arange(index.ntotal))
    return merged


def split_index(index: Index, num_parts: int = 2) -> list[Index]:
    """New indexes like this one, each with an equal part of its items, in their order. Ids are
    kept, if there are any."""
    if num_parts < 1:
        raise refused(f"num_parts is {num_parts}: use 1 or more")
    parts = []
    for places in np.array_split(np.arange(index.ntotal), num_parts):
        part = index._like()
        part._copy(index, places)
        parts.append(part)
    return parts


def clone_index(index: Index) -> Index:
    """A copy of an index."""
    return deserialize_index(serialize_index(index))
