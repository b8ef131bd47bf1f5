"""`voisin.sklearn`: scikit-learn's checks of estimators, and KNeighborsTransformer beside it."""

import gc
import pickle

import numpy as np
import pytest
from conftest import recall, rows
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.manifold import Isomap
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import voisin
from voisin.sklearn import VoisinTransformer


@parametrize_with_checks(
    [
        VoisinTransformer(),
        VoisinTransformer(mode="connectivity", n_neighbors=3),
        VoisinTransformer(metric="manhattan", exact=True),
        VoisinTransformer(dtype="f16", codes=None, recall=0.9),
    ]
)
def test_it_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("exact", [True, False])
def test_graphs_are_those_of_scikit_learn(mode, metric, exact):
    X, other = rows(600, 12), rows(50, 12, seed=8)
    theirs = KNeighborsTransformer(mode=mode, metric=metric, n_neighbors=7).fit(X)
    ours = VoisinTransformer(mode=mode, metric=metric, n_neighbors=7, exact=exact).fit(X)
    for queries in (X, other):
        ours_graph, theirs_graph = ours.transform(queries), theirs.transform(queries)
        assert type(ours_graph) is type(theirs_graph)
        # That of scikit-learn depends on the metric: `float64` for most.
        assert ours_graph.shape == theirs_graph.shape and ours_graph.dtype == np.float64
        assert (ours_graph.indptr == theirs_graph.indptr).all()
        assert (ours_graph.indices == theirs_graph.indices).all()
        np.testing.assert_allclose(ours_graph.data, theirs_graph.data, rtol=2e-5, atol=1e-6)
    distances, ids = ours.kneighbors(other, 4)
    their_distances, their_ids = theirs.kneighbors(other, 4)
    assert (ids == their_ids).all() and ids.dtype == their_ids.dtype
    np.testing.assert_allclose(distances, their_distances, rtol=2e-5)
    assert (ours.kneighbors(other, 4, return_distance=False) == ids).all()
    assert (ours.get_feature_names_out()[:2] == ["voisintransformer0", "voisintransformer1"]).all()


def test_neighbors_of_real_vectors_are_found_as_often_as_asked(embeddings, queries):
    true = VoisinTransformer(metric="cosine", exact=True).fit(embeddings)
    true = true.kneighbors(queries, 10, return_distance=False)
    for options, least in [({}, 0.95), ({"recall": 0.9}, 0.85), ({"ef_search": 400}, 0.98)]:
        found = VoisinTransformer(metric="cosine", **options).fit(embeddings)
        assert recall(found.kneighbors(queries, 10, return_distance=False), true) >= least
    for dtype, least in [("f16", 0.95), ("bf16", 0.9), ("i8", 0.9)]:
        found = VoisinTransformer(metric="cosine", dtype=dtype, codes=None, exact=True)
        found = found.fit(embeddings).kneighbors(queries, 10, return_distance=False)
        assert recall(found, true) >= least


def test_what_takes_a_graph_of_neighbors_takes_this_one():
    X, y = load_digits(return_X_y=True)
    scores = []
    for transformer in (VoisinTransformer, KNeighborsTransformer):
        classifier = KNeighborsClassifier(5, metric="precomputed")
        pipeline = make_pipeline(transformer(n_neighbors=5), classifier)
        scores.append(pipeline.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]))
    assert abs(scores[0] - scores[1]) < 0.01 and scores[0] > 0.9
    graph = VoisinTransformer(n_neighbors=25).fit_transform(X[:300])
    assert Isomap(n_neighbors=25, metric="precomputed").fit_transform(graph).shape == (300, 2)
    labels = DBSCAN(eps=25, metric="precomputed").fit_predict(graph)
    expected = KNeighborsTransformer(n_neighbors=25).fit_transform(X[:300])
    assert (labels == DBSCAN(eps=25, metric="precomputed").fit_predict(expected)).all()


def test_what_cannot_be_is_an_error():
    X = rows(20)
    for options in ({"mode": "both"}, {"metric": "chebyshev"}, {"n_neighbors": 0}, {"m": 1}):
        with pytest.raises(ValueError):
            VoisinTransformer(**options).fit(X)
    with pytest.raises(ValueError, match="n_neighbors = 21, n_samples_fit = 20"):
        VoisinTransformer(n_neighbors=20).fit(X).transform(X)
    with pytest.raises(NotFittedError):
        VoisinTransformer().transform(X)
    with pytest.raises(voisin.InvalidVector, match="zero"):
        VoisinTransformer(metric="cosine").fit(np.zeros((8, 4)))


def test_copies_have_indexes_of_their_own_and_folders_go_with_them(temporary):
    X = rows(200)
    fitted = VoisinTransformer(n_neighbors=3).fit(X)
    assert len(list(temporary.iterdir())) == 1
    copy = pickle.loads(pickle.dumps(fitted))
    assert len(list(temporary.iterdir())) == 2
    expected = fitted.transform(X).toarray()
    fitted.fit(rows(100, seed=3))
    gc.collect()
    assert len(list(temporary.iterdir())) == 2
    assert (copy.transform(X).toarray() == expected).all()
    assert not hasattr(clone(copy), "n_samples_fit_")
    del fitted, copy
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_temporary_folders_are_made_where_they_are_asked_for(tmp_path):
    transformer = VoisinTransformer(temp_dir=tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        transformer.fit(rows(10))
    (tmp_path / "elsewhere").mkdir()
    transformer.fit(rows(10))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
