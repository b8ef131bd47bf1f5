"""What every user touches: creating, adding, searching, deleting, looking after an index."""

import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest
from conftest import rows

import voisin


@pytest.mark.parametrize(
    ("ids", "names", "dtype"),
    [(int, [5, 1, 9], "int64"), ("u64", [5, 2**63, 9], "uint64"), (str, ["e", "a", "i"], "object")],
)
def test_an_index_of_each_kind_of_ids_adds_finds_and_deletes(folder, ids, names, dtype):
    index = voisin.create(folder, 2, metric="euclidean", ids=ids)
    index.add(names, [[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    found = index.search([0.75, 0.0], k=2)
    assert [hit.id for hit in found] == [names[1], names[0]]
    assert found.ids.tolist() == [names[1], names[0]] and found.ids.dtype == dtype
    assert found.distances.tolist() == [0.0625, 0.5625]
    assert found.distances.dtype == np.float32
    assert names[0] in index and len(index) == 3
    assert index.ids().tolist() == sorted(names)
    assert index[names[2]].tolist() == [5.0, 0.0]
    assert index.vectors([names[2], names[0]]).tolist() == [[5.0, 0.0], [0.0, 0.0]]
    assert index.delete(names[0]) == 1 and index.delete([names[0], names[1]]) == 1
    assert len(index) == 1 and names[0] not in index and index.vector(names[0]) is None
    assert index.check() == []
    reopened = pickle.loads(pickle.dumps(index))
    assert reopened.ids().tolist() == [names[2]]


def test_a_matrix_answers_as_each_of_its_rows(index):
    vectors = rows(3000)
    index.load(vectors)
    queries = rows(50, seed=8)
    found = index.search(queries, k=5)
    assert found.ids.shape == found.distances.shape == (50, 5) and len(found) == 50
    assert found.counts.tolist() == [5] * 50
    for row, query in enumerate(queries):
        alone = index.search(query, k=5)
        assert found.ids[row].tolist() == alone.ids.tolist()
        assert found.distances[row].tolist() == alone.distances.tolist()
        assert [tuple(hit) for hit in found[row]] == [tuple(hit) for hit in alone]
    exact = index.search(queries, k=5, exact=True)
    distances = ((queries[:, None, :] - vectors[None, :, :]) ** 2).sum(axis=2)
    assert exact.ids.tolist() == distances.argsort(axis=1, kind="stable")[:, :5].tolist()
    assert exact.is_complete and exact[0].strategy == "all"


def test_codes_that_are_not_asked_for_are_those_that_the_index_has(folder):
    index = voisin.create(folder, 4, codes=None)
    index.load(rows(2000))
    for codes in (None, 4, 1):
        index.set_codes(codes)
        again = voisin.open_or_create(folder, 4)
        stored = again.stats().codes
        assert (stored.bits if stored else None) == codes and len(again) == 2000
    with pytest.raises(voisin.Mismatch):
        voisin.open_or_create(folder, 4, codes=8)
    with pytest.raises(voisin.Mismatch):
        voisin.open_or_create(folder, 4, metric="euclidean")


def test_a_matrix_of_many_rows_is_answered_in_one_state_and_as_each_of_them(index):
    vectors = rows(500)
    index.load(vectors)
    queries = rows(9000, seed=8)
    expected = ((queries[:, None, :] - vectors[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)
    for matrix in (queries, queries.astype("float64"), queries.astype("float16")):
        found = index.search(matrix, k=1, exact=True)
        assert len(found) == 9000 and (found.ids[:, 0] == expected).mean() > 0.99
        for row in (0, 4095, 4096, 8999):
            assert found[row].ids.tolist() == index.search(matrix[row], k=1).ids.tolist()
    commits = {found[row].commit for row in range(9000)}
    assert len(commits) == 1
    late = index.search(queries, k=5, exact=True, deadline=0.0)
    assert len(late) == 9000 and late.timed_out and all(late[row].timed_out for row in range(9000))
    token = voisin.CancelToken()
    token.cancel()
    stopped = index.search(queries, exact=True, cancel=token, records=True, vectors=True)
    assert len(stopped) == 9000 and stopped.is_cancelled and stopped[8999].records == []
    queries[5000, 2] = np.nan
    with pytest.raises(voisin.InvalidVector) as refused:
        index.search(queries)
    assert refused.value.value == 5000


def test_an_answer_with_fewer_items_is_filled_up(folder):
    for ids, names, fill in [
        (int, [1, 2], -1),
        ("u64", [1, 2], 2**64 - 1),
        (str, ["a", "b"], None),
    ]:
        index = voisin.create(folder, 2, metric="euclidean", ids=ids, name=f"of {ids}")
        index.add(names, [[0.0, 0.0], [1.0, 0.0]])
        found = index.search([[0.1, 0.0], [0.9, 0.0]], k=3, vectors=True)
        assert found.ids.tolist() == [[*names, fill], [*names[::-1], fill]]
        assert found.counts.tolist() == [2, 2]
        assert np.isinf(found.distances[:, 2]).all() and np.isfinite(found.distances[:, :2]).all()
        assert found.vectors is not None and found.vectors.shape == (2, 3, 2)
        assert found.vectors[0, :2].tolist() == [[0.0, 0.0], [1.0, 0.0]]
        assert np.isnan(found.vectors[:, 2]).all()
    assert index.names() == ["of <class 'int'>", "of <class 'str'>", "of u64"]


def test_options_of_a_search_restrict_and_extend_it(index):
    vectors = rows(2000)
    index.load(vectors)
    query = vectors[17] + 0.01
    assert index.search(query, k=1)[0].id == 17
    even = np.arange(0, 2000, 2)
    for filter in (even, even.tolist(), set(even.tolist()), range(0, 2000, 2), index.filter(even)):
        found = index.search(query, k=10, filter=filter, exact=True)
        assert len(found) == 10 and all(hit.id % 2 == 0 for hit in found)
    asked = []
    found = index.search(query, k=10, filter=lambda id: asked.append(id) or id % 2 == 0, exact=True)
    assert all(hit.id % 2 == 0 for hit in found) and 17 in asked
    assert 17 not in index.search(query, k=10, exclude=[17]).ids
    near = index.search(query, k=2000, radius=0.5, exact=True)
    distances = ((vectors - query) ** 2).sum(axis=1)
    assert len(near) == (distances <= 0.5).sum() and near.is_complete
    assert index.search(query, k=3, radius=0.5, exact=True).has_more
    with_vectors = index.search(query, k=3, vectors=True)
    assert (with_vectors.vectors == vectors[with_vectors.ids]).all()
    assert index.search(query, k=3).vectors is None
    late = index.search(query, k=5, deadline=0.0)
    assert late.timed_out and late.is_cancelled and "timed out" in repr(late)
    token = voisin.CancelToken()
    token.cancel()
    assert index.search(query, cancel=token).is_cancelled
    assert index.search(query, k=5, ef=200, codes=False)[0].id == 17
    assert index.search(query, k=5, recall=0.9, exact=None)[0].id == 17
    assert index.search(query, k=1, exact=False).strategy == "graph"
    assert index.similar(17, k=1)[0].id != 17


def test_strings_can_be_searched_by_prefix(folder):
    index = voisin.create(folder, 4, ids=str)
    index.load([(f"{'ann' if i % 2 else 'bob'}/{i}", row) for i, row in enumerate(rows(1000))])
    query = rows(1, seed=3)[0]
    for options in ({"prefix": "ann/"}, {"filter": index.filter(prefix="ann/")}):
        found = index.search(query, k=20, **options)
        assert len(found) == 20 and all(hit.id.startswith("ann/") for hit in found)
    assert repr(index.filter(prefix="ann/")) == '<Filter of all ids that begin with "ann/">'
    assert repr(index.filter(["ann/1"])) == "<Filter of 1 items>"


def test_bytes_and_uuids_name_items(folder):
    uuids = [uuid.uuid5(uuid.NAMESPACE_URL, str(i)) for i in range(100)]
    for ids, names in ((bytes, [i.bytes[:5] for i in uuids]), (uuid.UUID, uuids)):
        index = voisin.create(folder, 4, ids=ids, name=ids.__name__)
        index.add(names, rows(100), [{"i": i} for i in range(100)])
        assert index.id_type == ids.__name__.lower() and list(index.ids()) == sorted(names)
        query = rows(100)[7]
        found = index.search(query, k=5)
        assert found[0].id == names[7] and type(found[0].id) is ids
        assert list(found.ids)[0] == names[7] and repr(names[7]) in repr(found)
        assert index.search(rows(100)[:2], k=1).ids.tolist() == [[names[0]], [names[1]]]
        for options in (
            {"filter": names[:3]},
            {"filter": index.filter(names[:3])},
            {"filter": lambda name, some=frozenset(names[:3]): name in some},
        ):
            assert {hit.id for hit in index.search(query, k=5, **options)} == set(names[:3])
        assert (index[names[3]] == rows(100)[3]).all() and names[3] in index
        assert index.get_record(names[3]) == {"i": 3}
        with index.batch() as batch:
            batch.delete(names[3])
            batch.add(names[4], rows(1)[0])
        assert names[3] not in index and len(index) == 99 and (index[names[4]] == rows(1)[0]).all()
        assert index.delete(names[:3]) == 3
        with pytest.raises(KeyError):
            index[names[3]]
        for wrong in ("a", 7, [7], ["a"], uuids[0] if ids is bytes else b"a"):
            with pytest.raises(voisin.NamingMismatch):
                index.add(wrong, rows(1))
        with pytest.raises(voisin.NamingMismatch):
            index.filter(prefix="a")
        snapshot = index.snapshot()
        assert list(snapshot.ids()) == sorted(names[4:])
        pages = index.query(k=50).pages(query)
        assert [len(page) for page in pages] == [50, 46]
        assert index.check() == []
    with pytest.raises(voisin.NamingMismatch):
        voisin.open_or_create(folder, 4, ids=bytes, name="UUID")
    with pytest.raises(voisin.InvalidParameter, match="UUID"):
        voisin.create(folder, 4, ids=float, name="float")


def test_an_exception_of_a_predicate_is_that_of_the_search(index):
    index.load(rows(2000))

    def refuses(id: int) -> bool:
        raise LookupError(id)

    with pytest.raises(LookupError):
        index.search(rows(1)[0], filter=refuses)
    with pytest.raises(LookupError):
        index.search(rows(5), filter=refuses)


def test_a_snapshot_keeps_its_commit(index):
    index.add([1, 2], rows(2))
    with index.snapshot() as before:
        index.add(3, rows(1)[0])
        assert len(before) == 2 and len(index) == 3 and 3 not in before
        assert before.search(rows(1)[0], k=5).ids.tolist().count(3) == 0
        assert before.ids().tolist() == [1, 2]
        with index.snapshot() as after:
            assert after.commit > before.commit
    with pytest.raises(voisin.Closed):
        len(before)


def test_a_closed_index_says_so_and_closes_at_the_end_of_its_block(folder):
    with voisin.create(folder, 4) as index:
        index.add(1, rows(1)[0])
        assert not index.closed
    assert index.closed and "closed" in repr(index)
    for call in (
        lambda: len(index),
        lambda: index.search(rows(1)[0]),
        lambda: index.add(2, rows(1)[0]),
    ):
        with pytest.raises(voisin.Closed):
            call()


def test_an_update_needs_all_of_its_items(index):
    index.add([1, 2], rows(2))
    index.update(2, [9.0, 9.0, 9.0, 9.0])
    assert index[2].tolist() == [9.0] * 4
    with pytest.raises(voisin.MissingItem) as raised:
        index.update([1, 5], rows(2, seed=9))
    assert isinstance(raised.value, KeyError) and "no item 5" in str(raised.value)
    assert (index[1] == rows(2)[0]).all()
    with pytest.raises(KeyError):
        index[5]
    with pytest.raises(voisin.MissingItem):
        index.similar(5)


def test_items_can_be_linked_later(index):
    index.add(range(3000), rows(3000), link=False)
    assert index.pending == 3000
    assert index.search(rows(3000)[5], k=1)[0].id == 5
    assert index.link() == 3000 and index.pending == 0
    index.optimize()
    index.rebuild()
    index.calibrate()
    assert index.search(rows(3000)[5], k=1)[0].id == 5


def test_an_index_tells_about_itself(folder):
    index = voisin.create(
        folder,
        64,
        metric="euclidean",
        dtype="float16",
        name="notes",
        m=8,
        ef_construction=64,
        seed=3,
    )
    index.load(rows(2000, 64))
    stats = index.stats()
    assert (stats.items, stats.m, stats.m0, stats.ef_construction) == (2000, 8, 16, 64)
    assert stats.dtype == "f16" and stats.codes is not None and stats.codes.bits == 8
    assert stats.layers[0].nodes == 2000 and stats.layers[0].edges > 2000
    assert stats.kinds["CODES"][1] > 0 and stats.bytes > stats.hot_bytes > 0
    assert stats.file.file_bytes > stats.bytes and stats.warnings == []
    assert "2000 items of 64 x f16" in repr(stats)
    (found,) = voisin.inspect(folder)
    assert (found.name, found.metric, found.dtype, found.items) == (
        "notes",
        "euclidean",
        "f16",
        2000,
    )
    assert found.id_type == "u32" and found.connectivity == (8, 16) and found.error is None
    assert index.connectivity == (8, 16)
    copy = folder.with_name("copy")
    assert index.copy_to(copy) > 0
    assert len(voisin.open(copy, name="notes", read_only=True)) == 2000
    index.set_codes(None)
    assert index.stats().codes is None
    index.set_codes(4)
    assert index.stats().codes.bits == 4
    assert voisin.verify_file(folder) == []
    assert not index.repair()


def test_an_index_of_i8_is_trained_by_a_load_or_a_sample(folder):
    loaded = voisin.create(folder, 8, dtype="i8", name="loaded")
    loaded.load(rows(500, 8))
    trained = voisin.create(folder, 8, dtype="int8", name="trained")
    with pytest.raises(voisin.NotTrained):
        trained.add(1, rows(1, 8)[0])
    trained.train(rows(500, 8))
    trained.add(1, rows(1, 8)[0])
    assert trained.stats().range.highest > 1.0
    with pytest.raises(voisin.CallerError):
        voisin.create(folder, 8, name="floats").train(rows(10, 8))


def test_opening_and_creating_agree_or_say_what_differs(folder):
    with pytest.raises(voisin.NotThere) as raised:
        voisin.open(folder)
    assert isinstance(raised.value, FileNotFoundError)
    index = voisin.open_or_create(folder, 4, ids=str)
    assert voisin.open_or_create(folder, 4, ids=str).name == index.name == "main"
    assert Path(index.path) == folder.resolve()
    with pytest.raises(voisin.AlreadyThere):
        voisin.create(folder, 4)
    with pytest.raises(voisin.Mismatch) as mismatch:
        voisin.open_or_create(folder, 5, ids=str)
    assert (mismatch.value.value, mismatch.value.limit) == ("5", "4")
    with pytest.raises(voisin.NamingMismatch):
        voisin.open_or_create(folder, 4)
    with pytest.raises(voisin.NotThere):
        voisin.open(folder, name="other")
    with pytest.raises(voisin.ReadOnly):
        voisin.open(folder, read_only=True).add("a", rows(1)[0])


def test_metrics_and_types_have_the_names_that_people_know(folder):
    dot = voisin.create(folder, 4, metric="dot", name="dot")
    assert dot.metric == "dot product"
    l2 = voisin.create(folder, 4, metric="l2", dtype="bfloat16", ids="int", name="l2")
    assert (l2.metric, l2.dtype, l2.id_type) == ("euclidean", "bf16", "u32")
    for metric, dtype in [
        ("manhattan", "f32"),
        ("hamming", "bits"),
        ("binary quantized cosine", "signs"),
    ]:
        made = voisin.create(folder, 64, metric=metric, name=metric)
        assert (made.metric, made.dtype) == (metric, dtype)
    with pytest.raises(voisin.InvalidParameter) as raised:
        voisin.create(folder, 4, metric="chebyshev", name="x")
    assert "euclidean" in str(raised.value) and "Options" not in str(raised.value)
    for wrong in ({"codes": 3}, {"codes": "slow"}, {"ids": float}, {"m": 1}):
        with pytest.raises(voisin.InvalidParameter):
            voisin.create(folder, 4, name="x", **wrong)
    with pytest.raises(voisin.CallerError):
        voisin.create(folder, 4, metric="manhattan", codes="fast", name="x")


def test_answers_print_well(index):
    index.add(range(12), rows(12))
    found = index.search(rows(1)[0], k=12)
    lines = repr(found).splitlines()
    assert lines[0] == "<12 items, all>" and lines[1] == "  id  distance"
    assert lines[2] == "   0  0.000000" and lines[-1] == " ..." and len(lines) == 13
    html = found._repr_html_()
    assert html.startswith("<table>") and "<td>0.000000</td>" in html and "2 more" in html
    assert repr(index.search(rows(1)[0], k=0)) == "<0 items, all>"
    assert repr(index.search(rows(3))) == "<3 answers, k 10>"
    assert found[-1].id == found.ids[-1]
    with pytest.raises(IndexError):
        found[12]
    assert found.cost[0] >= 12 and found.pending == 0
