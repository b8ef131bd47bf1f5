"""What people try who know arrays and dicts, and not this package: it works, or a message says what
to do. Each was tried by hand first."""

import pickle

import numpy as np
import pytest
from conftest import rows

import voisin


@pytest.fixture
def filled(index):
    index.load(rows(300))
    return index


def test_one_id_is_as_good_as_a_list_of_one(filled):
    vector = rows(1, seed=9)[0]
    filled.add(1000, vector.reshape(1, 4))
    filled.add([1001], vector)
    assert filled.search(vector, filter=1000).ids.tolist() == [1000]
    assert filled.search(vector, k=1, exclude=1000).ids.tolist() == [1001]
    with pytest.raises(voisin.LengthMismatch, match="2 ids and 1 vectors"):
        filled.add([1, 2], vector)
    with pytest.raises(voisin.LengthMismatch, match="1 ids and 2 vectors"):
        filled.add(1, rows(2))


def test_a_text_is_one_id_and_no_list_of_letters(folder):
    index = voisin.create(folder, 4, ids=str)
    index.add(["a", "b", "ab"], rows(3))
    assert index.search(rows(1)[0], filter="ab").ids.tolist() == ["ab"]
    assert len(index.search(rows(1)[0], exclude="ab")) == 2


def test_nothing_is_added_by_empty_lists(filled):
    for nothing in ([], np.zeros((0, 4)), np.zeros(0, np.float32)):
        filled.add([], nothing)
        assert filled.load(nothing) == 0
    assert len(filled) == 300
    with pytest.raises(voisin.InvalidParameter, match="None has no rows"):
        filled.load(None)


def test_vectors_that_are_elements_of_a_column_are_rows(filled):
    column = np.empty(20, object)
    column[:] = [list(row) for row in rows(20)]
    expected = filled.search(rows(20), k=1).ids
    assert np.array_equal(filled.search(column, k=1).ids, expected)
    column[3] = [1.0]
    with pytest.raises(voisin.InvalidVector, match="rows of one length"):
        filled.search(column)
    with pytest.raises(voisin.InvalidVector, match="give numbers"):
        filled.search(np.array([None, "a", 1.0, 2.0], object))


def test_frames_of_pandas_are_loaded_by_their_columns(folder):
    pandas = pytest.importorskip("pandas")
    data = rows(50)
    frame = pandas.DataFrame({"id": range(50), "embedding": list(data)})
    index = voisin.create(folder, 4)
    index.load(frame["embedding"], ids=frame["id"])
    index.add(frame["id"][:2], frame["embedding"][:2])
    assert index.search(frame["embedding"][7], k=1)[0].id == 7


def test_masks_and_booleans_are_no_ids(filled):
    with pytest.raises(voisin.NamingMismatch, match="flatnonzero"):
        filled.search(rows(1)[0], filter=np.ones(300, bool))
    with pytest.raises(voisin.NamingMismatch, match="bool was given"):
        filled.add(True, rows(1)[0])
    mask = np.arange(300) % 7 == 0
    found = filled.search(rows(1)[0], k=300, filter=np.flatnonzero(mask))
    assert sorted(found.ids) == np.flatnonzero(mask).tolist()


def test_a_k_that_no_memory_holds_ends_no_process(filled):
    few = filled.search(rows(1)[0], k=2**60)
    assert len(few) == 300
    many = filled.search(rows(2), k=2**45, vectors=True)
    for arrays in ("ids", "distances", "vectors"):
        with pytest.raises(voisin.InvalidParameter, match="smaller k"):
            getattr(many, arrays)
    assert len(many[1].ids) == 300


def test_a_number_that_cannot_be_is_told_with_the_name_of_its_argument(filled, tmp_path):
    vector = rows(1)[0]
    query = filled.query(k=3)
    for name, call in (
        ("k", lambda it: filled.search(vector, k=it)),
        ("k", lambda it: filled.similar(1, it)),
        ("ef", lambda it: filled.search(vector, ef=it)),
        ("nprobe", lambda it: filled.query(nprobe=it)),
        ("per_group", lambda it: query.groups(vector, by=int, per_group=it)),
        ("among", lambda it: query.diverse(vector, among=it)),
        ("sample", lambda it: query.count_within(vector, 1.0, sample=it)),
        ("sample", lambda it: query.measure_recall(it)),
        ("commit_every", lambda it: filled.load(rows(2), commit_every=it)),
        ("memory", lambda it: filled.load(rows(2), memory=it)),
        ("threads", lambda it: filled.load(rows(2), threads=it)),
        ("offset", lambda it: filled.merge(filled, offset=it)),
        ("dimensions", lambda it: voisin.create(tmp_path / "new", it)),
        ("m", lambda it: voisin.create(tmp_path / "new", 4, m=it)),
        ("seed", lambda it: voisin.open_or_create(tmp_path / "new", 4, seed=it)),
        ("max_readers", lambda it: voisin.open(tmp_path / "new", max_readers=it)),
        ("map_size", lambda it: voisin.Folder(tmp_path / "new", map_size=it)),
    ):
        for wrong in (-1, 2**70, np.int64(-7)):
            with pytest.raises(voisin.InvalidParameter) as raised:
                call(wrong)
            assert str(raised.value).startswith(f"{name} is {wrong}: use a whole number"), name
        for wrong in ("x", 1.5, [1], True):
            with pytest.raises(voisin.InvalidType, match=f"^{name} is .*: give a whole number"):
                call(wrong)
    with pytest.raises(voisin.InvalidParameter) as raised:
        voisin.open(tmp_path, max_readers=2**32)
    assert (raised.value.value, raised.value.limit) == (2**32, 2**32 - 1)
    with pytest.raises(TypeError, match="^radius is 'x', of type str: give a number"):
        filled.search(vector, radius="x")
    assert not (tmp_path / "new").exists()


def test_ef_and_recall_are_not_given_together(filled):
    with pytest.raises(voisin.InvalidParameter, match="ef 50 and recall 0.9"):
        filled.search(rows(1)[0], ef=50, recall=0.9)


def test_types_of_numpy_and_one_kind_are_options(tmp_path):
    for at, dtype in enumerate((np.float16, np.dtype("float16"), "float16", "f16")):
        index = voisin.create(tmp_path / f"{at}", 4, dtype=dtype, kinds="flat")
        assert (index.dtype, index.kinds()) == ("f16", ["flat"])
    with pytest.raises(voisin.InvalidParameter, match='no metric "cos": use one of'):
        voisin.create(tmp_path / "cos", 4, metric="cos")
    with pytest.raises(voisin.InvalidParameter, match='as "float64"'):
        voisin.create(tmp_path / "float64", 4, dtype=np.float64)


def test_an_index_iterates_over_its_ids_as_a_dict_does(filled, tmp_path):
    filled.delete([0, 3])
    assert list(filled) == filled.ids().tolist()
    assert {id: filled[id].shape for id in filled} == dict.fromkeys(list(filled), (4,))
    named = voisin.create(tmp_path / "named", 4, ids=str)
    named.add(["b", "a"], rows(2))
    assert list(named) == ["a", "b"]


def test_what_cannot_be_pickled_says_what_can(filled):
    found = filled.search(rows(1)[0])
    with pytest.raises(TypeError, match="its ids and distances"):
        pickle.dumps(found)
    assert pickle.loads(pickle.dumps(list(found))) == list(found)
    for it, remedy in (
        (filled.search(rows(2)), "ids and distances"),
        (filled.query(k=3), "the index and the options"),
        (filled.snapshot(), "the index"),
    ):
        with pytest.raises(TypeError, match=remedy):
            pickle.dumps(it)
    assert len(pickle.loads(pickle.dumps(filled))) == 300


def test_a_search_that_finds_nothing_has_vectors_of_a_shape(filled):
    vector = rows(1)[0]
    for found in (
        filled.search(vector, filter=[], vectors=True, records=True),
        filled.search(vector, k=0, vectors=True, records=True),
        filled.search(vector.reshape(1, 4), filter=[], vectors=True, records=True)[0],
        filled.snapshot().search(
            vector, radius=0.0, exclude=filled.ids(), vectors=True, records=True
        ),
    ):
        assert (found.vectors.shape, found.records, len(found)) == ((0, 4), [], 0)
    assert filled.search(vector, filter=[]).vectors is None


def test_the_only_index_of_a_folder_need_not_be_named(tmp_path):
    voisin.create(tmp_path / "one", 4, name="only").add([7], rows(1))
    assert voisin.open(tmp_path / "one").ids().tolist() == [7]
    assert voisin.open(tmp_path / "one", read_only=True).name == "only"
    voisin.create(tmp_path / "one", 4, name="other")
    with pytest.raises(voisin.NotThere, match=r"only.*other.*name one of these \(name=\)"):
        voisin.open(tmp_path / "one")
    voisin.remove_index(tmp_path / "one", "only")
    assert voisin.open(tmp_path / "one").name == "other"
    with pytest.raises(voisin.NotThere):
        voisin.remove_index(tmp_path / "one", "only")
    voisin.remove_index(tmp_path / "one", "other")
    with pytest.raises(voisin.NotThere, match="which has none: check the path, or create it first"):
        voisin.open(tmp_path / "one")


def test_true_is_no_number_of_bits(tmp_path, filled):
    with pytest.raises(voisin.InvalidParameter, match="no codes of True"):
        voisin.create(tmp_path / "bits", 4, codes=True)
    with pytest.raises(voisin.InvalidParameter, match="no codes of True"):
        filled.set_codes(True)


def test_a_data_frame_is_a_matrix(filled):
    class Frame:
        """As pandas and polars have it."""

        columns = ("a", "b", "c", "d")

        def to_numpy(self):
            return rows(3, seed=5).astype(np.float64)

        def __arrow_c_stream__(self):
            raise AssertionError("columns are no vectors")

    filled.add([900, 901, 902], Frame())
    assert filled.search(Frame(), k=1).ids.tolist() == [[900], [901], [902]]
