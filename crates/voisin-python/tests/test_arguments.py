"""Arguments that cannot mean anything: what is told names the argument, what it was, and what to
give. Nothing has changed then."""

import inspect
import re

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
    weights = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    with pytest.raises(voisin.InvalidParameter, match=r"weights .*masked.*: give weights.filled"):
        query.weighted(rows(3), weights)
    assert len(query.weighted(rows(3), weights.filled(0.5))) == 3
    filled.add(ids.compressed(), rows(3)[[0, 2]])
    assert len(filled) == 303 and (filled[2] == rows(300)[2]).all()


class Odd:
    """What fits nowhere."""

    def __repr__(self) -> str:
        return "<odd>"


# What the arguments that must be given can be.
GIVEN = {
    "by": len,
    "choose": len,
    "codes": None,
    "data": [],
    "dimensions": 4,
    "field": "tag",
    "filter": {"field": "tag", "eq": "x"},
    "id": "a",
    "ids": "a",
    "index": "main",
    "key": b"a",
    "kind": "hnsw",
    "name": "main",
    "new": "b",
    "one": "main",
    "other": "other",
    "radius": 1.0,
    "records": {},
    "sample": [[1.0, 2.0, 3.0, 4.0]],
    "targets": [],
    "type": "keyword",
    "update": {},
    "value": b"a",
    "vector": [1.0, 2.0, 3.0, 4.0],
    "vectors": [[1.0, 2.0, 3.0, 4.0]],
}
# How messages name what is no option.
ALSO = {
    "id": "named by|ids",
    "ids": "named by|ids|name a column",
    "name": "named by",
    "new": "named by",
    "vector": "vectors",
    "sample": "vectors",
    "records": "record",
    "filter": "condition",
    "update": "updated by",
    "type": "of <odd>",
    "codes": "no codes of <odd>",
    "dtype": "dtype",
    "prefix": "the prefix",
    "data": "rows",
}
# Anything can be a default.
ANYTHING = {"default"}
# Awaited, and of a tenant, which has none.
OTHERS = {"asearch", "Tenant.tenant"}


def functions(path):
    """All that a program can call with arguments."""
    index = voisin.create(path, 4, ids=str, fields={"tag": "keyword"})
    index.add("a", rows(1)[0], {"tag": "x"})
    tenant, folder, query, batch = index.tenant("t"), index.folder(), index.query(), index.batch()
    write, snapshot = folder.write(), folder.snapshot()
    objects = {
        "voisin": voisin,
        "Index": index,
        "Snapshot": index.snapshot(),
        "Tenant": tenant,
        "Query": query,
        "Batch": batch,
        "TenantBatch": batch.tenant("t"),
        "Folder": folder,
        "FolderWrite": write,
        "FolderSnapshot": snapshot,
        "Table": folder.table("t"),
        "Report": index.report(recall=False),
    }
    for of, it in objects.items():
        for name in dir(it):
            function = getattr(type(it), name, None) if it is not voisin else getattr(it, name)
            is_ours = it is not voisin or getattr(function, "__module__", "") == "voisin._voisin"
            if not callable(function) or name.startswith("_") or not is_ours:
                continue
            if isinstance(function, type) and name != "Folder":
                continue
            if OTHERS & {name, f"{of}.{name}"}:
                continue
            yield f"{of}.{name}", getattr(it, name), path
    yield "Index.__getitem__", lambda id: index[id], path
    yield "Folder.__getitem__", lambda name: folder[name], path
    yield "FolderWrite.__getitem__", lambda index: write[index], path
    yield "FolderSnapshot.__getitem__", lambda index: snapshot[index], path
    yield "Table.__getitem__", lambda key: folder.table("t")[key], path
    table = write.table("t")
    yield "TableWrite.__setitem__", lambda key, value: table.__setitem__(key, value), path


def test_every_argument_is_told_by_its_name_with_what_is_accepted(tmp_path):
    """Each argument of each function, with what fits nowhere: without a mechanism of its own, PyO3
    says of some argument that an object cannot be interpreted as an integer."""
    wrong, asked = [], 0
    other = voisin.create(tmp_path / "other", 4, ids=str)
    known = {**GIVEN, "source": other, "target": other}
    for title, function, path in functions(tmp_path / "vectors"):
        parameters = inspect.signature(function).parameters.values()
        of_voisin = title.startswith("voisin.")
        given = {
            it.name: path if it.name == "path" and of_voisin else known.get(it.name, path)
            for it in parameters
            if it.default is it.empty and it.kind not in (it.VAR_KEYWORD, it.VAR_POSITIONAL)
        }
        for it in parameters:
            if it.kind in (it.VAR_KEYWORD, it.VAR_POSITIONAL) or it.name in ANYTHING:
                continue
            asked += 1
            arguments = {**given, it.name: Odd()}
            first = [arguments.pop(it.name)] if it.kind is it.POSITIONAL_ONLY else []
            try:
                function(*first, **arguments)
                wrong.append(f"{title}({it.name}=) took it")
            except voisin.CallerError as error:
                names = f"\\b{it.name}\\b|{ALSO.get(it.name, it.name)}"
                if not re.search(names, str(error)) or ": " not in str(error):
                    wrong.append(f"{title}({it.name}=): {error}")
            except Exception as error:
                wrong.append(f"{title}({it.name}=): {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)
    assert asked > 250, asked


def test_a_wrong_type_is_told_with_the_value_and_its_type(filled, tmp_path):
    vector, query = rows(1)[0], filled.query()
    for name, value, accepted, call in (
        ("ef", 1.5, "a whole number from 1 on", lambda it: filled.search(vector, ef=it)),
        ("k", None, "a whole number from 0 on", lambda it: filled.search(vector, it)),
        ("memory", 1e9, "a whole number", lambda it: voisin.create(tmp_path / "new", 4, memory=it)),
        ("exact", "no", "True or False", lambda it: filled.search(vector, exact=it)),
        ("recall", "0.9", "a number", lambda it: filled.search(vector, recall=it)),
        ("radius", True, "a number", lambda it: filled.search(vector, radius=it)),
        ("timeout", "1", "a number", lambda it: filled.batch(timeout=it)),
        ("path", 3, "a str, or an os.PathLike", lambda it: voisin.create(it, 4)),
        ("metric", 3, "a str", lambda it: voisin.create(tmp_path / "new", 4, metric=it)),
        ("kinds", 3, "a list of names", lambda it: voisin.create(tmp_path / "new", 4, kinds=it)),
        ("fields", 3, "a dict", lambda it: voisin.create(tmp_path / "new", 4, fields=it)),
        ("cancel", 1, "a voisin.CancelToken", lambda it: filled.link(cancel=it)),
        ("source", 3, "an Index", lambda it: filled.merge(it)),
        ("targets", 3, "a list of indexes", lambda it: filled.split_into(it, len)),
        ("by", 3, "the name of a field", lambda it: query.groups(vector, by=it)),
        ("weights", 3, "a list of numbers", lambda it: query.weighted(rows(2), it)),
        ("progress", 3, "True, False, or a function", lambda it: filled.load(rows(2), progress=it)),
    ):
        told = f"^{name} is {re.escape(repr(value))}, of type {type(value).__name__}: give "
        with pytest.raises(voisin.InvalidType, match=told + re.escape(accepted)) as raised:
            call(value)
        # As before there was a class of voisin's.
        assert isinstance(raised.value, TypeError) and isinstance(raised.value, ValueError)
    assert len(filled) == 300 and not (tmp_path / "new").exists()


def test_names_with_a_lone_surrogate_and_paths_with_a_nul_are_told(folder, tmp_path):
    index = voisin.create(folder, 4, fields={"tag": "keyword"})
    wrong, new, of = "a\ud800", tmp_path / "new", index.folder()
    told = r"a.ud800', with a lone surrogate.*: give text without"
    with of.write() as txn, of.snapshot() as snapshot:
        for name, call in (
            ("metric", lambda: voisin.create(new, 4, metric=wrong)),
            ("dtype", lambda: voisin.create(new, 4, dtype=wrong)),
            ("a name of kinds", lambda: voisin.create(new, 4, kinds=wrong)),
            ("a name of kinds", lambda: voisin.create(new, 4, kinds=["flat", wrong])),
            ("a name of fields", lambda: voisin.create(new, 4, fields={wrong: str})),
            ("path", lambda: voisin.create(str(new) + wrong, 4)),
            ("temp_dir", lambda: voisin.create(new, 4, temp_dir=wrong)),
            ("name", lambda: voisin.remove_index(folder, wrong)),
            ("name", lambda: index.add_field(wrong, str)),
            ("name", lambda: index.drop_field(wrong)),
            ("kind", lambda: index.add_kind(wrong)),
            ("kind", lambda: index.drop_kind(wrong)),
            ("field", lambda: index.facet(wrong)),
            ("by", lambda: index.query().groups(rows(1)[0], by=wrong)),
            ("after", lambda: index.query().pages(rows(1)[0], after=wrong)),
            ("vectors", lambda: index.load([], vectors=wrong)),
            ("name", lambda: of[wrong]),
            ("name", lambda: of.table(wrong)),
            ("one", lambda: of.swap_names(wrong, "b")),
            ("other", lambda: of.swap_names("main", wrong)),
            ("index", lambda: txn[wrong]),
            ("name", lambda: txn.table(wrong)),
            ("index", lambda: snapshot[wrong]),
            ("name", lambda: snapshot.table(wrong)),
            ("key", lambda: of.table("t")[wrong]),
            ("value", lambda: txn.table("t").__setitem__("a", wrong)),
        ):
            with pytest.raises(voisin.InvalidParameter, match=f"{name} is '.*{told}"):
                call()
    for call in (
        lambda path: voisin.create(path, 4),
        lambda path: voisin.open(path),
        lambda path: voisin.inspect(path),
        lambda path: voisin.verify_file(path),
        lambda path: voisin.Folder(path),
        lambda path: index.copy_to(path),
    ):
        with pytest.raises(
            voisin.InvalidParameter, match=r"path is '.*w3.x00', with a NUL.*: give"
        ):
            call(f"{tmp_path}/w3\0")
    assert not new.exists() and index.check() == []


def test_a_message_is_short_however_long_what_was_given_is(folder, tmp_path):
    index = voisin.create(folder, 4, ids=str, fields={"n": "integer"})
    index.add("a", rows(1)[0], {"n": 1})
    vector, long, of = rows(1)[0], "y" * 10_000, index.folder()
    for call in (
        lambda: index.search(vector, kind=long),
        lambda: index.search(vector, parameters=long),
        lambda: index.search(vector, ef=long),
        lambda: index.facet(long),
        lambda: index.count(voisin.field("n") == long),
        lambda: index.count(voisin.field(long) == 1),
        lambda: index.count({"field": "n", long: 1}),
        lambda: index.count({f"m{number}": number for number in range(5000)}),
        lambda: index.set_record("a", {"n": long}),
        lambda: voisin.create(tmp_path / "new", 4, metric=long),
        lambda: voisin.create(tmp_path / "new", 4, dtype=long),
        lambda: voisin.create(tmp_path / "new", 4, ids=long),
        lambda: voisin.create(tmp_path / "new", 4, codes=long),
        lambda: voisin.open(f"/{long}"),
        lambda: of.table(long),
        lambda: of.table("t")[long[:500]],
        lambda: index.load(f"{long}.npy"),
        lambda: voisin.field("n").isin(long),
    ):
        with pytest.raises(voisin.VoisinError) as raised:
            call()
        message = str(raised.value)
        assert len(message) < 2100 and "y" * 101 not in message, message
        assert raised.value.remedy and message.endswith(raised.value.remedy)
    with pytest.raises(voisin.UnknownField, match=r'"y{100}…" \(10000 characters\)') as raised:
        index.facet(long)
    # A program has all of it.
    assert raised.value.value == long


def test_what_is_nested_too_deeply_is_told(folder):
    index = voisin.create(folder, 4, ids=str, fields={"tag": "keyword"})
    index.add("a", rows(1)[0])
    condition, record = {"field": "tag", "eq": "x"}, {}
    for depth in range(100_000):
        condition, record = {"not": condition}, {"in": record}
        if depth == 150:
            with pytest.raises(voisin.InvalidCondition, match="more than 100 levels deep"):
                index.count(condition)
    with pytest.raises(voisin.InvalidCondition, match="no condition: of type dict"):
        index.count(condition)
    with pytest.raises(voisin.InvalidRecord, match="the record of type dict"):
        index.set_record("a", record)
    assert index.get_record("a") is None
