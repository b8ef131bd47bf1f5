"""A transformer of scikit-learn that finds neighbors by voisin: `VoisinTransformer`.

It needs `pip install voisin[sklearn]`. `docs/doors/sklearn.md` of the repository says how it
differs from `sklearn.neighbors.KNeighborsTransformer`.

>>> import numpy as np
>>> from voisin.sklearn import VoisinTransformer
>>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
>>> graph = VoisinTransformer(n_neighbors=1).fit_transform(X)
>>> graph.toarray()
array([[0., 1., 0., 0.],
       [1., 0., 0., 0.],
       [0., 2., 0., 0.],
       [0., 0., 4., 0.]])
"""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    csr_matrix,
)
from sklearn.base import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    validation,
)

import voisin
from voisin._temporary import DATA, Folder, copied

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["VoisinTransformer"]

_Floats = npt.NDArray[np.float64]


def _same(distances: _Floats) -> _Floats:
    return distances


def _doubled(distances: _Floats) -> _Floats:
    return 2.0 * distances


# The metric of voisin that orders neighbors as one of scikit-learn does, and from its distances to
# those of scikit-learn.
_METRICS: dict[str, tuple[str, Callable[[_Floats], _Floats]]] = {
    "cityblock": ("manhattan", _same),
    "cosine": ("cosine", _doubled),
    "euclidean": ("euclidean", np.sqrt),
    "l1": ("manhattan", _same),
    "l2": ("euclidean", np.sqrt),
    "manhattan": ("manhattan", _same),
    "sqeuclidean": ("euclidean", _same),
}


class VoisinTransformer(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,  # type: ignore[misc,unused-ignore]
):
    """Transforms `X` into the graph of its nearest neighbors, by an index of voisin in a temporary
    folder, which is removed with the transformer.

    Args:
        mode: `"distance"` or `"connectivity"`: whether the graph has distances, or ones. In
            `"distance"`, each sample of the fit is its own neighbor, at distance 0, so that rows
            have `n_neighbors + 1` entries.
        n_neighbors: the number of neighbors of each sample.
        metric: `"euclidean"` (`"l2"`), `"sqeuclidean"`, `"cosine"`, or `"manhattan"` (`"l1"`,
            `"cityblock"`), as scikit-learn defines them.
        recall: the share of the true neighbors to find, 0 to 1; voisin's default effort unless
            given.
        ef_search: the number of candidates of a search, instead of `recall`.
        exact: whether to compare with all samples instead of searching the graph.
        m, ef_construction: the connectivity of the graph: see `voisin.create`.
        dtype: how samples are stored: `"f32"`, `"f16"`, `"bf16"` or `"i8"`.
        codes: the quantized codes that searches use: see `voisin.create`.
        temp_dir: the folder in which the temporary folder is made, the system's unless given.

    Attributes:
        n_samples_fit_: the number of samples of the fit.
        n_features_in_: the number of their features.
        feature_names_in_: the names of these, if they had any.

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = KNeighborsClassifier(5, metric="precomputed")
    >>> pipeline = make_pipeline(VoisinTransformer(n_neighbors=5), classifier)
    >>> bool(pipeline.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > 0.94)
    True
    """

    def __init__(
        self,
        *,
        mode: Literal["distance", "connectivity"] = "distance",
        n_neighbors: int = 5,
        metric: str = "euclidean",
        recall: float | None = None,
        ef_search: int | None = None,
        exact: bool = False,
        m: int = 16,
        ef_construction: int = 200,
        dtype: str = "f32",
        codes: Literal["auto", "fast", 1, 2, 4, 7, 8] | None = "auto",
        temp_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.mode = mode
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.recall = recall
        self.ef_search = ef_search
        self.exact = exact
        self.m = m
        self.ef_construction = ef_construction
        self.dtype = dtype
        self.codes = codes
        self.temp_dir = temp_dir

    def fit(self, X: Any, y: Any = None) -> Self:
        """Makes an index of the samples.

        Args:
            X: an array of shape `(n_samples, n_features)`. It is stored as `float32`, or as `dtype`
                says.
            y: ignored.
        """
        self._check()
        X = validation.validate_data(self, X, dtype=(np.float64, np.float32), order="C")
        folder = Folder(self.temp_dir)
        index = voisin.create(
            folder.path,
            X.shape[1],
            metric=_METRICS[self.metric][0],
            dtype=self.dtype,
            codes=self.codes,
            kinds=["flat"] if self.exact else None,
            m=self.m,
            ef_construction=self.ef_construction,
        )
        index.load(X)
        self._folder, self._index = folder, index
        self.n_samples_fit_ = len(X)
        return self

    def kneighbors(
        self, X: Any, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Finds the neighbors of samples.

        Args:
            X: an array of shape `(n_queries, n_features)`.
            n_neighbors: the number of neighbors, that of the transformer unless given.
            return_distance: whether to return distances, too.

        Returns:
            The distances, of type `float64`, and the indices of neighbors among the samples of the
            fit, of type `int64`; both of shape `(n_queries, n_neighbors)`, the nearest first.

        >>> transformer = VoisinTransformer().fit([[0.0, 0.0], [3.0, 4.0]])
        >>> transformer.kneighbors([[0.0, 0.0]], n_neighbors=2)
        (array([[0., 5.]]), array([[0, 1]]))
        """
        validation.check_is_fitted(self)
        self._check()
        X = validation.validate_data(
            self, X, dtype=(np.float64, np.float32), order="C", reset=False
        )
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if not 1 <= k <= self.n_samples_fit_:
            raise ValueError(
                f"Expected 1 <= n_neighbors <= n_samples_fit, but n_neighbors = {k}, "
                f"n_samples_fit = {self.n_samples_fit_}, n_samples = {len(X)}"
            )
        found = self._index.search(
            X, k, recall=self.recall, ef=self.ef_search, exact=True if self.exact else None
        )
        if not return_distance:
            return found.ids
        return _METRICS[self.metric][1](found.distances.astype(np.float64)), found.ids

    def transform(self, X: Any) -> Any:
        """The graph of the nearest neighbors of samples among those of the fit.

        Args:
            X: an array of shape `(n_queries, n_features)`.

        Returns:
            A sparse matrix in CSR form, of shape `(n_queries, n_samples_fit_)` and type `float64`.
            The entries of a row are in the order of their distance.
        """
        validation.check_is_fitted(self)
        is_distance = self.mode == "distance"
        distances, ids = self.kneighbors(X, self.n_neighbors + is_distance)
        data = distances if is_distance else np.ones_like(distances)
        ends = np.arange(0, ids.size + 1, ids.shape[1])
        return csr_matrix((data.ravel(), ids.ravel(), ends), shape=(len(ids), self.n_samples_fit_))

    def _check(self) -> None:
        """Rejects what is no parameter. voisin rejects the others."""
        if self.mode not in ("distance", "connectivity"):
            raise ValueError(f"mode is {self.mode!r}: use 'distance' or 'connectivity'")
        if self.metric not in _METRICS:
            raise ValueError(f"metric is {self.metric!r}: use one of {', '.join(_METRICS)}")
        if not isinstance(self.n_neighbors, Integral) or self.n_neighbors < 1:
            raise ValueError(f"n_neighbors is {self.n_neighbors!r}: use an integer from 1 on")

    @property
    def _n_features_out(self) -> int:
        return self.n_samples_fit_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_index")

    def __getstate__(self) -> dict[str, Any]:
        """The parameters, and the file of the index as bytes: a copy has an index of its own."""
        state: dict[str, Any] = {**super().__getstate__()}
        if state.pop("_folder", None) is not None:
            copy = copied(state.pop("_index"), self.temp_dir)
            state["_data"] = (copy.path / DATA).read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {**state}
        data = state.pop("_data", None)
        super().__setstate__(state)
        if data is not None:
            self._folder = Folder(self.temp_dir)
            (self._folder.path / DATA).write_bytes(data)
            self._index = voisin.open(self._folder.path)
