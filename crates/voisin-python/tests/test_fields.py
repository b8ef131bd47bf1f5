"""Fields of records, and conditions on them: what they find is what Python finds in the records."""

import datetime
import operator
import pickle
import random
import re
import sys
from functools import reduce

import numpy as np
import pytest
from conftest import rows

import voisin
from voisin import Condition, field

FIELDS = {"tag": "keyword", "n": "integer", "x": "float", "at": "timestamp", "ok": "bool"}
NAMES = [(int, lambda i: i), ("u64", lambda i: 2**50 + i), (str, lambda i: f"item {i:03}")]


def record(i: int) -> dict:
    """A record that has some of the fields, some of them with several values."""
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(days=i)
    members = {
        "tag": ["a", ["a", "ab"], "b", None, []][i % 5],
        "n": [i, [i, -i]][i % 2],
        "x": i / 4 - 10,
        "at": [at.isoformat(), int(at.timestamp() * 1000)][i % 2],
        "ok": i % 3 == 0,
        "other": "x",
    }
    return {name: value for k, (name, value) in enumerate(members.items()) if (i + k) % 6}


def values(i: int, name: str) -> list:
    value = record(i).get(name)
    found = value if isinstance(value, list) else [] if value is None else [value]
    if name != "at":
        return found
    return [
        it if isinstance(it, int) else int(datetime.datetime.fromisoformat(it).timestamp() * 1000)
        for it in found
    ]


def some(name: str, holds):
    return lambda i: any(holds(value) for value in values(i, name))


NEW_YEAR = datetime.datetime(2026, 2, 1, tzinfo=datetime.timezone.utc)
MS = int(NEW_YEAR.timestamp() * 1000)

CONDITIONS = [
    (field("tag") == "a", some("tag", lambda v: v == "a")),
    (field("tag") != "a", lambda i: "a" not in values(i, "tag")),
    (field("tag").isin(["b", "ab", "none"]), some("tag", lambda v: v in ("b", "ab"))),
    (field("tag").isin(()), lambda i: False),
    (field("tag").startswith("a"), some("tag", lambda v: v.startswith("a"))),
    (field("tag").exists(), lambda i: bool(values(i, "tag"))),
    (field("n") < 0, some("n", lambda v: v < 0)),
    (field("n") <= 7, some("n", lambda v: v <= 7)),
    (field("n") > 50, some("n", lambda v: v > 50)),
    (field("n") >= np.int64(50), some("n", lambda v: v >= 50)),
    (field("n").between(10, 20), some("n", lambda v: 10 <= v <= 20)),
    (field("n").isin(np.arange(5)), some("n", lambda v: 0 <= v < 5)),
    (field("x") == 0, some("x", lambda v: v == 0)),
    (field("x") < -2.5, some("x", lambda v: v < -2.5)),
    (field("x").between(np.float32(0.25), 1), some("x", lambda v: 0.25 <= v <= 1)),
    (field("at") >= NEW_YEAR, some("at", lambda v: v >= MS)),
    (field("at") < datetime.date(2026, 2, 1), some("at", lambda v: v < MS)),
    (field("at") == "2026-02-01T01:00:00+01:00", some("at", lambda v: v == MS)),
    (field("at") > MS, some("at", lambda v: v > MS)),
    (field("ok") == True, some("ok", lambda v: v)),  # noqa: E712
    (field("ok") == np.False_, some("ok", lambda v: not v)),
    (
        field("n").exists() & ~field("ok").exists(),
        lambda i: bool(values(i, "n")) and not values(i, "ok"),
    ),
]


@pytest.fixture(params=NAMES, ids=["int", "u64", "str"])
def filled(request, folder):
    ids, name = request.param
    index = voisin.create(folder, 4, metric="euclidean", ids=ids, fields=FIELDS)
    index.add([name(i) for i in range(100)], rows(100), [record(i) for i in range(100)])
    yield index, name
    assert index.check() == []


def test_a_condition_finds_what_python_finds_in_the_records(filled):
    index, name = filled
    chosen = random.Random(7)
    mixed = list(CONDITIONS)
    for _ in range(60):
        (a, of_a), (b, of_b) = chosen.choice(mixed), chosen.choice(mixed)
        mixed += [
            (a & b, lambda i, of_a=of_a, of_b=of_b: of_a(i) and of_b(i)),
            (a | b, lambda i, of_a=of_a, of_b=of_b: of_a(i) or of_b(i)),
            (~a, lambda i, of_a=of_a: not of_a(i)),
        ]
    query = rows(1, seed=3)[0]
    for condition, holds in mixed:
        expected = [name(i) for i in range(100) if holds(i)]
        assert index.ids(condition).tolist() == expected, condition
        assert index.count(condition) == len(expected)
        assert sorted(index.search(query, k=100, filter=condition).ids.tolist()) == expected
        as_dict = condition.to_dict()
        assert Condition(as_dict) == condition and index.count(as_dict) == len(expected)
        assert pickle.loads(pickle.dumps(condition)) == condition
        assert eval(repr(condition)) == condition
        others = index.search(query, k=100, exclude=as_dict).ids.tolist()
        assert sorted(others) == [name(i) for i in range(100) if not holds(i)]
        kept = index.filter(condition)
        assert sorted(index.search(query, k=100, filter=kept).ids.tolist()) == expected
        with index.snapshot() as snapshot:
            assert snapshot.count(condition) == len(expected)
    assert index.ids().tolist() == [name(i) for i in range(100)] and index.count() == 100


def test_searches_take_conditions_beside_their_other_options(filled):
    index, name = filled
    condition = field("n") >= 10
    found = index.search(rows(3, seed=2), k=5, filter=condition, records=True, exclude=[name(20)])
    assert found.records is not None
    for ids, records in zip(found.ids.tolist(), found.records, strict=True):
        assert name(20) not in ids and all("n" in record for record in records)
    assert index.similar(name(12), k=100, filter=condition).ids.size == index.count(condition) - 1
    if index.id_type == "str":
        both = index.search(rows(1)[0], k=100, filter=condition, prefix="item 01")
        expected = [name(i) for i in range(10, 20) if some("n", lambda v: v >= 10)(i)]
        assert sorted(both.ids.tolist()) == expected and expected


def test_facets_count_the_values_of_items(filled):
    index, _ = filled
    for name in FIELDS:
        expected: dict = {}
        for i in range(100):
            for value in set(values(i, name)):
                expected[value] = expected.get(value, 0) + 1
        facet = index.facet(name)
        assert facet == expected and list(facet.values()) == sorted(facet.values(), reverse=True)
    among = index.facet("tag", filter={"field": "n", "below": 50})
    items = [i for i in range(100) if some("n", lambda v: v < 50)(i)]
    assert among["ab"] == sum("ab" in values(i, "tag") for i in items)
    assert all(isinstance(value, bool) for value in index.facet("ok"))


def test_items_are_deleted_and_records_are_updated_by_conditions(filled):
    index, name = filled
    both = (field("tag") == "a") & (field("ok") == True)  # noqa: E712
    count = index.count(both)
    assert count > 0 and index.update_records(both, {"tag": "new", "n": 1000}) == count
    assert (
        index.count(both) == 0
        and index.count((field("tag") == "new") & (field("n") == 1000)) == count
    )
    kept = index.get_records(index.ids(field("tag") == "new"))
    assert all(it["ok"] is True for it in kept)
    seen = []

    def doubles(record):
        seen.append(record)
        return {**record, "n": 2000} if len(seen) % 2 else None

    assert (
        index.update_records(field("tag") == "new", doubles)
        == (count + 1) // 2
        == index.count(field("n") == 2000)
    )
    assert len(seen) == count
    assert index.delete(filter=field("tag") == "new") == count
    assert index.delete(filter={"field": "tag", "eq": "new"}) == 0 and len(index) == 100 - count
    with index.batch() as batch:
        batch.add(name(200), rows(1)[0], {"tag": "of the batch"})
        batch.delete(filter=field("tag") == "of the batch")
    assert name(200) not in index


def test_an_exception_of_an_update_changes_nothing(index):
    index.add_field("n", int)
    index.add(range(100), rows(100), [{"n": i} for i in range(100)])

    def fails(record):
        if record["n"] == 50:
            raise LookupError(record)
        return {"n": -1}

    with pytest.raises(LookupError):
        index.update_records(field("n") >= 0, fails)
    with pytest.raises(voisin.InvalidRecord):
        index.update_records(field("n") >= 0, lambda record: "text")
    with pytest.raises(voisin.InvalidRecord):
        index.update_records(field("n") >= 0, {"n": "text"})
    with pytest.raises(voisin.InvalidRecord):
        index.update_records(field("n") >= 0, 3)
    with pytest.raises(voisin.NestedWrite):
        index.update_records(field("n") >= 0, lambda record: index.delete(1))
    assert index.count(field("n") < 0) == 0 and len(index) == 100


def test_fields_are_added_and_dropped(index):
    assert index.fields() == {}
    index.add([1, 2], rows(2), [{"year": 1987, "tag": "a"}, {"year": [1999, 2026]}])
    index.add_field("year", "integer")
    index.add_field("tag", str)
    assert index.fields() == {"year": "integer", "tag": "keyword"}
    assert index.ids(field("year") > 1990).tolist() == [2]
    for wrong in ({"year": "a long time ago"}, b"no JSON", {"tag": 3}):
        with pytest.raises(voisin.InvalidRecord, match="field|JSON"):
            index.set_record(1, wrong)
        with pytest.raises(voisin.InvalidRecord):
            index.load(rows(1), ids=[9], records=[wrong])
    index.drop_field("year")
    index.set_record(1, {"year": "a long time ago"})
    with pytest.raises(voisin.InvalidRecord) as refused:
        index.add_field("year", int)
    assert refused.value.value == "1" and index.fields() == {"tag": "keyword"}
    for name, of in (
        ("tag", str),
        ("", str),
        ("x" * 65, bool),
        ("other", "text"),
        ("other", list),
        ("other", 3),
    ):
        with pytest.raises(voisin.InvalidParameter):
            index.add_field(name, of)
    with pytest.raises(voisin.UnknownField) as unknown:
        index.drop_field("year")
    assert isinstance(unknown.value, KeyError)
    assert (unknown.value.value, unknown.value.limit) == ("year", "tag")


def test_fields_of_creation_come_with_the_index_or_nothing_does(folder):
    for fields in ({"": "keyword"}, {"tag": "text"}, {f"{i}": "bool" for i in range(65)}):
        with pytest.raises(voisin.InvalidParameter):
            voisin.create(folder, 4, fields=fields)
        assert not folder.exists()
    fields = {"tag": str, "year": int, "x": float, "ok": bool, "at": "timestamp"}
    names = {"tag": "keyword", "year": "integer", "x": "float", "ok": "bool", "at": "timestamp"}
    voisin.create(folder, 4, fields=fields).close()
    index = voisin.open_or_create(folder, 4, fields={"year": "integer"})
    assert index.fields() == names
    for other in ({"year": "float"}, {"more": "bool"}):
        with pytest.raises(voisin.Mismatch):
            voisin.open_or_create(folder, 4, fields=other)


def test_what_is_no_condition_is_refused(index):
    index.add_field("n", int)
    index.add(1, rows(1)[0], {"n": 3})
    query = rows(1)[0]
    for wrong in (
        {},
        {"field": "n"},
        {"field": "n", "like": 3},
        {"field": "n", "eq": None},
        {"field": "n", "eq": object()},
        {"field": "n", "eq": float("nan")},
        {"and": 3},
    ):
        for call in (
            lambda: Condition(wrong),
            lambda: index.search(query, filter=wrong),
            lambda: index.count(wrong),
            lambda: index.delete(filter=wrong),
            lambda: index.ids(wrong),
        ):
            with pytest.raises(voisin.InvalidCondition):
                call()
    for wrong in (3, "n", [1], None, field("n")):
        with pytest.raises(voisin.CallerError):
            Condition(wrong)
    for wrong in (field("n") == "3", field("n").startswith("3"), field("n") == 0.5):
        with pytest.raises(voisin.InvalidCondition) as mismatch:
            index.search(query, filter=wrong)
        assert (mismatch.value.value, mismatch.value.limit) == ("n", "integer")
        assert mismatch.value.kind == "FieldMismatch"
    for call in (
        lambda: index.search(query, filter=field("m") == 3),
        lambda: index.count(field("m") == 3),
        lambda: index.facet("m"),
        lambda: index.update_records(field("m") == 3, {}),
    ):
        with pytest.raises(voisin.UnknownField):
            call()
    with pytest.raises(voisin.InvalidCondition, match="& and |"):
        assert 1 < field("n") < 5
    with pytest.raises(voisin.InvalidCondition):
        index.search(query, filter=(field("n") == 3) and (field("n") == 4))
    for arguments in ({}, {"ids": [1], "filter": field("n") == 3}):
        for call in (index.delete, index.erase):
            with pytest.raises(voisin.InvalidParameter):
                call(**arguments)
    assert len(index) == 1


def test_a_condition_is_as_good_as_ids(folder):
    index = voisin.create(folder, 4, ids=str, fields={"n": "integer"})
    index.add([f"key {i}" for i in range(10)], rows(10), [{"n": i} for i in range(10)])
    assert index.delete(field("n") == 3) == 1
    assert index.delete({"field": "n", "in": [3, 4]}) == 1
    with index.batch() as batch:
        batch.delete(field("n") == 5)
    assert index.erase({"field": "n", "eq": 6}) == 1 and len(index) == 6
    # The keys of a dict are no ids.
    with pytest.raises(voisin.InvalidCondition):
        index.delete({"key 0": 1})
    assert len(index) == 6 and index.check() == []


def test_a_record_that_does_not_fit_is_told_by_its_id(folder):
    index = voisin.create(folder, 4, ids=str, fields={"n": "integer"})
    index.add(["a", "b"], rows(2), [{"n": 1, "at": "noon"}, {"n": 2, "at": "noon"}])
    with pytest.raises(voisin.InvalidRecord, match='"b"') as raised:
        index.update_records(field("n") == 2, {"n": "two"})
    assert raised.value.value == '"b"'
    with pytest.raises(voisin.InvalidRecord, match='"a"'):
        index.add_field("at", "timestamp")
    assert index.get_record("b") == {"n": 2, "at": "noon"}


def test_long_chains_of_conditions_are_one_list(index):
    index.add_field("n", int)
    index.add(range(50), rows(50), [{"n": i} for i in range(50)])
    count = 2 * sys.getrecursionlimit()
    any_of = reduce(operator.or_, (field("n") == i for i in range(count)))
    assert index.count(any_of) == 50 and len(any_of.to_dict()["or"]) == count
    assert index.count(reduce(operator.and_, (field("n") != i for i in range(40)))) == 10
    deep = field("n") == 3
    for _ in range(50):
        deep = ~deep
    assert index.count(deep) == 1
    assert Condition(any_of.to_dict()) == any_of
    combined = {"field": "n", "eq": 1} | any_of
    assert isinstance(combined, Condition)
    assert index.count({"field": "n", "eq": 1} & (field("n") < 5)) == 1


def test_names_of_fields_print(index):
    assert repr(field("tag")) == "field('tag')" and field("tag").name == "tag"
    with pytest.raises(TypeError):
        hash(field("tag"))
    assert (
        repr(index.filter(field("tag") == "a"))
        == "<Filter of all items with {'field': 'tag', 'eq': 'a'}>"
    )


def test_groups_are_the_values_of_a_field(folder):
    """As by a function of the ids that looks the records up, and by a plain loop."""
    fields = {"author": "keyword", "year": "integer"}
    index = voisin.create(folder, 4, metric="euclidean", fields=fields)
    data, of = rows(600), np.random.default_rng(3).integers(0, 9, size=(600, 2))
    records = [{"author": [f"a{one}", f"a{two}"], "year": int(one)} for one, two in of]
    index.add(range(600), data, records)
    query = index.query(k=3, exact=True)
    vector = rows(1, seed=9)[0]
    order = np.argsort(((data - vector) ** 2).sum(axis=1), kind="stable")
    expected: dict[str, list[int]] = {}
    for row in order:
        for author in sorted(set(records[row]["author"])):
            if len(expected) < 3 or author in expected:
                expected.setdefault(author, []).append(int(row))
    found = query.groups(vector, by="author", per_group=2)
    assert [group.group for group in found] == list(expected)
    assert [[hit.id for hit in group.hits] for group in found] == [
        ids[:2] for ids in expected.values()
    ]
    by_year = query.groups(vector, by="year")
    by_function = query.groups(vector, by=lambda id: int(of[id][0]))
    assert [(group.group, group.hits) for group in by_year] == [
        (group.group, group.hits) for group in by_function
    ]
    with pytest.raises(voisin.UnknownField):
        query.groups(vector, by="nothing")
    assert index.check() == []


def test_conditions_of_ten_thousand_joins_take_time_with_their_number(folder):
    index = voisin.create(folder, 2, fields={"n": "integer"})
    index.add(range(20), np.ones((20, 2)), [{"n": n} for n in range(20)])
    for name, join in (("or", lambda a, b: a | b), ("and", lambda a, b: a & b)):
        of = (lambda n: field("n") == n) if name == "or" else (lambda n: field("n") != n)
        # From the left, from the right, and in halves: one list each.
        left = right = of(5)
        for n in range(5, 10_005):
            left, right = join(left, of(n)), join(of(n), right)
        halves = [of(n) for n in range(5, 10_005)]
        while len(halves) > 1:
            pairs = [halves[at : at + 2] for at in range(0, len(halves), 2)]
            halves = [join(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        for condition, count in ((left, 10_001), (right, 10_001), (halves[0], 10_000)):
            parts = condition.to_dict()
            assert list(parts) == [name] and len(parts[name]) == count
            again = pickle.loads(pickle.dumps(condition))
            assert again == condition and again.to_dict() == parts
            for it in (condition, again):
                assert index.count(it) == (15 if name == "or" else 5)
            assert join(again, of(3)) == join(condition, of(3)) != condition


def test_deep_conditions_are_pickled_and_those_that_are_too_deep_are_refused(folder):
    index = voisin.create(folder, 2, fields={"n": "integer"})
    index.add(range(20), np.ones((20, 2)), [{"n": n} for n in range(20)])
    condition, depths = field("n") == 7, 0
    with pytest.raises(voisin.InvalidCondition, match="201 levels deep, of 200 at most: write it"):
        for n in range(1000):
            condition = condition & (field("n") < 15) if n % 2 else condition | (field("n") == n)
            depths += 1
    assert depths == 200
    again = pickle.loads(pickle.dumps(condition))
    assert again == condition and again.to_dict() == condition.to_dict()
    assert index.count(again) == index.count(condition) == 9
    assert index.search([1.0, 1.0], k=20, filter=again).ids.size == 9
    negated = field("n") == 7
    for _ in range(200):
        negated = ~negated
    assert index.count(pickle.loads(pickle.dumps(negated))) == 1
    doubled = field("n") == 7
    with pytest.raises(voisin.InvalidCondition, match="tests, of 1048576 at most: use isin"):
        for _ in range(100):
            doubled = doubled & doubled


def test_chains_are_one_list_whoever_has_combined_them():
    a, b, c, d = (field("n") == n for n in range(4))
    assert (a & b) & (c & d) == ((a & b) & c) & d == a & (b & (c & d))
    assert (a & b) & (c & d) != (a & b) | (c & d)
    assert ((a | b) & (c | d)).to_dict() == {
        "and": [{"or": [a.to_dict(), b.to_dict()]}, {"or": [c.to_dict(), d.to_dict()]}]
    }
    assert (~(a & b) & c).to_dict()["and"][0] == {"not": {"and": [a.to_dict(), b.to_dict()]}}


def test_one_text_is_not_the_values_of_isin():
    tag = voisin.field("tag")
    for wrong, shown in (("abc", "'abc'"), (b"abc", "b'abc'"), ({"a": 1}, "{'a': 1}"), (3, "3")):
        told = re.escape(f"isin are {shown}, of type {type(wrong).__name__}: give a list, isin([")
        with pytest.raises(voisin.InvalidType, match=told) as raised:
            tag.isin(wrong)
        assert isinstance(raised.value, TypeError)
    for right in (["abc"], ("abc",), {"abc"}, iter(["abc"]), np.array(["abc"])):
        assert tag.isin(right) == voisin.Condition({"field": "tag", "in": ["abc"]})


def test_a_condition_has_members_with_names():
    for wrong in ({1: "x"}, {"field": "n", "eq": 1, None: 2}, {"not": {True: []}}):
        with pytest.raises(voisin.InvalidCondition, match="the key .* is of type"):
            voisin.Condition(wrong)
