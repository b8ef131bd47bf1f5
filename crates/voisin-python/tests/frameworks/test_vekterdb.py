"""A SQL table and its index: the programs of VekterDB's world, and what keeps the two in step."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
import voisin
from voisin import _outbox
from voisin.vekterdb import VekterDB

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
COLUMNS = {
    "id": {"type": sa.Text, "unique": True, "nullable": False, "index": True},
    "category": {"type": sa.Text},
}


def rows(count: int, d: int = 8, seed: int = 3) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(seed).normal(size=(count, d)).astype(np.float32)
    return [
        {"idx": idx, "id": f"item {idx}", "category": "abc"[idx % 3], "vector": vector}
        for idx, vector in enumerate(vectors)
    ]


def filled(url: str, index: Path, count: int = 500, **options: Any) -> VekterDB:
    db = VekterDB("things", columns_dict=COLUMNS, url=url)
    assert db.insert(iter(rows(count)), batch_size=64) == count
    db.create_index(index, **options)
    assert db.check() == []
    return db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "things.index"


def matrix(records: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.stack([it["vector"] for it in records])


# Searches.


def test_the_program_of_the_readme_finds_what_it_says(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "vekterdb_neighbors.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[0].replace("'", '"')) == [
        {"idx": 0, "neighbors": [[1, 73.783], [7537, 39.143], [9831, 31.672]]},
        {"idx": 1, "neighbors": [[0, 73.783], [7537, 38.979], [9831, 32.063]]},
    ]
    assert done.stdout.splitlines()[1] == "10001 rows, in step: True"


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "HNSW,Flat", "IVF,Flat", None])
@pytest.mark.parametrize("metric", ["inner_product", "L2"])
def test_answers_are_those_of_a_scan(url, folder, factory, metric):
    db = filled(url, folder, faiss_factory_str=factory, metric=metric)
    records = rows(500)
    queries = np.random.default_rng(4).normal(size=(5, 8))
    products = queries @ matrix(records).T
    if metric == "L2":
        products = -np.linalg.norm(queries[:, None] - matrix(records)[None], axis=2)
    right = np.argsort(-products, axis=1)[:, :7]
    found = db.search(queries, 7, search_parameters={"exact": True})
    assert [[it["idx"] for it in row] for row in found] == right.tolist()
    for query, row in enumerate(found):
        for it in row:
            record = records[it["idx"]]
            assert list(it) == ["idx", "id", "category", "vector", "metric"]
            assert (it["id"], it["category"]) == (record["id"], record["category"])
            assert (it["vector"] == record["vector"]).all()
            assert it["metric"] == pytest.approx(
                abs(products[query, it["idx"]]) if metric == "L2" else products[query, it["idx"]],
                rel=1e-5,
            )
            assert it["metric"] == pytest.approx(
                db.similarity(queries[query], it["vector"]), rel=1e-5
            )
    # One vector, columns by name, and what the index alone can say.
    assert db.search(queries[0], 2, "id") == [
        [{"id": it["id"], "metric": it["metric"]} for it in found[0][:2]]
    ]
    assert db.search(queries[0], 2, "idx", search_parameters={"exact": True}) == [
        [{"idx": it["idx"], "metric": it["metric"]} for it in found[0][:2]]
    ]
    # What is worse than the third is left out, and that itself is not.
    limit = found[0][2]["metric"]
    assert db.search(queries[0], 7, "idx", "id", threshold=limit) == [
        [{key: it[key] for key in ("idx", "id", "metric")} for it in found[0][:3]]
    ]
    assert db.similarity(queries[0], found[0][3]["vector"], threshold=limit) is None


def test_neighbors_are_found_by_any_column(url, folder):
    db = filled(url, folder, faiss_factory_str="Flat")
    by_text = db.nearest_neighbors("id", ["item 7", "item 3", "no such"], 4, "id", "category")
    assert [it["id"] for it in by_text] == ["item 3", "item 7"]
    assert list(by_text[0]) == ["id", "category", "neighbors"]
    by_idx = db.nearest_neighbors("idx", [7, 3, 99_999], 4, "idx")
    assert [it["idx"] for it in by_idx] == [3, 7]
    for one, other in zip(by_text, by_idx, strict=True):
        assert [it["id"] for it in one["neighbors"]] == [
            f"item {it['idx']}" for it in other["neighbors"]
        ]
        assert one["id"] not in [it["id"] for it in one["neighbors"]]
    of_category = db.nearest_neighbors("category", ["a"], 1, "idx", batch_size=10)
    assert [it["idx"] for it in of_category] == list(range(0, 500, 3))
    whole = db.nearest_neighbors("idx", [3], 2)
    assert (whole[0]["vector"] == rows(500)[3]["vector"]).all() and whole[0]["id"] == "item 3"
    assert db.nearest_neighbors("id", ["no such"], 4) == []
    assert db.nearest_neighbors("idx", [99_999], 4, "idx") == []
    with pytest.raises(
        voisin.CallerError, match="no column 'colour': use idx, id, category, vector"
    ):
        db.nearest_neighbors("colour", ["red"], 4)


@pytest.mark.parametrize(
    ("factory", "dtype"), [("HNSW32,SQ8", "i8"), ("HNSW32,SQfp16", "f16"), ("IVF100,SQ8", "i8")]
)
def test_a_rounded_index_is_reranked_by_the_table(url, folder, factory, dtype):
    db = filled(url, folder, faiss_factory_str=factory, sample_size=400)
    assert db.index.dtype == dtype
    records, queries = matrix(rows(500)), np.random.default_rng(4).normal(size=(20, 8))
    products = queries.astype(np.float32) @ records.T
    found = db.search(queries, 10, "idx", k_extra_neighbors=20)
    assert [[it["idx"] for it in row] for row in found] == np.argsort(-products)[:, :10].tolist()
    for query, row in enumerate(found):
        for it in row:
            assert it["metric"] == pytest.approx(float(products[query, it["idx"]]), rel=1e-5)
            assert list(it) == ["idx", "metric"]
    # In the order of the index, which differs somewhere: metrics are still those of the table.
    raw = db.search(queries, 10, "idx", rerank=False)
    order = [[it["metric"] for it in row] for row in raw]
    assert dtype == "f16" or any(row != sorted(row, reverse=True) for row in order)
    for query, row in enumerate(raw):
        assert all(it["metric"] == pytest.approx(products[query, it["idx"]]) for it in row)


def test_an_index_is_of_the_kind_of_its_name(url, folder, tmp_path):
    query = np.ones(8)
    for name, kinds in [("Flat", []), ("IVF30", ["ivf"]), (None, ["hnsw"])]:
        db = VekterDB("things", columns_dict=COLUMNS, url=url)
        if db.d is None:
            db.insert(rows(3000))
        db.create_index(tmp_path / f"{name}.index", name)
        assert db.index.kinds() == ["flat", *kinds]
        found = db.search(query, 3, "idx")
        exact = db.search(query, 3, "idx", search_parameters={"exact": True})
        if name == "Flat":
            assert found == exact
            with pytest.raises(voisin.InvalidParameter, match="use none"):
                db.set_faiss_runtime_parameters("nprobe=1")
        if name == "IVF30":
            db.set_faiss_runtime_parameters("nprobe=1")
            few = db.index.search(query, 3, nprobe=1)
            assert db.search(query, 3, "idx")[0][0]["idx"] == few[0].id
            db.set_faiss_runtime_parameters("nprobe=1000")
            assert db.search(query, 3, "idx") == exact
        assert db.check() == [] and db.index.pending == 0
        db.close()


def test_the_table_is_not_asked_for_what_the_index_knows(url, folder):
    db = filled(url, folder)
    asked: list[str] = []
    sa.event.listen(db.engine, "before_cursor_execute", lambda *it: asked.append(it[2]))
    db.search(rows(1)[0]["vector"], 3, "idx")
    db.nearest_neighbors("idx", [0, 1], 3, "idx")
    assert asked == []
    db.search(rows(1)[0]["vector"], 3, "idx", "id")
    assert len(asked) == 1


# In step.


def test_rows_that_change_change_the_index(url, folder):
    db = filled(url, folder)
    far = np.full(8, 50.0)
    assert db.insert([{"idx": 1000, "id": "far", "vector": far}]) == 1
    assert db.search(far, 1, "id")[0][0]["id"] == "far"
    assert db.update([{"idx": 1000, "vector": -far}, {"idx": 77, "category": "z"}]) == 2
    assert db.search(far, 1, "id")[0][0]["id"] != "far"
    assert db.search(-far, 1, "id", "category")[0][0]["id"] == "far"
    assert db.update([{"idx": 4_000_000, "category": "z"}]) == 0
    assert [it["id"] for it in db.fetch_records("category", ["z"])] == ["item 77"]
    assert db.delete("id", ["far", "item 2", "no such"]) == 2
    assert db.search(-far, 1, "id")[0][0]["id"] != "far"
    assert db.check() == [] and len(db.index) == 499 and db.sync() == 0


def test_a_new_table_numbers_its_rows(url, folder):
    db = VekterDB("things", columns_dict=COLUMNS, url=url)
    records = [{key: it[key] for key in ("id", "vector")} for it in rows(20)]
    db.insert(records)
    db.create_index(folder, "Flat")
    found = db.nearest_neighbors("id", ["item 4"], 3)[0]
    assert found["idx"] == 5 - (url.startswith("sqlite") and 0) and len(found["neighbors"]) == 3


def test_changes_by_others_are_seen(url, folder):
    """By an ORM session, by SQL, by another connection, and by a transaction that fails."""
    db = filled(url, folder)
    with db.Session.begin() as session:
        session.add(db.Record(idx=900, id="by ORM", vector=db.serialize_vector(np.ones(8) * 9)))
    assert db.sync() == 1
    assert db.search(np.ones(8), 1, "id")[0][0]["id"] == "by ORM"
    other = sa.create_engine(url)
    with other.begin() as sql:
        sql.execute(sa.text("DELETE FROM things WHERE idx < 10"))
        sql.execute(sa.text("UPDATE things SET idx = 901 WHERE idx = 900"))
    # Rows that are gone are in no answer, and others take their places.
    assert [it["id"] for it in db.search(np.ones(8), 1, "id")[0]] == ["by ORM"]
    assert db.sync() == 0
    nearest = db.search(matrix(rows(500))[:10], 5, "id")
    assert all(len(row) == 5 for row in nearest)
    assert db.index.ids().tolist() == [*range(10, 500), 901] and db.check() == []
    with pytest.raises(sa.exc.IntegrityError), other.begin() as sql:
        sql.execute(sa.text("DELETE FROM things WHERE idx < 100"))
        sql.execute(sa.text("INSERT INTO things (idx) VALUES (11), (NULL)"))
    assert db.sync() == 0
    with other.begin() as sql:
        sql.execute(
            sa.text(
                "INSERT INTO things (idx, id, vector) VALUES (20, 'new', :it) ON CONFLICT"
                " (idx) DO UPDATE SET vector = :it, id = 'new'"
            ),
            {"it": db.serialize_vector(np.ones(8) * 20)},
        )
    assert db.sync() >= 1 and db.search(np.ones(8), 1, "id")[0][0]["id"] == "new"
    # All of them at once.
    is_sqlite = url.startswith("sqlite")
    with other.begin() as sql:
        sql.execute(sa.text("DELETE FROM things" if is_sqlite else "TRUNCATE things"))
        sql.execute(
            sa.text("INSERT INTO things (idx, id, vector) VALUES (3, 'one', :it)"),
            {"it": db.serialize_vector(np.ones(8))},
        )
    db.sync()
    assert db.index.ids().tolist() == [3] and db.check() == []
    assert [it["id"] for it in db.search(np.ones(8), 5)[0]] == ["one"]
    other.dispose()


def test_what_a_crash_has_left_is_made_up_for_at_the_next_open(url, folder):
    db = filled(url, folder)
    with db.Session.begin() as session:
        session.execute(sa.delete(db.table).where(db.table.c.idx < 100))
        session.execute(sa.update(db.table).values(vector=db.table.c.vector))
    assert len(db.index) == 500
    # What waits is no difference, but nobody has applied it.
    assert db.check() == []
    db.close()
    again = VekterDB("things", url=url, faiss_index=folder)
    assert again.index.ids().tolist() == list(range(100, 500)) and again.check() == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_between_the_two_20_times(database, request):
    if database == "postgresql":
        # Skipped where there is none.
        request.getfixturevalue("postgres")
    done = subprocess.run(
        [sys.executable, HERE / "vekterdb_killed.py", "20", database],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 20 times, never apart after the next open" in done.stdout
    assert "before the index" in done.stdout


def test_an_index_whose_creation_was_interrupted_is_completed_when_it_is_opened(url, folder):
    db = VekterDB("things", columns_dict=COLUMNS, url=url)
    db.insert(rows(300))
    outbox = db._source.create_outbox()
    _outbox.Follower.create(folder, outbox, (), dimensions=8, metric="dot")
    with voisin.open(folder) as index:
        assert len(index) == 0
    again = VekterDB("things", url=url, faiss_index=folder)
    assert len(again.index) == 300 and again.check() == []


def test_several_threads_and_handles_write_the_same_rows(url, folder):
    filled(url, folder, count=200).close()
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            rng = np.random.default_rng(seed)
            with VekterDB("things", url=url, faiss_index=folder) as db:
                for _ in range(15):
                    idx = int(rng.integers(0, 200))
                    db.update([{"idx": idx, "vector": rng.normal(size=8)}])
                    db.search(rng.normal(size=8), 5, "id")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with VekterDB("things", url=url, faiss_index=folder) as db:
        assert db.check() == [] and len(db.index) == 200


def test_vectors_that_no_index_can_have_are_told_and_can_be_corrected(url, folder, caplog):
    db = filled(url, folder)
    bad = {
        1: db.serialize_vector(np.full(8, np.nan)),
        2: b"short",
        3: db.serialize_vector(np.full(8, 1e30)),
    }
    with db.Session.begin() as session:
        for idx, data in bad.items():
            session.execute(sa.update(db.table).where(db.table.c.idx == idx).values(vector=data))
        session.add(db.Record(idx=-5, id="negative", vector=db.serialize_vector(np.ones(8))))
    assert db.sync() == 4
    assert len(caplog.records) == 4 and "row 2 of things is not in the index" in caplog.text
    assert sorted(db.refused()) == [-5, 1, 2, 3] and "5 bytes" in db.refused()[2]
    assert len(db.index) == 497 and db.check() == [] and db.sync() == 0
    db.update([{"idx": 1, "vector": np.ones(8)}, {"idx": 2, "vector": np.ones(8) * 2}])
    db.delete("idx", [-5])
    assert sorted(db.refused()) == [3] and len(db.index) == 499 and db.check() == []


def test_without_triggers_methods_keep_step_and_other_changes_need_repair(tmp_path, monkeypatch):
    monkeypatch.setattr(_outbox, "_TRIGGERS", {})
    db = filled(f"sqlite:///{tmp_path / 'plain.sqlite'}", tmp_path / "index")
    db.insert([{"idx": 700, "id": "new", "vector": np.ones(8) * 30}])
    db.update([{"idx": 5, "vector": np.ones(8) * -30}])
    db.delete("id", ["item 9"])
    assert db.check() == [] and len(db.index) == 500
    with db.Session.begin() as session:
        session.execute(sa.delete(db.table).where(db.table.c.idx < 3))
        session.execute(sa.update(db.table).where(db.table.c.idx == 5).values(vector=bytes(32)))
    assert db.sync() == 0
    assert db.check() == [f"row {it} is not as in the index" for it in (0, 1, 2, 5)]
    assert db.repair() == 4
    assert db.check() == [] and db.repair() == 0


# Errors.


def test_an_index_belongs_to_one_table(url, folder, tmp_path):
    db = filled(url, folder)
    with pytest.raises(voisin.Mismatch, match="not that of the table 'others'"):
        other = VekterDB("others", url="sqlite://", faiss_index=folder)
    with pytest.raises(voisin.AlreadyThere, match="open it with faiss_index="):
        db.create_index(tmp_path / "second.index")
    other = VekterDB("things", url=url)
    with pytest.raises(FileExistsError):
        other.create_index(folder)
    # It takes over, and the first one is told.
    other.create_index(tmp_path / "second.index")
    other.insert([{"idx": 600, "id": "new", "vector": np.ones(8)}])
    with pytest.raises(voisin.Mismatch, match="has another one since"):
        db.sync()
    assert other.check() == [] and len(other.index) == 501
    names = sa.inspect(other.engine).get_table_names()
    assert len(names) == 2
    with pytest.raises(voisin.NotThere, match="no index of a table"):
        VekterDB("things", url=url, faiss_index=tmp_path)


def test_an_index_is_dropped_with_all_that_belongs_to_it(url, folder):
    db = filled(url, folder)
    other = VekterDB("things", url=url, faiss_index=folder)
    db.drop_index()
    assert not folder.exists() and db.index is None and db.metric is None
    assert sa.inspect(db.engine).get_table_names() == ["things"]
    db.insert([{"idx": 600, "id": "new", "vector": np.ones(8)}])
    with pytest.raises(voisin.NotThere):
        db.sync()
    with pytest.raises((voisin.Mismatch, FileNotFoundError)):
        other.sync()
    other.close()
    db.create_index(folder)
    assert len(db.index) == 501 and db.check() == []


def test_a_change_that_fails_changes_nothing(url, folder):
    db = VekterDB("things", columns_dict=COLUMNS, url=url)
    with pytest.raises(voisin.CallerError, match="no vectors"):
        db.create_index(folder)

    def wrong(vector: Any, idx: int = 400) -> Any:
        yield from rows(200)
        yield {"idx": idx, "id": "wrong", "vector": vector}

    for vector, idx, error in [
        (np.ones(7), 400, voisin.DimensionMismatch),
        (np.full(8, np.inf), 400, voisin.InvalidVector),
        (np.ones(8), 2**32, voisin.InvalidId),
        (np.ones(8), -1, voisin.InvalidId),
        (np.ones(8), 7, sa.exc.IntegrityError),
    ]:
        with pytest.raises(error):
            db.insert(wrong(vector, idx), batch_size=50)
        assert db.d is None and list(db.fetch_records("idx", range(300))) == []
    with pytest.raises(RuntimeError, match="mid-way"):
        db.insert(it if it["idx"] < 30 else fails() for it in rows(50))
    assert db.insert(rows(20)) == 20 and db.d == 8
    for call in (db.sync, db.check, db.repair, db.refused):
        with pytest.raises(voisin.NotThere, match="there is no index"):
            call()
    for options in (
        {"metric": "cosine"},
        {"faiss_factory_str": "IVF50_HNSW32,PQ8"},
        {"faiss_runtime_params": "nprobe=3"},
        {"faiss_runtime_params": "efConstruction=x"},
    ):
        with pytest.raises(voisin.InvalidParameter):
            db.create_index(folder, **options)
        assert not folder.exists() and len(sa.inspect(db.engine).get_table_names()) == 1
    # Names of no file.
    with pytest.raises(OSError):
        db.create_index("/proc/no/such/folder")
    assert len(sa.inspect(db.engine).get_table_names()) == 1
    db.create_index(folder, "HNSW8", faiss_runtime_params="efConstruction=50")
    assert db.index.connectivity[0] == 8 and db.index.stats().ef_construction == 50
    with pytest.raises(voisin.DimensionMismatch):
        db.search(np.ones(7), 3)
    for wrong in ("nprobe=3", "efSearch=x", "efSearch"):
        with pytest.raises(voisin.InvalidParameter, match="use 'efSearch=100'"):
            db.set_faiss_runtime_parameters(wrong)
    with pytest.raises(voisin.InvalidParameter, match="at most 39"):
        VekterDB("a" * 40, url="sqlite://")
    with pytest.raises(voisin.InvalidParameter, match="no column 'embedding'"):
        VekterDB("things", url=url, vector_name="embedding")


def fails() -> Any:
    raise RuntimeError("mid-way")


# The rest.


def test_what_is_saved_is_loaded(url, folder, tmp_path):
    db = filled(url, folder)
    db.set_faiss_runtime_parameters("efSearch=77")
    db.save(tmp_path / "things.json")
    assert url not in (tmp_path / "things.json").read_text()
    query = np.ones(8)
    found = db.search(query, 3, "id")
    db.close()
    with VekterDB.load(tmp_path / "things.json", url) as again:
        assert again.faiss_runtime_parameters == "efSearch=77" and again.metric == "inner_product"
        assert again.search(query, 3, "id") == found
        assert again.search(query, 3, "id", search_parameters={"recall": 0.99}) == found

        class Parameters:
            efSearch = 90

        assert again.search(query, 3, "id", search_parameters=Parameters()) == found


def test_a_sample_is_of_the_table(url, folder):
    db = filled(url, folder, count=100)
    everything = matrix(rows(100))
    assert (db.sample_vectors() == everything).all()
    some = db.sample_vectors(10, batch_size=3)
    assert some.shape == (10, 8) and all((everything == it).all(axis=1).any() for it in some)
    assert (db.sample_vectors(1000) == everything).all()


def test_names_that_sql_must_quote_and_bytes_that_are_given(url, folder):
    db = VekterDB("select", idx_name="Order by", vector_name='the "vector"', url=url)
    records = [{"Order by": it["idx"], 'the "vector"': it["vector"].tobytes()} for it in rows(30)]
    assert db.insert(records, serialize_vectors=False) == 30
    db.create_index(folder, "Flat", metric="l2")
    db.update([{"Order by": 4, 'the "vector"': np.zeros(8)}])
    assert db.search(np.zeros(8), 1, "Order by") == [[{"Order by": 4, "metric": 0.0}]]
    db.delete("Order by", [4])
    assert db.check() == [] and db.search(np.zeros(8), 1, "Order by")[0][0]["Order by"] != 4
