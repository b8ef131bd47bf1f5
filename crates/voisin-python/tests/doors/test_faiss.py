"""`voisin.faiss` beside faiss-cpu itself: one program runs over both, and their answers are
compared."""

import gc
import os
import pickle
from pathlib import Path

import faiss as theirs
import numpy as np
import pytest
from conftest import recall, rows

import voisin
import voisin.faiss as ours

D = 32


def clustered(count: int, seed: int) -> np.ndarray:
    """Vectors around 50 centers, as real ones are."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(1).normal(size=(50, D)) * 2
    spread = random.normal(size=(count, D))
    return (centers[random.integers(0, 50, count)] + spread).astype("float32")


X, Q = clustered(5000, 2), clustered(200, 3)
BITS = np.packbits(X > 0, axis=1)
BIT_QUERIES = np.packbits(Q > 0, axis=1)

# How an index is made by either library, and what it takes.
EXACT = {
    "L2": lambda f: f.IndexFlatL2(D),
    "IP": lambda f: f.IndexFlatIP(D),
    "Flat": lambda f: f.IndexFlat(D, f.METRIC_L2),
    "L1": lambda f: f.IndexFlat(D, f.METRIC_L1),
}
APPROXIMATE = {
    "HNSW": lambda f: f.IndexHNSWFlat(D, 16),
    "HNSW IP": lambda f: f.IndexHNSWFlat(D, 16, f.METRIC_INNER_PRODUCT),
    "IVFFlat": lambda f: f.IndexIVFFlat(f.IndexFlatL2(D), D, 64),
    "IVFFlat IP": lambda f: f.IndexIVFFlat(f.IndexFlatIP(D), D, 64, f.METRIC_INNER_PRODUCT),
    "IVFPQ": lambda f: f.IndexIVFPQ(f.IndexFlatL2(D), D, 64, 8, 8),
    "IVFSQ": lambda f: f.IndexIVFScalarQuantizer(
        f.IndexFlatL2(D), D, 64, f.ScalarQuantizer.QT_8bit
    ),
    "PQ": lambda f: f.IndexPQ(D, 8, 8),
    **{
        f"SQ {name}": lambda f, name=name: f.IndexScalarQuantizer(
            D, getattr(f.ScalarQuantizer, name)
        )
        for name in ("QT_8bit", "QT_6bit", "QT_4bit", "QT_8bit_uniform", "QT_fp16", "QT_bf16")
    },
}
ALL = {**EXACT, **APPROXIMATE}


def pair(make, x=X):
    """The indexes of both libraries, with the same items."""
    made = []
    for library in (theirs, ours):
        index = make(library)
        assert index.d == D and index.ntotal == 0
        if not index.is_trained:
            with pytest.raises(RuntimeError):
                index.add(x)
            index.train(x)
        index.add(x)
        assert index.is_trained and index.ntotal == len(x)
        made.append(index)
    return made


def assert_same_shapes(mine, other):
    for one, two in zip(mine, other, strict=True):
        assert isinstance(one, np.ndarray)
        assert (one.shape, one.dtype) == (two.shape, two.dtype)


def assert_same_answers(mine, other):
    """Equal distances, and equal labels but where distances are equal up to rounding."""
    assert_same_shapes(mine, other)
    np.testing.assert_allclose(mine[0], other[0], rtol=1e-4, atol=1e-4)
    differ = mine[1] != other[1]
    assert differ.mean() < 0.01
    np.testing.assert_allclose(mine[0][differ], other[0][differ], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", EXACT)
def test_exact_kinds_give_the_answers_of_faiss(name):
    other, mine = pair(EXACT[name])
    for k in (1, 10, 100):
        assert_same_answers(mine.search(Q, k), other.search(Q, k))
        assert_same_answers(mine.search(Q[:1], k), other.search(Q[:1], k))
    radius = float(np.median(other.search(Q, 20)[0]))
    ours_found, theirs_found = mine.range_search(Q, radius), other.range_search(Q, radius)
    assert_same_shapes(ours_found, theirs_found)
    assert (ours_found[0] == theirs_found[0]).all() and ours_found[0][-1] > 100
    assert (ours_found[2] == theirs_found[2]).all()
    np.testing.assert_allclose(ours_found[1], theirs_found[1], rtol=1e-4, atol=1e-4)
    nothing = mine.range_search(Q[:2], 1e9 if name == "IP" else 0.0)
    assert_same_shapes(nothing, other.range_search(Q[:2], 1e9 if name == "IP" else 0.0))
    assert nothing[0].tolist() == [0, 0, 0]
    assert [part.shape for part in mine.range_search(Q[:0], 1.0)] == [(1,), (0,), (0,)]


@pytest.mark.parametrize("name", APPROXIMATE)
@pytest.mark.parametrize("effort", [1, 4])
def test_approximate_kinds_find_at_least_as_much_as_faiss(name, effort):
    true = theirs.IndexFlat(D, theirs.METRIC_INNER_PRODUCT if "IP" in name else theirs.METRIC_L2)
    true.add(X)
    found = []
    for index in pair(APPROXIMATE[name]):
        if name.startswith("IVF"):
            index.nprobe = 2 * effort
        if name.startswith("HNSW"):
            index.hnsw.efSearch = 16 * effort
        found.append(index.search(Q, 10))
    assert_same_shapes(found[1], found[0])
    truth = true.search(Q, 10)[1]
    assert recall(found[1][1], truth) >= recall(found[0][1], truth)
    # The distances of what it has found are those of the vectors, as they were stored.
    expected = ((X[found[1][1]] - Q[:, None]) ** 2).sum(axis=2)
    if "IP" in name:
        expected = (X[found[1][1]] * Q[:, None]).sum(axis=2)
    stored_less = "fp16" in name or "bf16" in name
    np.testing.assert_allclose(found[1][0], expected, rtol=2e-2 if stored_less else 1e-4, atol=1e-3)


@pytest.mark.parametrize("metric", ["METRIC_L2", "METRIC_INNER_PRODUCT"])
def test_real_vectors_are_found_as_often_as_by_faiss(metric, embeddings, queries):
    true = theirs.IndexFlat(384, getattr(theirs, metric))
    true.add(embeddings)
    truth = true.search(queries, 10)[1]
    for description, name, values in [
        ("HNSW8", "efSearch", (10, 64)),
        ("HNSW32", "efSearch", (16, 64)),
        ("IVF16,Flat", "nprobe", (1, 4)),
        ("IVF256,Flat", "nprobe", (1, 4, 16)),
        ("IVF64,PQ32x4", "nprobe", (8,)),
    ]:
        indexes = [f.index_factory(384, description, getattr(f, metric)) for f in (theirs, ours)]
        for index in indexes:
            if not index.is_trained:
                index.train(embeddings)
            index.add(embeddings)
        for value in values:
            found = []
            for library, index in zip((theirs, ours), indexes, strict=True):
                library.ParameterSpace().set_index_parameter(index, name, value)
                found.append(recall(index.search(queries, 10)[1], truth))
            # Graphs and lists of two libraries differ: at most 2 results of 1 000 are lost.
            assert found[1] >= found[0] - 0.0021, (description, value, found)


@pytest.mark.parametrize("name", ALL)
def test_answers_are_filled_up_as_by_faiss(name):
    few = X[:300]
    other, mine = pair(ALL[name], few)
    for index in (other, mine):
        if hasattr(index, "nprobe"):
            index.nprobe = 64
    assert_same_shapes(mine.search(Q[:3], 310), other.search(Q[:3], 310))
    distances, labels = mine.search(Q[:3], 310)
    assert (labels[:, 300:] == -1).all() and (np.sort(labels[:, :300]) == np.arange(300)).all()
    assert (distances[:, 300:] == other.search(Q[:3], 310)[0][:, 300:]).all()
    mine.reset()
    other.reset()
    assert mine.ntotal == 0 and mine.is_trained
    empty = mine.search(Q[:3], 2)
    assert_same_shapes(empty, other.search(Q[:3], 2))
    assert (empty[1] == -1).all() and (empty[0] == other.search(Q[:3], 2)[0]).all()
    mine.add(few[:5])
    assert mine.ntotal == 5 and mine.search(few[:5], 1)[1].shape == (5, 1)
    assert mine.search(few[:0], 3)[0].shape == (0, 3)


@pytest.mark.parametrize("name", ALL)
def test_vectors_are_reconstructed(name):
    other, mine = pair(ALL[name])
    if hasattr(other, "make_direct_map"):
        other.make_direct_map()
        mine.make_direct_map()
    precision = 1e-2 if "16" in name else 0.0
    for found, expected, true in [
        (mine.reconstruct(7), other.reconstruct(7), X[7]),
        (mine.reconstruct_n(0, 9), other.reconstruct_n(0, 9), X[:9]),
        (mine.reconstruct_n(20, 5), other.reconstruct_n(20, 5), X[20:25]),
        (mine.reconstruct_n(), other.reconstruct_n(), X),
        (mine.reconstruct_batch([3, 3, 1]), other.reconstruct_batch([3, 3, 1]), X[[3, 3, 1]]),
    ]:
        assert_same_shapes([found], [expected])
        np.testing.assert_allclose(found, true, rtol=precision, atol=precision)
    distances, labels, vectors = mine.search_and_reconstruct(Q[:4], 3)
    assert_same_shapes((distances, labels, vectors), other.search_and_reconstruct(Q[:4], 3))
    np.testing.assert_allclose(vectors, X[labels], rtol=precision, atol=precision)
    into = np.empty(D, dtype="float32")
    assert mine.reconstruct(4, into) is into and np.allclose(into, X[4], precision, precision)
    # Never a vector of zeros for an item that does not exist.
    for missing in (-1, len(X)):
        with pytest.raises(ours.Error, match=f"no item {missing}"):
            mine.reconstruct(missing)
    for n0, ni in [(-1, 2), (len(X) - 1, 2), (3, -2)]:
        with pytest.raises(ours.Error):
            mine.reconstruct_n(n0, ni)


@pytest.mark.parametrize("name", ALL)
def test_files_hold_all_of_an_index(name, tmp_path, temporary):
    _, index = pair(ALL[name])
    if hasattr(index, "nprobe"):
        index.nprobe = 5
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = 50
    file = tmp_path / "an index"
    ours.write_index(index, str(file))
    ours.write_index(index, file)
    assert file.is_file() and [path.name for path in tmp_path.iterdir() if path.is_file()] == [
        "an index"
    ]
    answer, before = index.search(Q, 10), set(temporary.iterdir())
    for copy in (
        ours.read_index(str(file)),
        ours.read_index(file, ours.IO_FLAG_MMAP | ours.IO_FLAG_READ_ONLY),
        ours.deserialize_index(ours.serialize_index(index)),
        pickle.loads(pickle.dumps(index)),
        ours.clone_index(index),
    ):
        assert type(copy) is type(index) and copy.metric_type == index.metric_type
        assert copy._parameters() == index._parameters() and copy.is_trained
        for mine, other in zip(copy.search(Q, 10), answer, strict=True):
            assert (mine == other).all()
    copy.add(X[:10])
    assert (copy.ntotal, index.ntotal) == (len(X) + 10, len(X))
    with pytest.raises(voisin.ReadOnly):
        ours.read_index(file, ours.IO_FLAG_READ_ONLY).add(X[:1])
    del copy
    gc.collect()
    assert set(temporary.iterdir()) == before


def test_damaged_and_foreign_files_are_refused(tmp_path):
    index = ours.IndexIDMap2(ours.IndexFlatL2(D))
    index.add_with_ids(X, np.arange(len(X)) + 7)
    file = tmp_path / "index"
    ours.write_index(index, file)
    whole = file.read_bytes()
    random = np.random.default_rng(5)
    for at in [*random.integers(0, len(whole), 40), *range(len(whole) - 60, len(whole), 7)]:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert ours.read_index(file).ntotal == len(X)
        except voisin.DataError as error:
            assert error.remedy
        file.write_bytes(whole[:at])
        with pytest.raises(voisin.Corrupt):
            ours.read_index(file)
    flat = theirs.IndexFlatL2(D)
    flat.add(X)
    theirs.write_index(flat, str(file))
    with pytest.raises(voisin.Corrupt, match="read an index of FAISS by FAISS"):
        ours.read_index(file)
    with pytest.raises(FileNotFoundError):
        ours.read_index(tmp_path / "none")


INNER = {
    "Flat": lambda f: f.IndexFlatL2(D),
    "HNSW": lambda f: f.IndexHNSWFlat(D, 16),
    "IVF": lambda f: f.IndexIVFFlat(f.IndexFlatL2(D), D, 8),
    "SQ": lambda f: f.IndexScalarQuantizer(D, f.ScalarQuantizer.QT_8bit),
}


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("wrapper", ["IndexIDMap", "IndexIDMap2"])
def test_items_have_ids_of_the_callers(inner, wrapper, tmp_path):
    ids = np.random.default_rng(4).permutation(10**12 + np.arange(2000)) - 10**6
    ids[5] = -3
    answers = []
    for library in (theirs, ours):
        index = getattr(library, wrapper)(INNER[inner](library))
        if not index.is_trained:
            index.train(X)
        index.add_with_ids(X[:1000], ids[:1000])
        index.add_with_ids(X[1000:2000], ids[1000:])
        with pytest.raises(RuntimeError):
            index.add(X[:3])
        if inner == "IVF":
            library.ParameterSpace().set_index_parameter(index, "nprobe", 8)
        assert (library.vector_to_array(index.id_map) == ids).all() and index.ntotal == 2000
        answers.append(index.search(X[:2000], 1))
    assert_same_shapes(answers[1], answers[0])
    assert (answers[1][1][:, 0] == ids).mean() > 0.99
    assert (index.reconstruct(-3) == X[5]).all()
    assert (index.reconstruct_batch(ids[:9]) == X[:9]).all()
    # Also where FAISS cannot: from a graph.
    gone = np.concatenate([ids[:300], [123]])
    assert index.remove_ids(gone) == 300 and index.ntotal == 1700
    assert index.remove_ids(ours.IDSelectorRange(-5, 0)) == 0
    assert (index.id_map == ids[300:]).all()
    assert (index.search(X[300:2000], 1)[1][:, 0] == ids[300:]).mean() > 0.99
    assert not np.isin(index.search(X[:300], 5)[1], gone).any()
    with pytest.raises(ours.Error):
        index.reconstruct(int(gone[0]))
    index.add_with_ids(X[:2], ids[:2])
    assert (index.search(X[:2], 1)[1][:, 0] == ids[:2]).all()
    ours.write_index(index, tmp_path / "index")
    copy = ours.read_index(tmp_path / "index")
    assert (copy.id_map == index.id_map).all() and type(copy) is type(index)
    assert (copy.search(Q, 3)[1] == index.search(Q, 3)[1]).all()
    lims, _, labels = index.range_search(X[300:302], 1e-3)
    assert labels.tolist() == ids[300:302].tolist() and lims.tolist() == [0, 1, 2]
    with pytest.raises(ours.Error, match="empty"):
        getattr(ours, wrapper)(copy.index)


@pytest.mark.parametrize("name", ["L2", "IVFFlat", "SQ QT_8bit"])
def test_items_are_removed_as_by_faiss(name):
    gone = np.array([4, 7, 7, 100, 4999, 9999])
    answers = []
    for index in pair(ALL[name]):
        if hasattr(index, "nprobe"):
            index.nprobe = 64
        assert index.remove_ids(gone) == 4 and index.ntotal == len(X) - 4
        answers.append(index.search(X[::50], 1))
    assert_same_shapes(answers[1], answers[0])
    assert (answers[1][1] == answers[0][1]).mean() > 0.98
    kept = np.delete(np.arange(len(X)), gone[:5])
    label = 20 if name.startswith("IVF") else int(np.searchsorted(kept, 20))
    assert np.allclose(index.reconstruct(label), X[20])
    index.add(X[:1])
    assert index.search(X[:1], 2)[1].max() >= len(X) - 4
    with pytest.raises(ours.Error, match="IndexIDMap2"):
        ours.IndexHNSWFlat(D).remove_ids([1])


def test_searches_have_parameters_of_their_own():
    for name in ("L2", "HNSW", "IVFFlat"):
        kind = {"HNSW": "HNSW", "IVFFlat": "IVF"}.get(name, "")
        answers = []
        for library, index in zip((theirs, ours), pair(ALL[name]), strict=True):
            make = getattr(library, f"SearchParameters{kind}")
            options = {"HNSW": {"efSearch": 100}, "IVF": {"nprobe": 64}}.get(kind, {})
            few = library.IDSelectorBatch(np.arange(0, 5000, 7))
            found = index.search(Q, 5, params=make(sel=few, **options))
            assert (found[1] % 7 == 0).all()
            answers.append(found)
            some = make(sel=library.IDSelectorRange(10, 14), **options)
            answers.append(index.search(Q, 5, params=some))
            rest = library.IDSelectorNot(library.IDSelectorRange(2, 5000))
            answers.append(index.search(Q, 5, params=make(sel=rest, **options)))
        assert_same_answers(answers[3], answers[0])
        # FAISS's graph finds fewer than there are.
        assert (np.sort(answers[4][1], axis=1)[:, 1:] == [10, 11, 12, 13]).all()
        assert (np.sort(answers[5][1], axis=1)[:, 3:] == [0, 1]).all()
    assert few.is_member(14) and not few.is_member(15)


@pytest.mark.parametrize("name", ["L2", "IP", "HNSW", "IVFFlat", "PQ", "SQ QT_8bit"])
def test_indexes_are_merged_and_split(name):
    for library in (theirs, ours):
        one, two = ALL[name](library), ALL[name](library)
        for index in (one, two):
            index.train(X)
        one.add(X[:2000])
        two.add(X[2000:])
        if name != "HNSW" or library is ours:
            # FAISS needs the same training of both.
            if name in ("IVFFlat", "PQ") and library is theirs:
                continue
            one.merge_from(two, 2000 if name == "IVFFlat" else 0)
            assert (one.ntotal, two.ntotal) == (len(X), 0)
    if hasattr(one, "nprobe"):
        one.nprobe = 64
    assert (one.reconstruct_n() == X).all()
    labels = one.search(X[::100], 1)[1][:, 0]
    assert name == "IP" or (labels == np.arange(0, len(X), 100)).mean() > 0.97
    parts = ours.split_index(one, 3)
    assert [part.ntotal for part in parts] == [1667, 1667, 1666]
    assert (np.concatenate([part.reconstruct_n() for part in parts]) == X).all()
    assert one.ntotal == len(X) and all(type(part) is type(one) for part in parts)
    whole = ours.merge_indices(parts)
    assert (whole.reconstruct_n() == X).all() and parts[0].ntotal == 1667
    if name == "IVFFlat":
        assert (parts[1]._ids() == np.arange(1667, 3334)).all()
        assert (whole._ids() == np.arange(len(X))).all()
    for wrong in (one, ours.IndexFlatL2(D + 1), ours.IndexFlat(D, ours.METRIC_L1)):
        with pytest.raises(ours.Error, match="merge"):
            one.merge_from(wrong)
    with pytest.raises(ours.Error):
        ours.merge_indices([])
    with pytest.raises(ours.Error):
        ours.split_index(one, 0)


# Without "np", FAISS trains product quantizers for seconds.
FACTORY = [
    *("Flat", "HNSW32", "HNSW16,Flat", "PQ8np", "PQ8x4", "SQ8", "SQ6", "SQ4", "SQfp16", "SQbf16"),
    *("IVF32,Flat", "IVF32,PQ8np", "IVF32,PQ8x4", "IVF32,SQ8", "IVF32_HNSW32,Flat", "IVF32,SQfp16"),
    *("IDMap,Flat", "IDMap2,HNSW16", "IDMap,IVF32,PQ8np", "IDMap2,SQ8"),
]


@pytest.mark.parametrize("description", FACTORY)
@pytest.mark.parametrize("metric", ["METRIC_L2", "METRIC_INNER_PRODUCT"])
def test_descriptions_make_the_indexes_that_faiss_makes(description, metric):
    other = theirs.index_factory(D, description, getattr(theirs, metric))
    mine = ours.index_factory(D, description, getattr(ours, metric))
    few = X[:1500]
    for index in (other, mine):
        if not index.is_trained:
            index.train(few)
        if "IDMap" in description:
            index.add_with_ids(few, np.arange(len(few)) + 3)
        else:
            index.add(few)
    assert type(mine).__name__ == type(other).__name__
    assert mine.metric_type == other.metric_type and mine.ntotal == other.ntotal
    assert_same_shapes(mine.search(Q, 5), other.search(Q, 5))
    if "IVF" in description:
        inner = mine.index if "IDMap" in description else mine
        assert inner.nlist == 32 and inner.nprobe == 1


def test_descriptions_that_are_not_there_are_errors():
    for description in (
        "",
        "PCA8,Flat",
        "IVF,Flat",
        "HNSW16,PQ8",
        "LSH",
        "Flat,Flat",
        "PQ5",
        "SQ5",
    ):
        with pytest.raises(ours.Error):
            ours.index_factory(D, description)
    with pytest.raises(ours.Error):
        ours.index_binary_factory(D, "BLSH")


def test_parameters_are_set_by_their_names():
    lists = ours.index_factory(D, "IDMap,IVF16,Flat")
    ours.ParameterSpace().set_index_parameters(lists, "nprobe=7")
    assert lists.index.nprobe == 7
    lists.set_parameter("nprobe", 9)
    assert lists.index.nprobe == 9
    graph = ours.IndexHNSWFlat(D)
    assert (graph.hnsw.efConstruction, graph.hnsw.efSearch) == (40, 16)
    ours.ParameterSpace().set_index_parameter(graph, "efSearch", 99)
    graph.set_parameter("efConstruction", 50)
    assert (graph.hnsw.efConstruction, graph.hnsw.efSearch) == (50, 99)
    graph.add(X[:10])
    assert graph._index.stats().ef_construction == 50
    assert graph._index.connectivity == (32, 64)
    with pytest.raises(ours.Error, match="before adding"):
        graph.hnsw.efConstruction = 60
    for index in (graph, lists, ours.IndexFlatL2(D)):
        with pytest.raises(ours.Error, match="no parameter"):
            index.set_parameter("speed", 3)


def test_the_constants_are_those_of_faiss():
    for name in ("METRIC_L2", "METRIC_INNER_PRODUCT", "METRIC_L1", "IO_FLAG_READ_ONLY"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.IO_FLAG_MMAP == theirs.IO_FLAG_MMAP
    for name, value in vars(ours.ScalarQuantizer).items():
        if name.startswith("QT_"):
            assert value == getattr(theirs.ScalarQuantizer, name), name


def test_rows_are_normalized_in_place():
    mine, other = X.copy(), X.copy()
    mine[3] = other[3] = 0.0
    ours.normalize_L2(mine)
    theirs.normalize_L2(other)
    np.testing.assert_allclose(mine, other, rtol=1e-6)


BINARY = {
    "flat": lambda f: f.IndexBinaryFlat(D),
    "graph": lambda f: f.IndexBinaryHNSW(D, 16),
    "lists": lambda f: f.IndexBinaryIVF(f.IndexBinaryFlat(D), D, 16),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_indexes_count_the_bits_that_differ(name, tmp_path):
    true = theirs.IndexBinaryFlat(D)
    true.add(BITS)
    expected = true.search(BIT_QUERIES, 10)[0]
    found = []
    for library in (theirs, ours):
        index = BINARY[name](library)
        index.train(BITS)
        index.add(BITS)
        assert index.ntotal == len(BITS) and index.d == D
        found.append(index.search(BIT_QUERIES, 10))
        if name != "graph":
            found.append(index.range_search(BIT_QUERIES, 4))
    mine, other = found[len(found) // 2], found[0]
    assert_same_shapes(mine, other)
    # Ties are many: distances decide.
    assert (mine[0] <= expected).mean() >= (other[0] <= expected).mean()
    differ = (BITS[mine[1]] ^ BIT_QUERIES[:, None]).view(np.uint8)
    assert (np.unpackbits(differ, axis=2).sum(axis=2) == mine[0]).all()
    if name == "flat":
        assert (mine[0] == expected).all()
        assert_same_shapes(found[3], found[1])
        for one, two in zip(found[3], found[1], strict=True):
            assert (one == two).all()
    assert (index.reconstruct(9) == BITS[9]).all() and index.reconstruct(9).dtype == np.uint8
    assert (index.reconstruct_n(0, 50) == BITS[:50]).all()
    ours.write_index_binary(index, str(tmp_path / "index"))
    copy = ours.read_index_binary(str(tmp_path / "index"))
    assert (copy.search(BIT_QUERIES, 5)[0] == index.search(BIT_QUERIES, 5)[0]).all()
    index.reset()
    empty = index.search(BIT_QUERIES, 2)
    assert_same_shapes(empty, true.search(BIT_QUERIES, 2))
    true.reset()
    assert (empty[0] == true.search(BIT_QUERIES, 2)[0]).all() and (empty[1] == -1).all()


def test_binary_indexes_have_ids_and_descriptions():
    for library in (theirs, ours):
        index = library.IndexBinaryIDMap2(library.IndexBinaryFlat(D))
        index.add_with_ids(BITS[:100], np.arange(100) * 11)
        assert (index.reconstruct(33) == BITS[3]).all()
    for description in ("BFlat", "BHNSW16", "BIVF16"):
        other = theirs.index_binary_factory(D, description)
        mine = ours.index_binary_factory(D, description)
        assert type(mine).__name__ == type(other).__name__ and mine.is_trained == other.is_trained
    with pytest.raises(ours.Error, match="multiple of 8"):
        ours.IndexBinaryFlat(12)
    for wrong in (X[:1], BITS[:1, :2], BITS[0]):
        with pytest.raises(ours.Error):
            ours.IndexBinaryFlat(D).add(wrong)
    with pytest.raises(ours.Error):
        ours.IndexBinaryFlat(D).search_and_reconstruct(BITS, 1)


def test_what_cannot_be_is_an_error():
    index = ours.IndexFlatL2(D)
    for wrong in (X[0], X[:, :5], [[1.0]]):
        with pytest.raises(ours.Error, match=r"\(n, 32\)"):
            index.add(wrong)
    bad = X[:3].copy()
    bad[1, 2] = np.nan
    with pytest.raises(voisin.InvalidVector):
        index.add(bad)
    assert index.ntotal == 0
    index.add(X[:3])
    with pytest.raises(ours.Error):
        index.search(Q, 0)
    with pytest.raises(ours.Error):
        index.add_with_ids(X[:3], [1, 2, 3])
    with pytest.raises(ours.Error):
        ours.IndexIDMap(ours.IndexFlatL2(D)).add_with_ids(X[:3], [1, 2])
    with pytest.raises(ours.Error):
        index.merge_from(ours.IndexFlatL2(D), add_id=5)
    for make in (
        lambda: ours.IndexFlat(D, 23),
        lambda: ours.IndexPQ(D, 5, 8),
        lambda: ours.IndexPQ(D, 8, 40),
        lambda: ours.IndexScalarQuantizer(D, 99),
        lambda: ours.IndexIVFFlat(ours.IndexFlatL2(D + 1), D, 10),
        lambda: ours.IndexIVFFlat(ours.IndexFlatL2(D), D, 0),
    ):
        with pytest.raises(ours.Error) as raised:
            make()
        assert isinstance(raised.value, (RuntimeError, ValueError)) and raised.value.remedy
    with pytest.raises(AttributeError):
        ours.IndexLSH


def test_there_is_no_remote_mode_yet():
    for options in ({"server": "tcp://localhost:45678"}, {"api_key": "a"}, {"tenant_id": "b"}):
        with pytest.raises(ours.Error, match="no remote mode yet"):
            ours.configure(**options)


def test_folders_are_made_where_they_are_asked_for_and_go_with_their_index(tmp_path, temporary):
    ours.configure(path=tmp_path / "new" / "folder")
    try:
        index = ours.IndexFlatL2(D)
        index.add(X[:100])
        assert len(list(Path(tmp_path, "new", "folder").iterdir())) == 1
    finally:
        ours.configure()
    other = ours.IndexHNSWFlat(D)
    assert list(temporary.iterdir()) == []
    other.add(X[:100])
    assert len(list(temporary.iterdir())) == 1
    other.reset()
    del index
    gc.collect()
    assert list(temporary.iterdir()) == [] == list(Path(tmp_path, "new", "folder").iterdir())


def test_a_fork_leaves_the_folders_of_its_parent_alone(temporary):
    index = ours.IndexFlatL2(D)
    index.add(X[:50])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with pytest.raises(voisin.Forked):
                index.search(Q[:1], 1)
            del index
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(list(temporary.iterdir())) == 1 and index.search(X[:1], 1)[1] == [[0]]


def test_a_program_may_have_many_indexes():
    many = [ours.IndexFlatL2(D) for _ in range(250)]
    for number, index in enumerate(many):
        index.add(X[number : number + 1])
    assert all(index.search(X[n : n + 1], 1)[0] == [[0.0]] for n, index in enumerate(many))


def test_answers_go_to_the_arrays_of_the_caller():
    index = ours.IndexFlatL2(D)
    index.add(X)
    distances, labels = np.empty((200, 4), "float32"), np.empty((200, 4), "int64")
    found = index.search(Q, 4, D=distances, I=labels)
    assert found[0] is distances and found[1] is labels
    assert (labels == index.search(Q, 4)[1]).all()
    assert (index.assign(Q, 4) == labels).all()


def test_large_indexes_are_added_and_read_in_parts():
    many = rows(25_000, D)
    index = ours.IndexHNSWFlat(D, 8)
    index.add(many)
    index.add(many[:20_000])
    assert index.ntotal == 45_000
    copy = ours.clone_index(index)
    assert (copy.reconstruct_n(24_990, 20) == index.reconstruct_n(24_990, 20)).all()
    target = ours.IndexHNSWFlat(D, 8)
    target.merge_from(copy)
    assert (target.reconstruct_n(44_000, 1000) == many[19_000:20_000]).all()
