"""Copies of items of one index in another, and what is erased."""

import uuid

import numpy as np
import pytest
from conftest import rows

import voisin
from voisin import field

KINDS = [
    (int, range(40)),
    ("u64", [2**40 + i for i in range(40)]),
    (str, [f"key {i:02}" for i in range(40)]),
    (bytes, [bytes([0, i]) for i in range(40)]),
    (uuid.UUID, [uuid.UUID(int=i) for i in range(40)]),
]


def filled(folder, ids, names, **options) -> voisin.Index:
    index = voisin.create(folder, 4, ids=ids, fields={"n": "integer"}, **options)
    index.add(list(names), rows(40), [{"n": i} for i in range(40)])
    return index


@pytest.mark.parametrize(("ids", "names"), KINDS, ids=[str(kind) for kind, _ in KINDS])
def test_items_are_copied_with_their_records_whatever_names_them(tmp_path, ids, names):
    names = list(names)
    source = filled(tmp_path / "source", ids, names)
    # Of another type of vectors, and without fields.
    target = voisin.create(tmp_path / "target", 4, ids=ids, dtype="f16", kinds="flat")
    snapshot = source.snapshot()
    source.delete(names[39])
    assert target.copy_from(source, names[:3]) == 3
    assert target.copy_from(source, names[3]) == 1
    assert target.copy_from(source, filter=field("n").between(4, 9)) == 6
    assert target.copy_from(source, {"field": "n", "between": [10, 12]}) == 3
    # A snapshot has what was there.
    assert target.copy_from(snapshot, [names[39]]) == 1
    assert list(target) == names[:13] + names[39:]
    assert [it["n"] for it in target.get_records(names[:13])] == list(range(13))
    assert np.array_equal(target[names[5]], rows(40)[5].astype(np.float16).astype(np.float32))
    with pytest.raises(voisin.AlreadyThere) as raised:
        target.merge(source)
    assert raised.value.kind == "ItemExists" and len(target) == 14
    assert target.copy_from(source, rename=lambda id: id if id in names[20:25] else None) == 5
    assert target.check() == []
    assert target.erase(names[:5]) == 5 and target.erase(names[0]) == 0
    assert list(target) == names[5:13] + names[20:25] + names[39:] and target.check() == []

    parts = [voisin.create(tmp_path / "parts", 4, name=f"{i}", ids=ids) for i in range(3)]
    places = [0, 1, 2, None]
    counts = source.split_into(parts, lambda id: places[names.index(id) % 4])
    assert counts == [10, 10, 10]
    assert [list(part) for part in parts] == [
        [name for at, name in enumerate(names[:39]) if at % 4 == nth] for nth in range(3)
    ]
    assert len({part.snapshot().commit for part in parts}) == 1
    assert all(part.check() == [] for part in parts)


def test_numbers_are_moved_by_an_offset(tmp_path):
    source = filled(tmp_path / "source", int, range(40))
    target = voisin.create(tmp_path / "target", 4)
    assert (target.merge(source), target.merge(source, offset=100)) == (40, 40)
    assert target.ids().tolist() == [*range(40), *range(100, 140)]
    with pytest.raises(voisin.InvalidId, match="use a smaller offset"):
        target.merge(source, offset=2**32 - 10)
    huge = voisin.create(tmp_path / "huge", 4, ids="u64")
    huge.add([5], rows(1))
    larger = voisin.create(tmp_path / "larger", 4, ids="u64")
    assert larger.merge(huge, offset=2**64 - 6) == 1 and list(larger) == [2**64 - 1]
    with pytest.raises(voisin.InvalidId):
        larger.merge(huge, offset=2**64 - 5)
    named = filled(tmp_path / "named", str, KINDS[2][1])
    with pytest.raises(voisin.NamingMismatch, match="rename="):
        named.merge(named, offset=1)
    assert len(target) == 80 and len(larger) == 1


def test_what_cannot_be_copied_changes_nothing(tmp_path):
    source = filled(tmp_path / "source", int, range(40))
    target = voisin.create(tmp_path / "target", 4)
    with pytest.raises(voisin.NamingMismatch, match="named by u32, and those of this index by str"):
        voisin.create(tmp_path / "named", 4, ids=str).merge(source)
    with pytest.raises(voisin.DimensionMismatch):
        voisin.create(tmp_path / "longer", 5).merge(source)
    with pytest.raises(voisin.Mismatch):
        voisin.create(tmp_path / "other", 4, metric="euclidean").merge(source)

    def fails(id: int) -> int:
        if id == 20:
            raise RuntimeError("of the caller's")
        return 0

    with pytest.raises(RuntimeError, match="of the caller's"):
        target.copy_from(source, rename=lambda id: fails(id) + id)
    with pytest.raises(RuntimeError):
        source.split_into([target], fails)
    with pytest.raises(voisin.NamingMismatch):
        target.copy_from(source, rename=str)
    with pytest.raises(voisin.InvalidParameter, match="give one of both"):
        target.copy_from(source, [1], filter=field("n") == 1)
    with pytest.raises(voisin.InvalidParameter, match="choose returned 7, and there are 1 indexes"):
        source.split_into([target], lambda id: 7)
    with pytest.raises(voisin.Mismatch, match="open the index in that folder"):
        elsewhere = voisin.create(tmp_path / "elsewhere", 4)
        source.split_into([target, elsewhere], lambda id: id % 2)
    with pytest.raises(voisin.NamingMismatch):
        source.split_into([voisin.create(tmp_path / "texts", 4, ids=str)], lambda id: 0)
    token = voisin.CancelToken()
    token.cancel()
    with pytest.raises(voisin.Cancelled):
        target.merge(source, cancel=token)
    with pytest.raises(TypeError):
        target.merge(rows(3))
    assert len(target) == 0 and source.split_into([], lambda id: None) == []
    source.close()
    with pytest.raises(voisin.Closed):
        target.merge(source)


def test_a_copy_tells_its_progress(tmp_path):
    source, seen = filled(tmp_path / "source", int, range(40)), []
    target = voisin.create(tmp_path / "target", 4)
    assert target.merge(source, progress=seen.append) == 40
    assert {it.phase for it in seen} & {"reading", "adding", "linking"}


def test_what_is_erased_is_in_no_copy(tmp_path):
    index = voisin.create(tmp_path / "index", 64, ids=str, fields={"user": "keyword"})
    secret = rows(1, 64, seed=3)[0]
    index.add(
        ["a secret key of ann's", "of bob's"],
        [secret, rows(1, 64)[0]],
        [
            {"user": "ann", "text": "a text that nobody may read again"},
            {"user": "bob", "text": "a text that may stay in the file"},
        ],
    )
    index.update("a secret key of ann's", secret * 2)

    def has(folder: str, what: bytes) -> bool:
        return what in (tmp_path / folder / "data.mdb").read_bytes()

    assert index.erase(filter=field("user") == "ann") == 1
    index.copy_to(tmp_path / "clean")
    vectors = [it.tobytes()[:16] for it in (secret, secret * 2)]
    for gone in (b"a secret key of", b"nobody may read", *vectors):
        assert not has("clean", gone)
    assert has("clean", b"a text that may stay in the file") and len(index) == 1
    with pytest.raises(voisin.ReadOnly):
        voisin.open(tmp_path / "clean", read_only=True).erase("of bob's")
