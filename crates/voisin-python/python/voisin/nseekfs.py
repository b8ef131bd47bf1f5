"""The functions of NSeekFS over voisin: `from_embeddings`, `load_index`, `create_index`, and what
queries an index.

A program that was written for NSeekFS runs with ``import voisin.nseekfs as nseekfs``. An index is a
folder of voisin's, where NSeekFS has a file. `docs/doors/nseekfs.md` of the repository says what
else differs.

>>> import numpy as np
>>> import voisin.nseekfs as nseekfs
>>> index = nseekfs.from_embeddings(np.eye(8), ann=False)
>>> index.query(np.eye(8)[3], top_k=2)
[{'idx': 3, 'score': 1.0}, {'idx': 0, 'score': 0.0}]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import voisin
from voisin._temporary import Folder, moved, owned
from voisin.errors import _exception

__all__ = ["SearchEngine", "create_index", "from_bin", "from_embeddings", "load_index"]

Level = Literal["f8", "f16", "f32"]
Similarity = Literal["cosine", "euclidean", "dot_product", "dot"]

_Path = str | os.PathLike[str]
_Scores = npt.NDArray[np.float32]
_Hits = list[dict[str, Any]]


def _cosines(distances: _Scores) -> _Scores:
    return np.float32(1.0) - np.float32(2.0) * distances


def _same(distances: _Scores) -> _Scores:
    return distances


# The metric of a similarity, by which its index is named, too; and scores from its distances.
_SIMILARITIES: dict[str, tuple[str, Callable[[_Scores], _Scores]]] = {
    "cosine": ("cosine", _cosines),
    "dot": ("dot product", np.negative),
    "dot_product": ("dot product", np.negative),
    "euclidean": ("euclidean", _same),
}
_LEVELS = {"f8": "i8", "f16": "f16", "f32": "f32"}
_METHODS = ("auto", "simd", "scalar")


def _refused(message: str) -> voisin.VoisinError:
    return _exception("InvalidParameter", "caller", message, None, None)


class SearchEngine:
    """An index: `from_embeddings` and `load_index` make one."""

    def __init__(self, path: Path, index: voisin.Index, ann: bool, folder: Folder | None) -> None:
        self.index_path = path
        self.ann = ann
        # By metric. All have the same vectors, under the ids 0, 1, 2, ...
        self._indexes = {index.metric: index}
        self._first = index
        self._folder = folder
        owned(self, path)

    def close(self) -> None:
        """Closes the index. Making another one in its place does so, too."""
        for index in self._indexes.values():
            index.close()

    @property
    def dims(self) -> int:
        """The number of dimensions."""
        return self._first.dimensions

    @property
    def rows(self) -> int:
        """The number of vectors."""
        return len(self._first)

    @property
    def metric(self) -> str:
        """The similarity that queries go by unless they name another one."""
        return next(name for name, (of, _) in _SIMILARITIES.items() if of == self._first.metric)

    @property
    def level(self) -> str:
        """The precision of the stored vectors: `"f8"`, `"f16"` or `"f32"`."""
        return next(level for level, of in _LEVELS.items() if of == self._first.dtype)

    @property
    def normalized(self) -> bool:
        """Whether the vectors have length 1: the first 1 000 of them, up to 1 %."""
        some = self._first.vectors(np.arange(min(self.rows, 1000)))
        return bool(np.allclose(np.linalg.norm(some, axis=1), 1.0, atol=0.01))

    def query(
        self,
        query_vector: Any,
        top_k: int = 10,
        *,
        method: str = "auto",
        similarity: Similarity | None = None,
        format: Literal["simple"] = "simple",
    ) -> _Hits:
        """Finds the vectors that are most similar to one.

        Args:
            query_vector: an array of shape `(dims,)`.
            top_k: the number of vectors to find, from 1 on.
            method: `"auto"`, `"simd"` or `"scalar"`: voisin chooses itself, and all have the same
                answer.
            similarity: `"cosine"`, `"euclidean"` or `"dot_product"` (`"dot"`), that of the index
                unless given. The first query by another one makes a further index of the vectors
                in the same folder.
            format: `"simple"`.

        Returns:
            A dict for each, the most similar first: `idx`, the number of its row, and `score`: the
            cosine, the inner product, or the squared Euclidean distance.
        """
        if method not in _METHODS:
            raise _refused(f"method is {method!r}: use one of {', '.join(_METHODS)}")
        if format != "simple":
            raise _refused(f"format is {format!r}: use 'simple'")
        indices, scores = self._found(query_vector, 1, top_k, similarity)
        return _hits(indices, scores)

    def query_simple(self, query_vector: Any, top_k: int = 10) -> _Hits:
        """As `query`."""
        return self.query(query_vector, top_k)

    def query_batch(self, queries: Any, top_k: int = 10) -> list[_Hits]:
        """The answers of `query` to each row of an array of shape `(n, dims)`."""
        indices, scores = self._found(queries, 2, top_k, None)
        return [_hits(*row) for row in zip(indices, scores, strict=True)]

    def query_simple_arrays(self, query_vector: Any, top_k: int = 10) -> dict[str, Any]:
        """The answer of `query` as arrays: `indices`, of type `uint64`, and `scores`, `float32`."""
        indices, scores = self._found(query_vector, 1, top_k, None)
        return {"indices": indices.astype(np.uint64), "scores": scores}

    def query_batch_arrays(self, queries: Any, top_k: int = 10) -> dict[str, Any]:
        """The answers of `query_batch` as arrays of shape `(n, top_k)`."""
        indices, scores = self._found(queries, 2, top_k, None)
        return {"indices": indices.astype(np.uint64), "scores": scores}

    def _found(
        self, query: Any, ndim: int, top_k: int, similarity: str | None
    ) -> tuple[npt.NDArray[np.int64], _Scores]:
        query = np.asarray(query, dtype=np.float32)
        if query.ndim != ndim:
            raise _refused(f"the query has {query.ndim} dimensions: give an array of {ndim}")
        if top_k < 1:
            raise _refused(f"top_k is {top_k}: search for at least 1 vector")
        index, scores = self._by(similarity)
        k = min(int(top_k), self.rows)
        found = index.search(query, k) if self.ann else index.search(query, k, exact=True)
        return found.ids, scores(found.distances)

    def _by(self, similarity: str | None) -> tuple[voisin.Index, Callable[[_Scores], _Scores]]:
        """The index of a similarity, and what makes scores of its distances."""
        if similarity is None:
            similarity = self._first.metric.partition(" ")[0]
        if similarity not in _SIMILARITIES:
            raise _refused(f"similarity is {similarity!r}: use one of {', '.join(_SIMILARITIES)}")
        metric, scores = _SIMILARITIES[similarity]
        index = self._indexes.get(metric)
        if index is None:
            index = self._indexes[metric] = self._copied(metric)
        return index, scores

    def _copied(self, metric: str) -> voisin.Index:
        """The index of another metric, which is made if it is not there, or not whole."""
        first = self._first
        index = voisin.open_or_create(
            self.index_path,
            first.dimensions,
            metric=metric,
            dtype=first.dtype,
            name=metric,
            kinds=first.kinds(),
        )
        if len(index) != len(first):
            index.load(first.vectors(np.arange(len(first))))
        if self.ann:
            index.add_kind("hnsw")
        return index

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        return f"SearchEngine({self.rows} vectors x {self.dims}, {self.metric}, {self.level})"


def _hits(indices: npt.NDArray[np.int64], scores: _Scores) -> _Hits:
    pairs = zip(indices.tolist(), scores.tolist(), strict=True)
    return [{"idx": idx, "score": score} for idx, score in pairs]


def from_embeddings(
    embeddings: Any,
    metric: Similarity = "cosine",
    normalized: bool = True,
    verbose: bool = False,
    *,
    ann: bool = False,
    level: Level = "f32",
    method: str = "auto",
    base_name: str = "nseekfs_index",
    output_dir: _Path | None = None,
) -> SearchEngine:
    """Makes an index.

    Args:
        embeddings: an array of shape `(n, dims)`.
        metric: the similarity that queries go by unless they name another one.
        normalized: whether the vectors have length 1. False divides them by their length under
            `"cosine"`. Cosines are right in either case.
        verbose: whether to print the progress.
        ann: whether queries search a graph, instead of comparing all vectors.
        level: the precision of the stored vectors: `"f32"`, `"f16"`, or `"f8"`, a byte a component.
        method: as for `SearchEngine.query`.
        base_name: the name of the index.
        output_dir: the folder to make it in, under the name `{base_name}_{level}.bin`, where it
            stays; a temporary folder, which is removed with the engine, unless given.
    """
    if metric not in _SIMILARITIES:
        raise _refused(f"metric is {metric!r}: use one of {', '.join(_SIMILARITIES)}")
    if level not in _LEVELS:
        raise _refused(f"level is {level!r}, which is not there: use one of {', '.join(_LEVELS)}")
    if method not in _METHODS:
        raise _refused(f"method is {method!r}: use one of {', '.join(_METHODS)}")
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    if vectors.ndim != 2 or not len(vectors):
        raise _refused(f"embeddings have the shape {vectors.shape}: give one of (n, dims)")
    if metric == "cosine" and not normalized:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # Rows of zeros stay, and voisin refuses them.
        vectors = np.divide(vectors, lengths, out=vectors.copy(), where=lengths > 0)
    folder = Folder(output_dir if output_dir is None else _made(output_dir))
    index = voisin.create(
        folder.path,
        vectors.shape[1],
        metric=_SIMILARITIES[metric][0],
        dtype=_LEVELS[level],
        kinds=["hnsw" if ann else "flat"],
    )
    index.load(vectors, progress=verbose)
    if output_dir is None:
        return SearchEngine(folder.path, index, ann, folder)
    index.close()
    path = Path(output_dir) / f"{base_name}_{level}.bin"
    moved(folder, path)
    return load_index(path, ann)


def create_index(embeddings: Any, output_dir: _Path = ".", **options: Any) -> str:
    """Makes an index as `from_embeddings` does, and returns its path."""
    return str(from_embeddings(embeddings, output_dir=output_dir, **options).index_path)


def load_index(path: _Path, ann: bool | None = None, verbose: bool = False) -> SearchEngine:
    """Opens an index.

    Args:
        path: its folder.
        ann: whether queries search a graph, as it was made unless given. Makes the graph if there
            is none.
        verbose: has no effect.
    """
    index = voisin.open(path)
    if ann is None:
        ann = "hnsw" in index.kinds()
    elif ann:
        index.add_kind("hnsw")
    return SearchEngine(Path(path), index, ann, None)


from_bin = load_index


def _made(folder: _Path) -> _Path:
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder
