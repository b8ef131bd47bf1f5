"""`voisin.nseekfs` beside nseekfs itself."""

import gc

import nseekfs as theirs
import numpy as np
import pytest
from conftest import rows

import voisin
import voisin.nseekfs as ours


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


X, Q = rows(3000, 32), rows(40, 32, seed=8)


def assert_same(mine, other):
    """Equal hits, but for scores that are equal up to rounding."""
    assert type(mine) is type(other) and len(mine) == len(other)
    for one, two in zip(mine, other, strict=True):
        assert one.keys() == two.keys() == {"idx", "score"}
        assert type(one["idx"]) is type(two["idx"]) and type(one["score"]) is type(two["score"])
        assert abs(one["score"] - two["score"]) <= 1e-4 * max(1.0, abs(two["score"]))
        assert one["idx"] == two["idx"] or abs(one["score"] - two["score"]) < 1e-5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("normalized", [True, False])
def test_exact_answers_are_those_of_nseekfs(metric, normalized, folder):
    # Cosines of nseekfs need queries of length 1, and vectors unless it divides them.
    x, q = (unit(X) if normalized else X), (unit(Q) if metric == "cosine" else Q)
    other = theirs.from_embeddings(x, metric=metric, normalized=normalized)
    mine = ours.from_embeddings(x, metric=metric, normalized=normalized)
    assert (mine.rows, mine.dims) == (other.rows, other.dims) == (3000, 32)
    for query in q:
        assert_same(mine.query(query, 10), other.query(query, 10))
        assert_same(mine.query_simple(query, top_k=3), other.query_simple(query, top_k=3))
    for one, two in zip(mine.query_batch(q, 7), other.query_batch(q, 7), strict=True):
        assert_same(one, two)
    assert len(mine.query(q[0], 5000)) == len(other.query(q[0], 5000)) == 3000
    for one, two in [
        (mine.query_simple_arrays(q[0], 5), other.query_simple_arrays(q[0], 5)),
        (mine.query_batch_arrays(q, 5), other.query_batch_arrays(q, 5)),
    ]:
        for name in ("indices", "scores"):
            assert one[name].shape == two[name].shape and one[name].dtype == two[name].dtype
        np.testing.assert_allclose(one["scores"], two["scores"], rtol=1e-4, atol=1e-5)


def test_approximate_queries_find_at_least_nine_of_ten(embeddings, queries, folder):
    true = theirs.from_embeddings(unit(embeddings), normalized=True)
    for level in ("f32", "f16", "f8"):
        index = ours.from_embeddings(embeddings, ann=True, level=level)
        assert index.ann and index.level == level
        found = [
            len({hit["idx"] for hit in index.query(query, 10)} & {hit["idx"] for hit in right})
            for query, right in zip(queries, true.query_batch(unit(queries), 10), strict=True)
        ]
        assert np.mean(found) / 10 >= 0.9


def test_one_index_answers_by_every_similarity(folder):
    index = ours.from_embeddings(X, output_dir="indexes", base_name="all", metric="cosine")
    query, wanted = Q[0], {}
    wanted["cosine"] = unit(X) @ unit(query)
    wanted["dot_product"] = wanted["dot"] = X @ query
    wanted["euclidean"] = ((X - query) ** 2).sum(axis=1)
    again = ours.load_index("indexes/all_f32.bin")
    for engine in (index, again):
        assert engine.metric == "cosine"
        for similarity, scores in wanted.items():
            order = scores.argsort() if similarity == "euclidean" else (-scores).argsort()
            for method in ("auto", "simd", "scalar"):
                hits = engine.query(query, 8, similarity=similarity, method=method)
                assert [hit["idx"] for hit in hits] == order[:8].tolist()
                found = [hit["score"] for hit in hits]
                np.testing.assert_allclose(found, scores[order[:8]], rtol=1e-4)
    assert len(voisin.inspect("indexes/all_f32.bin")) == 3
    assert ours.load_index("indexes/all_f32.bin").metric == "cosine"


def test_indexes_stay_where_they_are_asked_to(folder, temporary):
    path = ours.create_index(X, "indexes", base_name="v1", level="f16", ann=True)
    assert path == "indexes/v1_f16.bin" and [p.name for p in folder.iterdir()] >= ["indexes"]
    index = ours.load_index(path)
    assert (index.level, index.ann, index.normalized, len(index)) == ("f16", True, False, 3000)
    assert ours.from_bin(path, ann=False).query(X[7], 1)[0]["idx"] == 7
    # In the place of the first one.
    other = ours.from_embeddings(X[:50], output_dir="indexes", base_name="v1", level="f16")
    assert other.rows == 50 and not other.ann
    with pytest.raises(voisin.Closed):
        index.query(X[7])
    assert ours.load_index(path, ann=True).query(X[7], 1)[0]["idx"] == 7
    assert ours.load_index(path).ann
    temporary_one = ours.from_embeddings(unit(X))
    assert temporary_one.normalized and len(list(temporary.iterdir())) == 1
    del temporary_one
    gc.collect()
    assert list(temporary.iterdir()) == []
    (folder / "indexes" / "mine_f32.bin").write_text("precious")
    with pytest.raises(voisin.AlreadyThere):
        ours.create_index(X, "indexes", base_name="mine")
    assert (folder / "indexes" / "mine_f32.bin").read_text() == "precious"
    assert len(list((folder / "indexes").iterdir())) == 2


def test_what_nseekfs_gets_wrong_is_an_error_or_right(folder):
    zeros = X.copy()
    zeros[3] = 0.0
    for normalized in (True, False):
        with pytest.raises(voisin.InvalidVector):
            ours.from_embeddings(zeros, normalized=normalized)
    # Cosines of vectors and queries of any length, whatever the caller says of them.
    index = ours.from_embeddings(X, normalized=True)
    assert index.query(3.0 * X[5], 1)[0] == {"idx": 5, "score": pytest.approx(1.0, abs=1e-5)}
    with pytest.raises(voisin.InvalidVector):
        index.query(np.zeros(32))
    # There is no precision that is not there.
    with pytest.raises(voisin.InvalidParameter, match="'f64', which is not there"):
        ours.from_embeddings(X, level="f64")
    rounded = ours.from_embeddings(X, level="f8")
    stored = rounded._first.vectors(np.arange(100))
    assert 0.0 < np.abs(stored - X[:100]).max() < 0.1
    assert rounded._first.dtype == "i8"


def test_what_cannot_be_is_an_error(folder):
    for wrong in (
        {"metric": "manhattan"},
        {"method": "gpu"},
        {"level": "f4"},
        {"embeddings": X[0]},
        {"embeddings": X[:0]},
    ):
        with pytest.raises(voisin.CallerError):
            ours.from_embeddings(**{"embeddings": X, **wrong})
    index = ours.from_embeddings(X)
    for wrong in (
        {"similarity": "manhattan"},
        {"method": "gpu"},
        {"top_k": 0},
        {"format": "detailed"},
        {"query_vector": X[:2]},
        {"query_vector": X[0, :5]},
    ):
        with pytest.raises(voisin.CallerError):
            index.query(**{"query_vector": X[0], **wrong})
    with pytest.raises(FileNotFoundError):
        ours.load_index("nowhere")
