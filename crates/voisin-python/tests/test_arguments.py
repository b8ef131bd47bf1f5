"""Arguments that cannot mean anything: what is told names the argument, what it was, and what to
give. Nothing has changed then."""

import numpy as np
import pytest
import voisin
from conftest import rows


@pytest.fixture
def filled(index):
    index.load(rows(300))
    return index


def test_a_number_that_is_too_small_is_told_with_the_least(filled, tmp_path):
    vector, query = rows(1)[0], filled.query(k=3)
    for name, call in (
        ("ef", lambda it: filled.search(vector, ef=it)),
        ("ef", lambda it: filled.similar(1, ef=it)),
        ("nprobe", lambda it: filled.query(nprobe=it)),
        ("per_group", lambda it: query.groups(vector, by=int, per_group=it)),
        ("among", lambda it: query.diverse(vector, among=it)),
        ("sample", lambda it: query.count_within(vector, 1.0, sample=it)),
        ("sample", lambda it: query.measure_recall(it)),
        ("commit_every", lambda it: filled.load(rows(2), commit_every=it)),
        ("max_readers", lambda it: voisin.create(tmp_path / "new", 4, max_readers=it)),
        ("map_size", lambda it: voisin.Folder(tmp_path / "new", map_size=it)),
    ):
        with pytest.raises(voisin.InvalidParameter, match=f"{name} is 0: .* from 1 to") as raised:
            call(0)
        assert (raised.value.value, raised.value.limit) == (0, 1)
        assert isinstance(raised.value, ValueError)
        with pytest.raises(voisin.InvalidParameter, match=f"{name} is -1: .* from 1 to"):
            call(-1)
    for text in ("ef=0", "nprobe=0"):
        with pytest.raises(voisin.InvalidParameter, match=text):
            filled.search(vector, parameters=text)
    # Of these, none is nothing, and no number is a default.
    assert len(filled.search(vector, k=0)) == 0
    assert filled.search(rows(3), k=0).ids.shape == (3, 0)
    assert filled.search(vector, ef=1, nprobe=1, k=5).ids.shape == (5,)
    assert len(filled) == 300 and not (tmp_path / "new").exists()


def test_no_vectors_have_no_answers_and_a_vector_of_nothing_is_of_a_wrong_shape(filled):
    query = filled.query(k=3)
    for nothing in (np.empty((0, 4)), np.empty((0, 4), np.float32)):
        assert filled.search(nothing).ids.shape == (0, 10)
        assert query.search(nothing).ids.shape == (0, 3)
    for nothing in ([], (), np.empty(0), np.empty(0, np.float32)):
        for call in (filled.search, query.search, query.pages, query.nearest_of, query.explain):
            with pytest.raises(
                voisin.DimensionMismatch, match=r"numpy.empty\(\(0, 4\)\)"
            ) as raised:
                call(nothing)
            assert (raised.value.value, raised.value.limit) == (0, 4)
    for nothing in ([[]], np.empty((3, 0))):
        with pytest.raises(voisin.DimensionMismatch):
            filled.search(nothing)


@pytest.mark.parametrize("ids", ["u32", "u64", "str", "bytes", "uuid"])
def test_what_names_no_items_is_told(folder, ids):
    index = voisin.create(folder, 4, ids=ids)
    vector = rows(1)[0]
    with index.batch() as batch:
        for wrong in (None, 1.5, object()):
            for call in (
                lambda wrong: index.add(wrong, vector),
                lambda wrong: index.update(wrong, rows(1)),
                lambda wrong: index.set_record(wrong, {}),
                lambda wrong: index.insert_unless_within(wrong, vector, radius=1.0),
                lambda wrong: index.get_records(wrong),
                lambda wrong: index.vectors(wrong),
                lambda wrong: batch.add(wrong, vector),
                lambda wrong: batch.update(wrong, vector),
                lambda wrong: batch.set_record(wrong, {}),
            ):
                with pytest.raises(voisin.NamingMismatch, match="ids is .*: give one id") as raised:
                    call(wrong)
                assert isinstance(raised.value, TypeError) and isinstance(raised.value, ValueError)
            with pytest.raises(voisin.NamingMismatch, match=f"{type(wrong).__name__} was given"):
                index.vector(wrong)
        for wrong in (1.5, object()):
            with pytest.raises(voisin.NamingMismatch, match="filter is .*: give ids, a condition"):
                index.search(vector, filter=wrong)
            with pytest.raises(voisin.NamingMismatch, match="exclude is .*: give ids, a condition"):
                index.search(vector, exclude=wrong)
        assert len(batch) == 0
    assert len(index) == 0


def test_one_name_is_not_several(filled):
    for call in (filled.vectors, filled.get_records):
        with pytest.raises(voisin.NamingMismatch, match="one name was given.*: give a list of int"):
            call(7)


def test_no_vectors_and_no_records_are_told(filled):
    for call in (lambda: filled.add(1, None), lambda: filled.search(None)):
        with pytest.raises(voisin.InvalidVector, match="vectors is None: give an array of numbers"):
            call()
    with pytest.raises(voisin.InvalidRecord, match="records is 5: give a list of as many records"):
        filled.add([1, 2], rows(2), 5)
    with pytest.raises(voisin.InvalidRecord, match="records is 5: give a list of as many records"):
        filled.set_record([1, 2], 5)


def test_text_that_utf8_has_no_bytes_for_is_told(folder):
    index = voisin.create(folder, 4, ids=str, fields={"tag": "keyword"})
    index.add(["a", "ab"], rows(2), [{"tag": "x"}, {"tag": "y"}])
    vector, wrong = rows(1)[0], "a\ud800"
    told = "lone surrogate.*: give text without"
    for call in (
        lambda: index.add(wrong, vector),
        lambda: index.add(["b", wrong], rows(2)),
        lambda: index.delete(wrong),
        lambda: index.vector(wrong),
        lambda: wrong in index,
        lambda: index.search(vector, filter=[wrong]),
        lambda: index.tenant(wrong),
        lambda: voisin.tenant_of(wrong),
    ):
        with pytest.raises(voisin.InvalidId, match=f"an id is 'a.ud800', with a {told}"):
            call()
    for name, call in (
        ("prefix", lambda: index.search(vector, prefix=wrong)),
        ("prefix", lambda: index.filter(prefix=wrong)),
        ("kind", lambda: index.query(kind=wrong)),
        ("parameters", lambda: index.search(vector, parameters=wrong)),
        ("name", lambda: voisin.open(folder, name=wrong)),
        ("name", lambda: voisin.create(folder, 4, name=wrong)),
    ):
        with pytest.raises(voisin.InvalidParameter, match=f"^{name} is 'a.ud800', with a {told}"):
            call()
    with pytest.raises(voisin.InvalidCondition, match="surrogates"):
        index.count(voisin.field("tag") == wrong)
    with pytest.raises(voisin.InvalidCondition, match=told):
        voisin.Condition(f'{{"field": "tag", "eq": "{wrong}"}}')
    with pytest.raises(voisin.InvalidRecord, match="surrogates"):
        index.set_record("a", {"tag": wrong})
    assert sorted(index) == ["a", "ab"] and index.check() == []


def test_a_mask_is_not_lost(filled):
    masked = np.ma.masked_invalid(rows(3).copy())
    # Nothing is masked: it is as good as any array.
    filled.add([900, 901, 902], masked)
    assert (filled.vectors([900, 901, 902]) == masked.data).all()
    masked[1, 2] = np.ma.masked
    query = filled.query(k=3)
    for call in (
        lambda: filled.add([1, 2, 3], masked),
        lambda: filled.add(1, masked[1]),
        lambda: filled.add([1, 2, 3], list(masked)),
        lambda: filled.add([1, 2, 3], masked.astype(np.int64)),
        lambda: filled.search(masked),
        lambda: query.nearest_of(masked),
        lambda: filled.load(masked),
        lambda: filled.load([(1, masked[1])]),
    ):
        with pytest.raises(voisin.InvalidVector, match=r"masked elements.*: give vectors.filled"):
            call()
    filled.search(masked.filled(0.0))
    ids = np.ma.masked_array([1, 2, 3], [False, True, False])
    for call in (lambda: filled.add(ids, rows(3)), lambda: filled.search(rows(1), filter=ids)):
        with pytest.raises(voisin.NamingMismatch, match=r"masked elements.*: give ids.compressed"):
            call()
    filled.add(ids.compressed(), rows(3)[[0, 2]])
    assert len(filled) == 303 and (filled[2] == rows(300)[2]).all()
