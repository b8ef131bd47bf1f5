"""Arrays of every type, in place where they can be, converted once where they cannot."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import rows

import voisin


def of_bytes(count: int = 500) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 100, size=(count, 4))


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "float16",
        "int8",
        "uint8",
        "int16",
        "int64",
        "uint32",
        ">f4",
        "longdouble",
    ],
)
def test_every_type_of_numbers_gives_the_same_index(folder, dtype):
    vectors = of_bytes().astype(dtype)
    index = voisin.create(folder, 4, metric="euclidean")
    index.load(vectors)
    other = voisin.create(folder, 4, metric="euclidean", name="other")
    other.add(range(500), vectors)
    other.update(7, vectors[7])
    assert (index.vectors(range(500)) == of_bytes()).all()
    assert (other.vectors(range(500)) == of_bytes()).all()
    queries = of_bytes(20).astype(dtype)
    exact = index.search(of_bytes(20).astype("float32"), k=3, exact=True)
    assert (index.search(queries, k=3, exact=True).distances == exact.distances).all()
    assert index.search(queries[0], k=3, exact=True).ids.tolist() == exact.ids[0].tolist()


def test_arrays_of_any_layout_are_taken(folder):
    index = voisin.create(folder, 4, metric="euclidean")
    vectors = of_bytes().astype("float32")
    wide = np.zeros((500, 8), dtype="float32")
    wide[:, ::2] = vectors
    unaligned = np.frombuffer(b"x" + vectors.tobytes(), dtype="uint8")[1:].view("float32")
    for layout in (
        np.asfortranarray(vectors),
        wide[:, ::2],
        unaligned.reshape(500, 4),
        vectors.tolist(),
        memoryview(vectors),
        vectors.astype(bool).astype("float32") * 0 + vectors,
    ):
        index.load(layout)
        assert (index.vectors(range(500)) == vectors).all()
        assert index.search(layout, k=1, exact=True).distances.max() == 0.0
    assert index.search(vectors[::2], k=1, exact=True).ids.shape == (250, 1)
    assert index.search(tuple(vectors[3].tolist()), k=1, exact=True)[0].distance == 0.0
    read_only = vectors.copy()
    read_only.flags.writeable = False
    assert index.search(read_only, k=1, exact=True).distances.max() == 0.0


def test_bits_are_taken_packed_and_unpacked(folder):
    bits = np.random.default_rng(5).integers(0, 2, size=(300, 70)).astype("uint8")
    packed = np.packbits(bits, axis=1)
    assert packed.shape == (300, 9)
    index = voisin.create(folder, 70, metric="hamming")
    index.load(packed)
    assert (index.vectors(range(300)) == bits).all()
    index.add(range(300), bits)
    assert (index.vectors(range(300)) == bits).all()
    found = index.search(packed, k=2, exact=True)
    assert (found.distances == index.search(bits, k=2, exact=True).distances).all()
    assert (found.ids == index.search(bits.astype(bool), k=2, exact=True).ids).all()
    assert index.search(packed[4], k=1)[0] == (4, 0.0)
    with pytest.raises(voisin.DimensionMismatch):
        index.search(packed[:, :8])
    # Only an index of bits takes packed ones.
    floats = voisin.create(folder, 70, name="floats")
    with pytest.raises(voisin.DimensionMismatch):
        floats.search(packed[0])


def test_what_gives_arrow_or_dlpack_is_taken(folder):
    pyarrow = pytest.importorskip("pyarrow")
    vectors = of_bytes().astype("float32")
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), 4)
    index = voisin.create(folder, 4, metric="euclidean")
    index.load(column)
    assert (index.vectors(range(500)) == vectors).all()
    index.load(pyarrow.chunked_array([column.slice(0, 200), column.slice(200)]))
    assert (index.vectors(range(500)) == vectors).all()
    assert index.search(column.slice(10, 5), k=1, exact=True).distances.max() == 0.0

    class OnlyDlpack:
        def __dlpack__(self, **options):
            return vectors.__dlpack__(**options)

        def __dlpack_device__(self):
            return vectors.__dlpack_device__()

    assert index.search(OnlyDlpack(), k=1, exact=True).distances.max() == 0.0


def test_contiguous_arrays_are_not_copied(folder):
    index = voisin.create(folder, 256, metric="euclidean", codes=None)
    index.load(rows(100, 256))
    for dtype in ("float32", "float64"):
        queries = rows(4000, 256).astype(dtype)
        # numpy reports its arrays to tracemalloc.
        tracemalloc.start()
        try:
            index.search(queries, k=1)
            index.add(range(10), queries[:10])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < queries.nbytes / 10, f"{dtype}: {peak} bytes"


def test_what_is_no_vector_is_refused(index):
    index.add(1, [0.0, 1.0, 2.0, 3.0])
    for wrong in (
        "text",
        object(),
        [[1.0, 2.0], [3.0]],
        np.array(["a", "b", "c", "d"]),
        None,
        5.0,
        np.zeros((2, 2, 4)),
        np.zeros(4, dtype=complex),
    ):
        with pytest.raises(voisin.InvalidVector) as raised:
            index.search(wrong)
        assert raised.value.remedy.startswith("give "), str(raised.value)
    with pytest.raises(voisin.DimensionMismatch) as mismatch:
        index.search([1.0, 2.0])
    assert (mismatch.value.value, mismatch.value.limit) == (2, 4)
    with pytest.raises(voisin.InvalidVector, match="NaN"):
        index.add(2, [0.0, float("nan"), 0.0, 0.0])
    with pytest.raises(voisin.InvalidVector, match="row 1"):
        index.search([[0.0] * 4, [float("inf")] * 4])
    assert len(index) == 1


def test_ids_are_checked(folder, index):
    vectors = rows(2)
    for wrong in (
        [1, -2],
        [1, 2**32],
        np.array([1, -1]),
        [1, 2**70],
        np.array([1, 2**63], dtype="uint64"),
    ):
        with pytest.raises(voisin.InvalidId):
            index.add(wrong, vectors)
    for wrong in (["a", "b"], "ab", [1.5, 2.5]):
        with pytest.raises(voisin.NamingMismatch):
            index.add(wrong, vectors)
    with pytest.raises(voisin.LengthMismatch):
        index.add([1, 2, 3], vectors)
    for good in (
        [1, 2],
        (1, 2),
        range(1, 3),
        np.array([1, 2], dtype="int16"),
        iter([1, 2]),
        np.array([1, 2], dtype="uint32"),
        {1: 0, 2: 0},
    ):
        index.add(good, vectors)
    index.add(np.int64(7), vectors[0])
    assert index.ids().tolist() == [1, 2, 7] and np.uint8(7) in index
    texts = voisin.create(folder, 4, ids=str, name="texts")
    texts.add(np.array(["a", "bc"]), vectors)
    for wrong in ([1, 2], [b"a", b"b"]):
        with pytest.raises(voisin.NamingMismatch):
            texts.add(wrong, vectors)
    with pytest.raises(voisin.LengthMismatch):
        texts.add("ab", vectors)
    with pytest.raises(voisin.InvalidId) as raised:
        texts.add("x" * 500, vectors[0])
    assert (raised.value.value, raised.value.limit) == (500, 480)
    assert len(index) == 3 and len(texts) == 2


def test_a_file_of_numpy_is_mapped(folder, tmp_path: Path):
    vectors = rows(3000)
    np.save(tmp_path / "vectors.npy", vectors)
    index = voisin.create(folder, 4)
    assert index.load(tmp_path / "vectors.npy", ids=range(10, 3010)) == 3000
    assert (index[10] == vectors[0]).all()
    with pytest.raises(voisin.InvalidParameter):
        index.load(tmp_path / "vectors.csv")
    with pytest.raises(FileNotFoundError):
        index.load(tmp_path / "missing.npy")
