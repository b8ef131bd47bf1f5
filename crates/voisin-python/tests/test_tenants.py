"""Tenants: what one holds is its own, and all of a searcher works for one."""

import pickle
import uuid

import numpy as np
import pytest
import voisin
from voisin import errors


def rows(count, dimensions=3, seed=1):
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


@pytest.fixture(params=["str", "bytes"])
def made(request, tmp_path):
    """An index, and a function that makes its names of texts."""
    index = voisin.create(
        tmp_path / "folder", 3, metric="euclidean", ids=request.param, fields={"n": "integer"}
    )
    with index:
        yield index, (str if request.param == "str" else str.encode)


def test_a_tenant_holds_what_was_added_to_it_and_nothing_else(made):
    index, of = made
    names = {name: index.tenant(of(name)) for name in ("acme", "bolt", "acme & sons")}
    vectors = rows(60)
    for nth, tenant in enumerate(names.values()):
        ids = [of(f"doc-{i:02}") for i in range(20)]
        tenant.add(ids, vectors[20 * nth : 20 * nth + 20], [{"n": i} for i in range(20)])
    index.add(of("of nobody"), vectors[0])
    assert index.tenants() == [of(name) for name in sorted(names)]
    assert len(index) == 61
    for nth, (name, tenant) in enumerate(names.items()):
        own = vectors[20 * nth : 20 * nth + 20]
        assert (len(tenant), tenant.name, tenant.count()) == (20, of(name), 20)
        assert list(tenant) == [of(f"doc-{i:02}") for i in range(20)]
        query = rows(1, seed=nth)[0]
        order = np.argsort(((own - query) ** 2).sum(axis=1))
        expected = [of(f"doc-{i:02}") for i in order]
        for _ in range(3):
            assert list(tenant.search(query, k=99).ids) == expected
        many = tenant.search(own, k=1)
        assert list(many.ids[:, 0]) == [of(f"doc-{i:02}") for i in range(20)]
        found = tenant.search(query, k=99, filter=voisin.field("n") < 5, records=True)
        assert list(found.ids) == [of(f"doc-{i:02}") for i in order if i < 5]
        assert found.records[0] == {"n": int(found.ids[0][-2:])}
        assert list(tenant.search(query, k=99, exclude=expected[:18]).ids) == expected[18:]
        function = tenant.search(query, k=99, filter=lambda id, wanted=expected[7]: id == wanted)
        assert list(function.ids) == [expected[7]]
        assert tenant.similar(expected[0], k=1)[0].id in expected[1:]
        assert list(tenant.ids(voisin.field("n") < 2)) == [of("doc-00"), of("doc-01")]
        assert tenant.count(voisin.field("n") < 2) == 2
        assert of("doc-07") in tenant and of("of nobody") not in tenant
        assert np.array_equal(tenant[of("doc-07")], own[7])
        assert np.array_equal(tenant.vectors([of("doc-07"), of("doc-03")]), own[[7, 3]])
        pages = tenant.query(k=8).pages(query)
        assert [list(page.ids) for page in pages] == [
            expected[:8],
            expected[8:16],
            expected[16:],
        ]
        similar = tenant.query(k=5).similar_pages(expected[0])
        assert expected[0] not in {id for page in similar for id in page.ids}
        assert tenant.query().count_within(query, 1e6).items == 20
    nobody = [of("of nobody")]
    assert list(index.search(vectors[0], k=1, filter=nobody).ids) == nobody


def test_a_tenant_changes_alone_and_is_dropped_renamed_and_moved(made, tmp_path):
    index, of = made
    acme, bolt = index.tenant(of("acme")), index.tenant(of("bolt"))
    ids = [of("a"), of("b"), of("c")]
    acme.add(ids, rows(3), [{"n": 1}, None, {"n": 3}])
    bolt.add(ids, rows(3))
    assert acme.delete([ids[0], of("no such")]) == 1
    acme.set_record(ids[1:], [{"n": 2}, None])
    assert acme.get_records(ids) == [None, {"n": 2}, None]
    assert (len(acme), len(bolt), bolt.get_record(ids[1])) == (2, 3, None)
    with index.snapshot() as before:
        assert index.drop_tenant(of("bolt")) == 3
        assert (len(bolt), len(before.tenant(of("bolt")))) == (0, 3)
        assert before.tenants() == [of("acme"), of("bolt")]
        with pytest.raises(errors.ReadOnly):
            before.tenant(of("bolt")).add(ids, rows(3))
    assert index.rename_tenant(of("acme"), of("core")) == 2
    bolt.add(ids, rows(3))
    with pytest.raises(errors.AlreadyThere, match="bolt|626f6c74"):
        index.rename_tenant(of("core"), of("bolt"))
    # In the same folder, to another index.
    other = voisin.create(tmp_path / "folder", 3, metric="euclidean", ids=index.id_type, name="o")
    assert index.move_tenant(of("core"), other) == 2
    assert (index.tenants(), other.tenants()) == ([of("bolt")], [of("core")])
    # To another folder.
    there = voisin.create(tmp_path / "there", 3, metric="euclidean", ids=index.id_type)
    assert other.move_tenant(of("core"), there, of("new")) == 2
    assert there.tenant(of("new")).get_record(ids[1]) == {"n": 2}
    assert there.erase_tenant(of("new")) == 2
    assert bolt.drop() == 3
    assert (index.tenants(), other.tenants(), there.tenants()) == ([], [], [])
    assert not index.check() and not other.check() and not there.check()
    other.close()
    there.close()


def test_what_cannot_be_is_refused(made, tmp_path):
    index, of = made
    for name in ("", "n" * 477):
        with pytest.raises(errors.InvalidId) as refused:
            index.tenant(of(name))
        assert (refused.value.value, refused.value.limit) == (len(name), 476)
    tenant = index.tenant(of("acme"))
    with pytest.raises(errors.InvalidId) as refused:
        tenant.add(of("k" * 474), rows(1)[0])
    assert (refused.value.value, refused.value.limit) == (474, 473)
    with pytest.raises(errors.MissingItem, match="'no such'"):
        tenant.set_record(of("no such"), {"n": 1})
    with pytest.raises(errors.NamingMismatch):
        index.tenant(7)
    with pytest.raises(errors.InvalidParameter, match="facets"):
        tenant.facet("n")
    with pytest.raises(errors.InvalidParameter, match="no tenants"):
        tenant.tenant(of("nested"))
    with pytest.raises(TypeError):
        pickle.dumps(tenant)
    assert "acme" in repr(tenant)
    tenant.close()
    with pytest.raises(errors.Closed):
        len(tenant)
    for ids, name in (("u32", 7), ("uuid", uuid.uuid4())):
        with voisin.create(tmp_path / ids, 3, ids=ids) as other:
            for call in (other.tenant, other.drop_tenant):
                with pytest.raises(errors.NamingMismatch, match="tenants need str or bytes"):
                    call(name)
            with pytest.raises(errors.NamingMismatch):
                other.tenants()
            with pytest.raises(errors.NamingMismatch):
                index.move_tenant(of("acme"), other)


def test_a_batch_changes_several_tenants_or_nothing(made):
    index, of = made
    ids = [of("a"), of("b"), of("c")]
    index.tenant(of("old")).add(ids, rows(3))
    index.tenant(of("bolt")).add(ids, rows(3), [{"n": 1}, {"n": 2}, {"n": 3}])
    with index.batch() as batch:
        acme = batch.tenant(of("acme"))
        acme.add(ids, rows(3, seed=2), [{"n": 7}, None, None])
        acme.add(of("d"), rows(1, seed=3)[0])
        acme.delete([ids[1], of("no such")])
        acme.set_record([ids[2]], [{"n": 9}])
        acme.update(ids[0], rows(1, seed=4)[0])
        batch.add(ids[0], rows(1, seed=5)[0])
        batch.tenant(of("old")).drop()
        batch.rename_tenant(of("bolt"), of("bolt & sons"))
        batch.tenant(of("bolt & sons")).delete(ids[2])
        assert (len(batch), acme.name, index.tenants()) == (9, of("acme"), [of("bolt"), of("old")])
        assert "acme" in repr(acme)
    assert index.tenants() == [of("acme"), of("bolt & sons")]
    acme = index.tenant(of("acme"))
    assert list(acme) == [ids[0], ids[2], of("d")]
    assert acme.get_records(list(acme)) == [{"n": 7}, {"n": 9}, None]
    assert np.array_equal(acme[ids[0]], rows(1, seed=4)[0])
    assert np.array_equal(index[ids[0]], rows(1, seed=5)[0])
    bolt = index.tenant(of("bolt & sons"))
    assert bolt.get_records(list(bolt)) == [{"n": 1}, {"n": 2}]
    before = index.snapshot()
    with pytest.raises(RuntimeError), index.batch() as batch:
        batch.tenant(of("acme")).drop()
        raise RuntimeError
    with pytest.raises(errors.MissingItem, match="no item b?'none'"), index.batch() as batch:
        batch.drop_tenant(of("acme"))
        batch.tenant(of("new")).add(ids, rows(3))
        batch.tenant(of("new")).update(of("none"), rows(1)[0])
    with pytest.raises(errors.AlreadyThere), index.batch() as batch:
        batch.tenant(of("new")).add(ids, rows(3))
        batch.rename_tenant(of("new"), of("acme"))
    assert index.tenants() == before.tenants() and len(index) == len(before)
    batch = index.batch(link=False)
    batch.drop_tenant(of("acme"))
    batch.drop_tenant(of("no such"))
    batch.rename_tenant(of("no such"), of("neither"))
    batch.tenant(of("late")).add(ids, rows(3))
    assert batch.commit() == 3
    assert index.tenants() == [of("bolt & sons"), of("late")] and index.pending == 3
    assert not index.check()


def test_what_cannot_be_in_a_batch_is_raised_where_it_is_called(made, tmp_path):
    index, of = made
    with index.batch() as batch:
        acme = batch.tenant(of("acme"))
        for name in ("", "n" * 477):
            for call in (batch.tenant, batch.drop_tenant):
                with pytest.raises(errors.InvalidId) as refused:
                    call(of(name))
                assert (refused.value.value, refused.value.limit) == (len(name), 476)
            with pytest.raises(errors.InvalidId):
                batch.rename_tenant(of("acme"), of(name))
        with pytest.raises(errors.NamingMismatch):
            batch.tenant(7)
        with pytest.raises(errors.InvalidId) as refused:
            acme.add(of("k" * 474), rows(1)[0])
        assert (refused.value.value, refused.value.limit) == (474, 473)
        with pytest.raises(errors.LengthMismatch):
            acme.add([of("a")], rows(2))
        with pytest.raises(errors.LengthMismatch):
            acme.set_record([of("a")], [{"n": 1}, {"n": 2}])
        with pytest.raises(errors.DimensionMismatch):
            acme.update(of("a"), [1.0])
        for tenant in (acme, index.tenant(of("acme"))):
            for condition in (voisin.field("n") < 3, {"field": "n", "below": 3}):
                with pytest.raises(errors.InvalidParameter, match="by their ids"):
                    tenant.delete(condition)
        assert len(batch) == 0
    with pytest.raises(errors.Closed):
        acme.drop()
    with voisin.create(tmp_path / "numbers", 3) as numbers, numbers.batch() as batch:
        for call in (batch.tenant, batch.drop_tenant):
            with pytest.raises(errors.NamingMismatch, match="tenants need str or bytes"):
                call("acme")


def test_a_write_to_a_folder_changes_tenants_of_its_indexes(made):
    index, of = made
    other = voisin.create(index.path, 3, metric="euclidean", ids=index.id_type, name="other")
    ids = [of("a"), of("b")]
    with index.folder().write() as txn:
        txn[index].tenant(of("acme")).add(ids, rows(2))
        txn["other"].tenant(of("acme")).add(ids[0], rows(1)[0])
        txn.table("names")["acme"] = "Acme"
    assert index.snapshot().commit == other.snapshot().commit
    with pytest.raises(errors.AlreadyThere), index.folder().write() as txn:
        txn["other"].drop_tenant(of("acme"))
        txn[index].tenant(of("bolt")).add(ids, rows(2))
        txn[index].rename_tenant(of("bolt"), of("acme"))
    assert (len(index.tenant(of("acme"))), len(other.tenant(of("acme")))) == (2, 1)
    with index.folder().write() as txn:
        txn["other"].tenant(of("acme")).drop()
        txn[index].rename_tenant(of("acme"), of("core"))
    assert (index.tenants(), other.tenants()) == ([of("core")], [])
    assert not index.check() and not other.check()
    other.close()


def test_an_id_of_the_index_tells_whose_it_is(made):
    index, of = made
    names = ["acme", "bolt & sons"]
    for name in names:
        index.tenant(of(name)).add([of("doc-1"), of("doc-2")], rows(2))
    index.add(of("of nobody"), rows(1)[0])
    whose = [voisin.tenant_of(id) for id in index]
    expected = [(of(name), of(f"doc-{n}")) for name in names for n in (1, 2)]
    assert sorted(it for it in whose if it) == sorted(expected) and whose.count(None) == 1
    assert voisin.tenant_of(of("")) is None and voisin.tenant_of(of("doc-1")) is None
    for wrong in (None, 7, uuid.uuid4(), [of("a")]):
        with pytest.raises(voisin.NamingMismatch, match="id is .*: give these"):
            voisin.tenant_of(wrong)


def test_a_tenant_is_closed_with_its_index_and_a_snapshot_is_not(folder):
    index = voisin.create(folder, 3, ids=str)
    tenant = index.tenant("acme")
    tenant.add("a", rows(1)[0])
    snapshot, batch, query = index.snapshot(), index.batch(), tenant.query()
    of_snapshot, queued = snapshot.tenant("acme"), batch.tenant("acme")
    assert not tenant.closed
    index.close()
    assert tenant.closed and not snapshot.closed and not of_snapshot.closed
    for call in (
        lambda: tenant.search(rows(1)[0]),
        lambda: tenant.add("b", rows(1)[0]),
        lambda: tenant.delete("a"),
        lambda: tenant.set_record("a", {}),
        tenant.drop,
        tenant.ids,
        lambda: "a" in tenant,
        lambda: len(tenant),
        lambda: query.search(rows(1)[0]),
        lambda: queued.add("b", rows(1)[0]),
        lambda: batch.delete("a"),
        batch.commit,
        lambda: index.tenant("acme"),
        index.tenants,
    ):
        with pytest.raises(voisin.Closed, match="has been closed: open it again"):
            call()
    # It keeps its commit, with all that is asked of it, until it is closed.
    assert list(of_snapshot) == ["a"] and snapshot.tenants() == ["acme"]
    snapshot.close()
    assert of_snapshot.closed
    for call in (of_snapshot.ids, snapshot.tenants):
        with pytest.raises(voisin.Closed):
            call()
    with voisin.open(folder) as again:
        assert list(again.tenant("acme")) == ["a"] and again.check() == []


def test_a_kept_filter_is_a_set_of_ids_and_never_of_the_items_of_others(folder):
    index = voisin.create(folder, 3, ids=str, fields={"tag": "keyword"})
    one, two = index.tenant("one"), index.tenant("two")
    one.add(["a", "b"], rows(2), [{"tag": "x"}] * 2)
    two.add(["b", "c"], rows(2, seed=3), [{"tag": "x"}] * 2)
    index.add(["a", "c"], rows(2, seed=5), [{"tag": "x"}] * 2)
    other = voisin.create(folder, 3, ids=str, name="other", fields={"tag": "keyword"})
    other.add(["a", "d"], rows(2, seed=7), [{"tag": "x"}] * 2)
    spaces = {"one": one, "two": two, "other": other}
    items = {name: set(space) for name, space in spaces.items()}
    vector = rows(1, seed=9)[0]
    whole = index.ids().tolist()
    for maker in (one, two, other, index):
        for kept, matches in (
            (maker.filter(["a", "b"]), lambda id: id in ("a", "b")),
            (maker.filter({"field": "tag", "eq": "x"}), lambda id: True),
            (maker.filter(prefix="a"), lambda id: id.startswith("a")),
            (maker.filter(whole), lambda id: id in ("a", "c")),
        ):
            # Also when it remembers what it was resolved to last.
            for name in ("one", "one", "two", "one", "other", "two", "two", "other", "one"):
                space, all_items = spaces[name], items[name]
                among = {id for id in all_items if matches(id)}
                assert set(space.search(vector, filter=kept).ids) == among
                assert set(space.search(vector, exclude=kept).ids) == all_items - among
                assert set(space.query(filter=kept, exact=True).search(vector).ids) == among
    # In the index itself a tenant's filter is one of the index's own ids.
    assert set(index.search(vector, filter=one.filter(["a", "b"])).ids) == {"a"}
