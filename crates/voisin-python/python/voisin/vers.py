"""The classes and methods of vers over voisin: `HNSW`, `IVFFlat`, `LSH`.

A program that was written for vers runs with ``import voisin.vers as vers``. Distances are vers's,
squared Euclidean ones. An index is a folder of voisin's: a temporary one, which is removed with the
object, until `save_index` gives it a place, or `load_index` opens one. From then on, what is added
is saved at once. `docs/doors/vers.md` of the repository says what else differs.

>>> import voisin.vers as vers
>>> hnsw = vers.HNSW(ef_construction=100, num_layers=8, ef_search=32, num_neighbours=8)
>>> hnsw.build_index({"king": [4.0, 3.0], "queen": [3.0, 4.0], "pear": [-1.0, 0.0]})
>>> hnsw.search([4.0, 3.0], top_k=2)
[('king', 0.0), ('queen', 2.0)]
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import voisin
from voisin._temporary import Folder, copied, moved, owned
from voisin.errors import _exception

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HNSW", "IVFFlat", "LSH"]

_Path = str | os.PathLike[str]
# Ids and vectors: a mapping of these, pairs, or a matrix, whose rows are numbered.
_Embeddings = Mapping[Any, Any] | Iterable[tuple[Any, Any]] | npt.NDArray[Any]


class _Index:
    """What the indexes of vers share."""

    _index: voisin.Index | None = None
    _folder: Folder | None = None

    def build_index(self, embeddings: _Embeddings) -> None:
        """Builds the index anew.

        Args:
            embeddings: a mapping of ids to vectors, pairs of these, or a matrix of shape `(n,
                dimensions)`, whose rows get the ids 0, 1, 2, ... Ids are all `int`, from 0 on, or
                all `str`.
        """
        ids, vectors = _pairs(embeddings)
        if vectors.ndim != 2:
            message = "there are no embeddings, or they are no vectors: give at least one"
            raise _exception("InvalidParameter", "caller", message, None, None)
        folder = Folder()
        index = voisin.create(
            folder.path,
            vectors.shape[1],
            metric="euclidean",
            ids=str if isinstance(ids[0], str) else "u64",
            name=json.dumps([type(self).__name__, self._parameters()]),
            **self._creation(),
        )
        index.load(vectors, ids=ids)
        self._folder, self._index = folder, index

    def add(self, embedding: Any, vec_id: int | str) -> None:
        """Adds a vector of shape `(dimensions,)`, or replaces that of the id, and commits."""
        self._built().add(vec_id, np.asarray(embedding, dtype=np.float32))

    def search(self, query: Any, top_k: int) -> list[tuple[Any, float]]:
        """The `top_k` ids nearest to a vector of shape `(dimensions,)`, and their squared Euclidean
        distances, the nearest first."""
        query = np.asarray(query, dtype=np.float32)
        found = self._built().search(query, top_k, **self._effort(top_k))
        return list(zip(found.ids.tolist(), found.distances.tolist(), strict=True))

    search_approximate = search

    def save_index(self, file_path: _Path) -> None:
        """Moves the index to a folder, in the place of an index that is there."""
        index = self._built()
        name = index.name
        moved(copied(index), file_path)
        self._open(file_path, name)

    @classmethod
    def load_index(cls, file_path: _Path) -> Self:
        """Opens the index of a folder."""
        for found in voisin.inspect(file_path):
            made = _made(found.name or "")
            if made is not None and made[0] == cls.__name__:
                loaded = cls(**made[1])
                loaded._open(file_path, found.name)
                return loaded
        message = f"{file_path} has no index of {cls.__name__}: load it by the class that saved it"
        raise _exception("MissingIndex", "caller", message, None, None)

    def close(self) -> None:
        """Closes the index. Saving another one in its place does so, too."""
        if self._index is not None:
            self._index.close()

    def _open(self, path: _Path, name: str | None) -> None:
        self._index, self._folder = voisin.open(path, name=name), None
        owned(self, path)

    def _built(self) -> voisin.Index:
        if self._index is None:
            message = "there is no index yet: call build_index first"
            raise _exception("MissingIndex", "caller", message, None, None)
        return self._index

    def _parameters(self) -> dict[str, int]:
        """What the constructor takes."""
        raise NotImplementedError

    def _creation(self) -> dict[str, Any]:
        """Options of `voisin.create`."""
        raise NotImplementedError

    def _effort(self, top_k: int) -> dict[str, Any]:
        """Options of `voisin.Index.search`."""
        raise NotImplementedError

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)


class HNSW(_Index):
    """A graph.

    Args:
        ef_construction: the number of candidates of the search for an item's neighbors.
        num_layers: has no effect: the number of layers follows from that of the items.
        ef_search: the number of candidates of a search, or `top_k`, if that is larger.
        num_neighbours: the maximum degree of an item, and twice that on the base layer.
    """

    def __init__(
        self,
        ef_construction: int = 100,
        num_layers: int = 8,
        ef_search: int = 32,
        num_neighbours: int = 16,
    ) -> None:
        self.ef_construction, self.num_layers = ef_construction, num_layers
        self.ef_search, self.num_neighbours = ef_search, num_neighbours

    def _parameters(self) -> dict[str, int]:
        names = ("ef_construction", "num_layers", "ef_search", "num_neighbours")
        return {name: getattr(self, name) for name in names}

    def _creation(self) -> dict[str, Any]:
        m = self.num_neighbours
        return {"kinds": ["hnsw"], "m": m, "m0": 2 * m, "ef_construction": self.ef_construction}

    def _effort(self, top_k: int) -> dict[str, Any]:
        return {"ef": max(self.ef_search, top_k)}


class IVFFlat(_Index):
    """Inverted lists. voisin chooses their number by that of the items, keeps them in step with
    these, and searches as many as find 95 % of the nearest, as it has measured; the parameters have
    no effect.

    Args:
        num_clusters, num_attempts, max_iterations: those of k-means, of no effect.
    """

    def __init__(
        self, num_clusters: int = 100, num_attempts: int = 1, max_iterations: int = 10
    ) -> None:
        self.num_clusters, self.num_attempts = num_clusters, num_attempts
        self.max_iterations = max_iterations

    def _parameters(self) -> dict[str, int]:
        names = ("num_clusters", "num_attempts", "max_iterations")
        return {name: getattr(self, name) for name in names}

    def _creation(self) -> dict[str, Any]:
        return {"kinds": ["ivf"]}

    def _effort(self, top_k: int) -> dict[str, Any]:
        return {}


class LSH(_Index):
    """Tables of hashes. A search promises recall: each of the nearest is found with a probability
    of 90 % at least. The parameters have no effect: the number of tables is fixed, and they grow
    with the items.

    Args:
        num_trees, max_size: the number of trees, and of the items of a leaf, of no effect.
    """

    def __init__(self, num_trees: int = 10, max_size: int = 15) -> None:
        self.num_trees, self.max_size = num_trees, max_size

    def _parameters(self) -> dict[str, int]:
        return {"num_trees": self.num_trees, "max_size": self.max_size}

    def _creation(self) -> dict[str, Any]:
        return {"kinds": ["lsh"]}

    def _effort(self, top_k: int) -> dict[str, Any]:
        return {"recall": 0.9}


def _pairs(embeddings: _Embeddings) -> tuple[Any, npt.NDArray[np.float32]]:
    """Ids, and a matrix of vectors."""
    if isinstance(embeddings, np.ndarray):
        return range(len(embeddings)), np.asarray(embeddings, dtype=np.float32)
    pairs = list(embeddings.items() if isinstance(embeddings, Mapping) else embeddings)
    return [id for id, _ in pairs], np.array([vector for _, vector in pairs], dtype=np.float32)


def _made(name: str) -> tuple[str, dict[str, int]] | None:
    """The class and its parameters that the name of an index has."""
    try:
        of, parameters = json.loads(name)
    except ValueError:
        return None
    return (of, parameters) if isinstance(parameters, dict) else None
