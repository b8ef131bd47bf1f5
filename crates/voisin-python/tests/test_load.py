"""Loads: of matrices, files, tables and iterables; with progress; as a whole."""

import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import rows

import voisin


def test_real_embeddings_are_loaded_and_found(folder, embeddings, queries):
    index = voisin.create(folder, 384, dtype="f16")
    assert index.load(embeddings.astype("float16"), optimize=True) == 5000
    found = index.search(queries, k=10)
    exact = index.search(queries, k=10, exact=True)
    same = [
        len(set(a) & set(b)) for a, b in zip(found.ids.tolist(), exact.ids.tolist(), strict=True)
    ]
    assert sum(same) >= 950
    products = queries @ embeddings.T
    assert (exact.ids[:, 0] == products.argmax(axis=1)).mean() > 0.98
    assert index.check() == []


def test_a_matrix_and_pairs_and_parts_give_the_same_index(tmp_path):
    vectors = rows(3000)
    sources = {
        "matrix": lambda: (vectors, range(3000)),
        "pairs": lambda: (((i, row) for i, row in enumerate(vectors)), None),
        "lists": lambda: ([(i, row.tolist()) for i, row in enumerate(vectors)], None),
        "parts": lambda: (
            ((range(i, i + 500), vectors[i : i + 500]) for i in range(0, 3000, 500)),
            None,
        ),
        "rows": lambda: (vectors.tolist(), None),
    }
    answers = []
    for name, source in sources.items():
        data, ids = source()
        index = voisin.create(tmp_path / name, 4, threads=1)
        assert index.load(data, ids) == 3000
        answers.append(index.search(rows(20, seed=4), k=5).ids.tolist())
        assert index.check() == []
    assert all(answer == answers[0] for answer in answers)


def test_tables_of_arrow_and_parquet_are_loaded(folder, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    vectors = rows(3000)
    flat = pyarrow.array(vectors.ravel())
    for number, column in enumerate(
        [
            pyarrow.FixedSizeListArray.from_arrays(flat, 4),
            pyarrow.ListArray.from_arrays(pyarrow.array(range(0, 12001, 4), pyarrow.int32()), flat),
        ]
    ):
        names = [f"item {i}" for i in range(3000)]
        table = pyarrow.table({"key": names, "embedding": column})
        parquet.write_table(table, tmp_path / "rows.parquet")
        for source in (table, tmp_path / "rows.parquet", table.to_batches()[0]):
            index = voisin.open_or_create(folder, 4, ids=str, name=f"{number}")
            assert index.load(source, "key", vectors="embedding") == 3000
            assert (index["item 17"] == vectors[17]).all()
            index.delete(names)
    with pytest.raises(voisin.InvalidParameter, match="no column 'vector'"):
        index.load(table, "key")
    ragged = pyarrow.table({"id": [1, 2], "vector": [[1.0, 2.0], [1.0]]})
    with pytest.raises(voisin.InvalidParameter, match="several lengths"):
        index.load(ragged)
    with pytest.raises(voisin.InvalidParameter, match="no vector"):
        index.load(pyarrow.table({"id": ["a", "b"], "vector": [[1.0, 2.0, 3.0, 4.0], None]}))
    assert len(index) == 0


def test_progress_is_told_and_its_exceptions_end_the_load(index, capsys):
    told: list[voisin.Progress] = []
    index.load(rows(4000), progress=told.append)
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases[:3] == ["reading", "adding", "linking"]
    assert all(0 <= progress.done <= (progress.total or progress.done) for progress in told)

    def fails(progress: voisin.Progress) -> None:
        if progress.phase == "linking":
            raise OSError("cannot print")

    with pytest.raises(OSError, match="cannot print"):
        index.load(rows(4000), ids=range(4000, 8000), progress=fails)
    assert len(index) == 4000
    index.load(rows(2000), ids=range(4000, 6000), progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "voisin: loaded" and any(
        line.startswith("voisin: linking") for line in lines
    )
    index.load(rows(1), ids=[9], progress=False)
    assert capsys.readouterr().err == ""


def test_an_exception_of_the_rows_loads_nothing(index):
    def broken(after: int):
        for i in range(after):
            yield i, rows(1, seed=i)[0]
        raise LookupError("the source has ended")

    for after in (0, 1, 700, 3000):
        for options in ({}, {"commit_every": 10_000}):
            with pytest.raises(LookupError, match="has ended"):
                index.load(broken(after), **options)
            assert len(index) == 0
    for wrong in ([(1, [1.0])], [(1, [0.0] * 4), (-2, [0.0] * 4)], [5, 6], ["ab"]):
        with pytest.raises(voisin.CallerError):
            index.load(iter(wrong))
        assert len(index) == 0


def test_a_token_of_another_thread_ends_a_load(index):
    token = voisin.CancelToken()
    linking = threading.Event()

    def endless():
        i = 0
        while True:
            yield i, rows(1, seed=i % 50)[0]
            i += 1
            if i == 5000:
                linking.set()

    def cancels() -> None:
        linking.wait()
        token.cancel()

    thread = threading.Thread(target=cancels)
    thread.start()
    with pytest.raises(voisin.Cancelled):
        index.load(endless(), cancel=token)
    thread.join()
    assert len(index) == 0
    for call in (index.link, index.optimize):
        index.add(range(2000), rows(2000), link=False)
        with pytest.raises(voisin.Cancelled):
            call(cancel=token)
        index.delete(range(2000))


def test_loads_are_committed_in_parts_where_that_is_asked_for(index):
    seen = set()
    index.load(rows(5000), commit_every=1000, progress=lambda progress: seen.add(len(index)))
    assert len(index) == 5000 and index.pending == 0 and seen & {1000, 2000, 3000, 4000}


def test_a_budget_of_memory_is_kept_or_refused(folder, tmp_path):
    index = voisin.create(folder, 4)
    with pytest.raises(voisin.MemoryBudget) as raised:
        index.load(rows(4000), memory=1 << 20)
    assert isinstance(raised.value, MemoryError) and raised.value.value == 1 << 20
    assert "Options" not in str(raised.value) and raised.value.limit > raised.value.value
    assert index.load(rows(4000), memory=64 << 20, temp_dir=tmp_path, threads=1) == 4000


def test_rows_without_ids_are_numbered_unless_ids_are_strings(folder, tmp_path: Path):
    numbers = voisin.create(folder, 4, ids="u64", name="numbers")
    assert numbers.load(rows(10)) == 10 and numbers.ids().tolist() == list(range(10))
    texts = voisin.create(folder, 4, ids=str, name="texts")
    for source in (rows(10), rows(10)[0]):
        with pytest.raises(voisin.CallerError):
            texts.load(source)
    assert texts.load([]) == 0 and texts.load(iter([])) == 0
    assert numbers.load(np.zeros((0, 4))) == 0
    with pytest.raises(voisin.CallerError):
        numbers.load(iter([(1, rows(1)[0])]), ids=[1])


def test_a_budget_is_judged_before_anything_is_committed_and_the_least_that_is_named_suffices(
    folder,
):
    """Rows that replace others take slots of their own, and codes take memory when they are first
    made: both was found after parts of the load were committed."""
    index = voisin.create(folder, 64, metric="euclidean", codes=8, m=4, ef_construction=16)
    for seed in (1, 2):
        for data in (rows(1500, 64, seed), zip(range(1500), rows(1500, 64, seed), strict=True)):
            before = index.snapshot().commit
            with pytest.raises(voisin.MemoryBudget) as raised:
                index.load(data, memory=1)
            least = raised.value.limit
            assert index.snapshot().commit == before and least > 1_000_000
        with pytest.raises(voisin.MemoryBudget):
            index.load(rows(1500, 64, seed), memory=least - 1)
        assert index.snapshot().commit == before
        assert index.load(rows(1500, 64, seed), memory=least) == 1500
        assert (len(index), index.pending, index.check()) == (1500, 0, [])
    # What is there already takes nothing.
    before = index.snapshot().commit
    assert index.load(rows(1500, 64, 2), memory=least) == 1500
    assert index.snapshot().commit == before


def test_a_file_that_is_not_there_is_told(index, tmp_path):
    for name in ("no.npy", "no.parquet", "no.pq"):
        for path in (tmp_path / name, str(tmp_path / name)):
            with pytest.raises(voisin.NotThere, match=f"there is no file '.*{name}' to load: give"):
                index.load(path)
    with pytest.raises(FileNotFoundError):  # as Python has it
        index.load(tmp_path / "no.npy")
    with pytest.raises(voisin.NotThere, match="there is no file"):
        index.load("a\0.npy")
    with pytest.raises(voisin.InvalidType, match="data is 3, of type int: give a matrix"):
        index.load(3)
