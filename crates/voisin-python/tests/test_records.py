"""Records: what was given comes back, with the vectors, in one commit with them."""

import datetime
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import rows

import voisin

NAMES = [
    (int, list(range(40))),
    ("u64", [2**40 + i for i in range(40)]),
    (str, [f"{i}" for i in range(40)]),
]


@pytest.mark.parametrize(("ids", "names"), NAMES)
def test_records_come_back_by_id_and_with_searches(folder, ids, names):
    index = voisin.create(folder, 4, metric="euclidean", ids=ids)
    vectors = rows(40)
    records = [{"n": i, "text": f"é {i}"} if i % 2 else f"bytes {i}".encode() for i in range(40)]
    index.add(names, vectors, records)
    assert index.get_records(names) == records and index.get_record(names[3]) == records[3]
    assert index.get_record(names[1], raw=True) == '{"n":1,"text":"é 1"}'.encode()
    assert index.get_records(names[:2], raw=True) == [b"bytes 0", '{"n":1,"text":"é 1"}'.encode()]
    missing = "other" if ids is str else 99
    assert index.get_records([missing, names[0]]) == [None, records[0]]

    found = index.search(vectors[5], k=3, records=True)
    assert found.records == [records[names.index(id)] for id in found.ids.tolist()]
    assert found.raw_records is not None and found.raw_records[0] == '{"n":5,"text":"é 5"}'.encode()
    assert index.similar(names[5], k=1, records=True).records == [
        index.get_record(index.similar(names[5], k=1)[0].id)
    ]
    many = index.search(vectors[:3], k=2, records=True)
    assert many.records is not None and many.raw_records is not None
    for row in range(3):
        assert many[row].records == many.records[row] == index.get_records(many.ids[row])
        assert many.raw_records[row] == index.get_records(many.ids[row], raw=True)
    for without in (index.search(vectors[5]), index.search(vectors[:2])):
        assert without.records is None and without.raw_records is None
    assert index.search(vectors[5], filter=[], records=True).records == []
    with index.snapshot() as snapshot:
        index.set_record(names[0], b"new")
        assert snapshot.get_record(names[0]) == b"bytes 0" and index.get_record(names[0]) == b"new"
    assert index.check() == []


def test_a_vector_is_replaced_without_its_record_and_a_record_without_its_vector(index):
    index.add([1, 2, 3], rows(3), [{"a": 1}, None, b""])
    assert index.get_records([1, 2, 3]) == [{"a": 1}, None, b""]
    index.add([1, 2], rows(2, seed=3))
    index.update(3, rows(1, seed=4)[0])
    assert index.get_records([1, 2, 3]) == [{"a": 1}, None, b""]
    index.update([1, 2], rows(2, seed=5), [None, {"b": 2}])
    assert index.get_records([1, 2]) == [{"a": 1}, {"b": 2}]
    before = index[1].tolist()
    index.set_record(1, {"c": 3})
    index.set_record([2, 3], [None, {"d": []}])
    assert (
        index.get_records([1, 2, 3]) == [{"c": 3}, None, {"d": []}] and index[1].tolist() == before
    )
    index.set_record(2, None)
    with pytest.raises(voisin.MissingItem):
        index.set_record([1, 9], [{}, {}])
    with pytest.raises(voisin.MissingItem):
        index.set_record(9, None)
    assert index.get_record(1) == {"c": 3}
    stats = index.stats()
    assert (stats.records, stats.record_bytes) == (2, len('{"c":3}{"d":[]}'))
    index.delete(1)
    index.add(1, rows(1)[0])
    assert index.get_record(1) is None


def test_records_of_many_items_with_gaps_are_those_of_each(index):
    count = 10_000
    records = [None if i % 7 == 0 else {"i": i} for i in range(count)]
    index.add(range(count), rows(count), records, link=False)
    assert index.get_records(range(count)) == records
    index.add(
        range(count),
        rows(count, seed=2).astype("float16"),
        [b"x" if r is None else None for r in records],
        link=False,
    )
    assert index.get_records(range(count)) == [b"x" if r is None else r for r in records]
    # Of two rows of one item the last counts.
    index.add([5, 5], rows(2), [{"i": "first"}, {"i": "second"}])
    assert index.get_record(5) == {"i": "second"}


def test_what_python_has_becomes_json(index):
    record = {
        "int": np.int64(3),
        "float": np.float32(0.5),
        "bool": np.True_,
        "array": np.arange(3),
        "words": np.array(["a", "b"]),
        "set": {7},
        "tuple": (1, 2),
        "date": datetime.date(2026, 11, 29),
        "time": datetime.datetime(2026, 11, 29, 18, 45, tzinfo=datetime.timezone.utc),
        "numpy time": np.datetime64("2026-11-29T18:45:00", "ns"),
        "none": None,
        "nested": {"é": [{"x": np.uint8(200)}]},
    }
    index.add(1, rows(1)[0], record)
    assert index.get_record(1) == {
        "int": 3,
        "float": 0.5,
        "bool": True,
        "array": [0, 1, 2],
        "words": ["a", "b"],
        "set": [7],
        "tuple": [1, 2],
        "date": "2026-11-29",
        "time": "2026-11-29T18:45:00+00:00",
        "numpy time": "2026-11-29T18:45:00.000",
        "none": None,
        "nested": {"é": [{"x": 200}]},
    }
    for data in (b"a", bytearray(b"a"), memoryview(b"a")):
        index.set_record(1, data)
        assert index.get_record(1) == b"a"
    # No JSON objects, whatever they begin with.
    for data in (
        b"",
        b"[1]",
        b"3",
        b"{",
        b"{]",
        b"{\xff}",
        b'{"a":1',
        b"{" * 10_000,
        # Python 3.14 reads 10 000 levels.
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ):
        index.set_record(1, data)
        assert index.get_record(1) == data


@pytest.mark.parametrize(
    "wrong",
    ["text", 3, [1], object(), {"a": object()}, {"a": float("nan")}, {(1, 2): 3}, {"a": "\ud800"}],
)
def test_what_is_no_record_is_refused_and_changes_nothing(index, wrong):
    index.add(1, rows(1)[0], {"a": 1})
    deep = {}
    deep["self"] = deep
    for record in (wrong, deep):
        for call in (
            lambda: index.add(1, rows(1, seed=2)[0], record),
            lambda: index.add([1, 2], rows(2, seed=2), [{}, record]),
            lambda: index.update(1, rows(1, seed=2)[0], record),
            lambda: index.set_record(1, record),
            lambda: index.load(rows(2, seed=2), records=[{}, record]),
            lambda: index.load(iter([(1, rows(1, seed=2)[0], {}), (2, rows(1)[0], record)])),
        ):
            with pytest.raises(voisin.InvalidRecord) as raised:
                call()
            assert "give a dict" in raised.value.remedy
    assert index.get_record(1) == {"a": 1} and len(index) == 1
    assert index[1].tolist() == rows(1)[0].tolist()


def test_as_many_records_as_items_or_nothing(index):
    for call in (
        lambda: index.add([1, 2], rows(2), [{}]),
        lambda: index.add([1, 2], rows(2), {"a": 1}),
        lambda: index.add([1, 2], rows(2), b"ab"),
        lambda: index.load(rows(3), records=[{}, {}]),
        lambda: index.load(rows(3), records=({} for _ in range(2))),
        lambda: index.load(rows(3), records=({} for _ in range(4))),
        lambda: index.load(rows(2000), records=({} for _ in range(1024))),
        lambda: index.load(rows(2000), records=({} for _ in range(9999)), commit_every=10_000),
        lambda: index.load(iter([([1, 2], rows(2), [{}])])),
    ):
        with pytest.raises(voisin.LengthMismatch):
            call()
        assert len(index) == 0
    with pytest.raises(voisin.InvalidParameter):
        index.load(rows(3), records={"a": 1})
    with pytest.raises(voisin.InvalidParameter):
        index.load(iter([(1, rows(1)[0])]), records=[{}])
    index.add([1, 2], rows(2))
    with pytest.raises(voisin.LengthMismatch):
        index.set_record([1, 2], [{}])
    with pytest.raises(voisin.LengthMismatch):
        index.set_record([1, 2], {})
    assert index.get_records([1, 2]) == [None, None]


def test_a_record_of_more_than_64_mib_is_refused(index):
    long = bytes((64 << 20) + 1)
    for call in (
        lambda: index.add(1, rows(1)[0], long),
        lambda: index.load(rows(1), records=[long]),
    ):
        with pytest.raises(voisin.InvalidParameter, match="64 MiB"):
            call()
    assert len(index) == 0


def test_loads_bring_records_from_all_sources(tmp_path: Path):
    vectors = rows(3000)
    record = lambda i: None if i % 5 == 0 else {"n": i}
    records = [record(i) for i in range(3000)]

    def parts(size: int):
        for i in range(0, 3000, size):
            yield range(i, i + size), vectors[i : i + size], records[i : i + size]

    sources = {
        "list": lambda: ((vectors,), {"records": records}),
        "generator": lambda: (
            (vectors.astype("float64"),),
            {"records": (record(i) for i in range(3000))},
        ),
        "half": lambda: ((vectors.astype("float16"), range(3000)), {"records": records}),
        "triples": lambda: ((((i, row, record(i)) for i, row in enumerate(vectors)),), {}),
        "lists": lambda: (([(i, row.tolist(), record(i)) for i, row in enumerate(vectors)],), {}),
        "parts": lambda: ((parts(500),), {}),
        "mixed": lambda: (
            (
                (
                    (i, row) if record(i) is None else (i, row, record(i))
                    for i, row in enumerate(vectors)
                ),
            ),
            {},
        ),
        "in commits": lambda: ((vectors,), {"records": records, "commit_every": 700}),
        "in a budget": lambda: ((vectors,), {"records": records, "memory": 64 << 20}),
    }
    for name, source in sources.items():
        index = voisin.create(tmp_path / name, 4)
        arguments, options = source()
        assert index.load(*arguments, **options) == 3000
        assert index.get_records(range(3000)) == records, name
        # The vectors again, without records: they stay.
        index.load(rows(3000, seed=2))
        assert index.get_records(range(3000)) == records, name
        assert index.check() == []
    path = tmp_path / "rows.npy"
    np.save(path, vectors)
    index = voisin.create(tmp_path / "file", 4)
    index.load(path, records=records)
    assert index.get_records(range(3000)) == records


def test_columns_of_tables_and_parquet_files_become_records(folder, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    when = datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc)
    table = pyarrow.table(
        {
            "id": range(100),
            "vector": rows(100).tolist(),
            "tag": [None if i % 3 == 0 else f"tag {i % 3}" for i in range(100)],
            "n": range(100),
            "when": [when] * 100,
            "raw": [f"raw {i}".encode() for i in range(100)],
            "both": [{"x": i, "y": [1, 2]} for i in range(100)],
        }
    )
    parquet.write_table(table, tmp_path / "rows.parquet")
    fields = {"tag": "keyword", "n": "integer", "when": "timestamp"}
    for number, source in enumerate((table, tmp_path / "rows.parquet")):
        index = voisin.create(folder, 4, name=f"{number}", fields=fields)
        assert index.load(source, records=["tag", "n", "when"]) == 100
        assert index.get_record(7) == {"tag": "tag 1", "n": 7, "when": "2026-11-29T00:00:00+00:00"}
        assert index.get_record(0) == {"tag": None, "n": 0, "when": "2026-11-29T00:00:00+00:00"}
        assert index.facet("tag") == {"tag 1": 33, "tag 2": 33}
        assert index.count(voisin.field("when") == datetime.date(2026, 11, 29)) == 100
        index = voisin.create(folder, 4, name=f"{number} raw")
        assert index.load(source, records="raw") == 100
        assert index.get_record(7) == b"raw 7"
        assert index.load(source, records="both") == 100
        assert index.get_record(7) == {"x": 7, "y": [1, 2]}
        assert index.load(source) == 100 and index.get_record(7) == {"x": 7, "y": [1, 2]}
        with pytest.raises(voisin.InvalidRecord):
            index.load(source, records="tag")
        with pytest.raises(voisin.CallerError, match="bytes"):
            index.load(source, records=True)
        with pytest.raises(voisin.InvalidParameter, match="no column 'other'"):
            index.load(source.select(["id", "vector"]) if number == 0 else table, records=["other"])
        for wrong in (3, [3], {"tag": 1}):
            with pytest.raises(voisin.InvalidParameter):
                index.load(source, records=wrong)
    whole = table.drop_columns(["raw"])
    index = voisin.create(folder, 4, name="all")
    index.load(whole, records=True)
    assert set(index.get_record(3)) == {"tag", "n", "when", "both"}


def test_batches_have_records_too(index):
    with index.batch() as batch:
        batch.add([1, 2], rows(2), [{"a": 1}, None])
        batch.add(3, rows(1)[0], b"three")
        batch.set_record([2], [{"b": 2}])
        batch.update(3, rows(1, seed=2)[0], {"c": 3})
        with pytest.raises(voisin.InvalidRecord):
            batch.add(4, rows(1)[0], "text")
        with pytest.raises(voisin.LengthMismatch):
            batch.set_record([1, 2], [{}])
    assert index.get_records([1, 2, 3]) == [{"a": 1}, {"b": 2}, {"c": 3}]
    with pytest.raises(voisin.MissingItem), index.batch() as batch:
        batch.set_record(1, {})
        batch.set_record(9, {})
    assert index.get_record(1) == {"a": 1}


def test_an_answer_prints_its_records(index):
    index.add([1, 2], rows(2), [{"title": "<Rain>"}, b"x" * 100])
    found = index.search(rows(2)[0], records=True)
    lines = repr(found).splitlines()
    assert lines[1].split() == ["id", "distance", "record"]
    assert lines[2].endswith("{'title': '<Rain>'}") and lines[3].endswith("xxx...")
    html = found._repr_html_()
    assert "<th>record</th>" in html and "&lt;Rain&gt;" in html and html.count("<td>") == 6
    assert "record" not in repr(index.search(rows(2)[0]))


def test_an_exception_of_the_records_loads_nothing(index):
    def broken(after: int):
        for _ in range(after):
            yield {}
        raise LookupError("the records have ended")

    for after in (0, 700, 2999):
        for options in ({}, {"commit_every": 10_000}):
            with pytest.raises(LookupError, match="have ended"):
                index.load(rows(3000), records=broken(after), **options)
            assert len(index) == 0


def test_threads_and_other_processes_see_records_of_one_commit(index):
    index.add(range(10), rows(10), [{"turn": 0}] * 10)
    done = threading.Event()
    seen: list[set[int]] = []

    def reads() -> None:
        while not done.is_set():
            seen.append({record["turn"] for record in index.get_records(range(10))})

    thread = threading.Thread(target=reads)
    thread.start()
    for turn in range(1, 30):
        index.set_record(range(10), [{"turn": turn}] * 10)
    done.set()
    thread.join()
    assert seen and all(len(turns) == 1 for turns in seen)
    assert pickle.loads(pickle.dumps(index)).get_record(3) == {"turn": 29}


def test_keys_that_json_would_make_text_of_are_refused(folder):
    """`{1: "x"}` came back as `{"1": "x"}`."""
    index = voisin.create(folder, 4, ids=str)
    index.add("a", rows(1)[0], {"n": 1})
    for key in (1, 1.5, True, None, (1, 2)):
        for record in ({key: "x"}, {"in": {key: "x"}}, {"in": [1, ({"x": {key: 1}},)]}):
            told = f"the record .*{type(key).__name__}.*: give a dict with keys of str"
            for call in (
                lambda record: index.set_record("a", record),
                lambda record: index.add("b", rows(1)[0], record),
                lambda record: index.load(rows(2), ["b", "c"], records=[{}, record]),
                lambda record: index.batch().set_record("a", record),
            ):
                with pytest.raises(voisin.InvalidRecord, match=told):
                    call(record)
    with pytest.raises(voisin.InvalidRecord, match="the key 1 is of type int"):
        index.set_record("a", {"of numpy": np.array([{1: "x"}], dtype=object)})
    # Not without end.
    circle = {}
    circle["in"] = circle
    with pytest.raises(voisin.InvalidRecord, match="[Cc]ircular"):
        index.set_record("a", circle)
    assert index.ids().tolist() == ["a"] and index.get_record("a") == {"n": 1}
    index.set_record("a", {np.str_("text"): {"": [{"x": ()}]}})
    assert index.get_record("a") == {"text": {"": [{"x": []}]}}
