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

from voisin.faiss._asked import (
    IO_FLAG_MMAP,
    IO_FLAG_READ_ONLY,
    METRIC_INNER_PRODUCT,
    METRIC_L1,
    METRIC_L2,
    Error,
    IDSelector,
    IDSelectorArray,
    IDSelectorBatch,
    IDSelectorNot,
    IDSelectorRange,
    SearchParameters,
    SearchParametersHNSW,
    SearchParametersIVF,
    configure,
)
from voisin.faiss._binary import (
    IndexBinary,
    IndexBinaryFlat,
    IndexBinaryHNSW,
    IndexBinaryIDMap,
    IndexBinaryIDMap2,
    IndexBinaryIVF,
)
from voisin.faiss._classes import (
    HNSW,
    IndexFlat,
    IndexFlatIP,
    IndexFlatL2,
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
from voisin.faiss._factory import (
    ParameterSpace,
    clone_index,
    index_binary_factory,
    index_factory,
    merge_indices,
    normalize_L2,
    split_index,
    vector_to_array,
)
from voisin.faiss._files import (
    deserialize_index,
    read_index,
    read_index_binary,
    serialize_index,
    write_index,
    write_index_binary,
)
from voisin.faiss._index import Index

__all__ = [
    "Error",
    "HNSW",
    "IDSelector",
    "IDSelectorArray",
    "IDSelectorBatch",
    "IDSelectorNot",
    "IDSelectorRange",
    "IO_FLAG_MMAP",
    "IO_FLAG_READ_ONLY",
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
    "METRIC_INNER_PRODUCT",
    "METRIC_L1",
    "METRIC_L2",
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
