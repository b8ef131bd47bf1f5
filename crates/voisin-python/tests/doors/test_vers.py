"""`voisin.vers`: the program of its README, and what else its classes do. It is on no registry, so
that its answers are compared with exact ones."""

import gc

import numpy as np
import pytest
from conftest import recall, rows

import voisin
from voisin import vers

CLASSES = [
    lambda: vers.HNSW(ef_construction=100, num_layers=8, ef_search=64, num_neighbours=16),
    lambda: vers.IVFFlat(num_clusters=100, num_attempts=3, max_iterations=20),
    lambda: vers.LSH(num_trees=50, max_size=50),
]


@pytest.mark.parametrize("make", CLASSES)
def test_vectors_are_found_by_their_ids(make, embeddings, queries):
    index = make()
    index.build_index({f"gloss {i}": vector for i, vector in enumerate(embeddings)})
    distances = ((queries[:, None] - embeddings[None]) ** 2).sum(axis=2)
    found = [index.search(query, top_k=10) for query in queries]
    assert all(type(id) is str and type(d) is float for hits in found for id, d in hits)
    ids = np.array([[int(id.split()[1]) for id, _ in hits] for hits in found])
    assert recall(ids, distances.argsort(axis=1)[:, :10]) >= 0.9
    expected = np.take_along_axis(distances, ids, axis=1)
    np.testing.assert_allclose([[d for _, d in hits] for hits in found], expected, rtol=1e-4)
    assert index.search_approximate(queries[0], 3) == found[0][:3]


@pytest.mark.parametrize("make", CLASSES)
def test_indexes_are_saved_loaded_and_added_to(make, tmp_path, temporary):
    x = rows(2000)
    index = make()
    index.build_index(x)
    assert index.search(x[40], 1) == [(40, 0.0)] and len(index) == 2000
    index.add(x[40] + 1.0, 2**40)
    assert index.search(x[40] + 1.0, 1) == [(2**40, 0.0)]
    path = tmp_path / "wiki.index"
    index.save_index(path)
    gc.collect()
    assert list(temporary.iterdir()) == []
    # What is added from now on is saved.
    index.add(x[41] + 1.0, 2**41)
    loaded = type(index).load_index(str(path))
    assert loaded._parameters() == index._parameters()
    assert loaded.search(x[41] + 1.0, 1) == [(2**41, 0.0)] and len(loaded) == 2002
    other = make()
    other.build_index(x[:5])
    other.save_index(path)
    assert len(type(index).load_index(path)) == 5
    with pytest.raises(voisin.Closed):
        index.search(x[0], 1)
    other.build_index(x[:7])
    assert len(other) == 7 and len(type(index).load_index(path)) == 5
    assert [entry.name for entry in tmp_path.iterdir() if entry != temporary] == ["wiki.index"]


def test_what_cannot_be_is_an_error(tmp_path):
    index = vers.HNSW()
    for call in (
        lambda: index.search([1.0], 3),
        lambda: index.add([1.0], 3),
        lambda: index.save_index(tmp_path / "none"),
        lambda: vers.HNSW.load_index(tmp_path / "none"),
    ):
        with pytest.raises(voisin.NotThere):
            call()
    for nothing in ({}, [], np.zeros(3)):
        with pytest.raises(voisin.InvalidParameter):
            index.build_index(nothing)
    with pytest.raises(voisin.CallerError):
        index.build_index([("a", [1.0]), (2, [3.0])])
    index.build_index({"a": [1.0]})
    index.save_index(tmp_path / "a")
    with pytest.raises(voisin.NotThere, match="IVFFlat"):
        vers.IVFFlat.load_index(tmp_path / "a")
    voisin.create(tmp_path / "other", 3).add(1, [1.0, 2.0, 3.0])
    with pytest.raises(voisin.NotThere):
        vers.HNSW.load_index(tmp_path / "other")
