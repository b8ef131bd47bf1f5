"""A program that is only type-checked: by `test_types.py`."""

import asyncio
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import voisin
from voisin import field


def program(vectors: npt.NDArray[np.float32]) -> None:
    with voisin.create("vectors", 384, dtype="f16", ids=str) as index:
        index.load(vectors, ids=[f"{i}" for i in range(len(vectors))], progress=print)
        with index.batch() as batch:
            batch.add("a", vectors[0])
            batch.delete(["1", "2"])
            acme = batch.tenant("acme")
            assert_type(acme, voisin.TenantBatch)
            acme.add(["x", "y"], vectors[:2], [{"tag": "new"}, None])
            acme.delete("x")
            batch.rename_tenant("acme", "core")
        one: npt.NDArray[np.float64] = np.zeros(384)
        found = index.search([0.5] * 384, k=5, filter=lambda id: id.startswith("1"), prefix="1")
        assert_type(found, voisin.Found)
        assert_type(found[0], voisin.Hit)
        assert_type(index.search([[0.5] * 384]), voisin.FoundMany)
        assert_type(found.distances, npt.NDArray[np.float32])
        many: voisin.FoundMany = index.search(np.zeros((2, 384)))
        assert_type(many[0], voisin.Found)
        print([(hit.id, hit.distance) for hit in found], one, index.stats().codes)
        with index.snapshot() as snapshot:
            assert_type(snapshot.similar("a"), voisin.Found)
        asyncio.run(index.asearch(vectors[0]))
    fields: dict[str, Literal["keyword", "integer"]] = {"tag": "keyword", "year": "integer"}
    with voisin.create("articles", 384, fields={"tag": str, "date": "timestamp"}) as articles:
        articles.add_field("year", fields["year"])
        articles.add([1, 2], vectors[:2], [{"tag": "news"}, b"{}"])
        recent = (field("tag") == "news") & ~(field("year") < 2000)
        assert_type(recent, voisin.Condition)
        answer = articles.search(
            [0.5] * 384, filter=recent, exclude={"field": "tag", "eq": "old"}, records=True
        )
        assert_type(answer.records, list[dict[str, Any] | bytes | None] | None)
        assert_type(articles.get_record(1), dict[str, Any] | bytes | None)
        assert_type(articles.get_records([1, 2], raw=True), list[bytes | None])
        assert_type(articles.count(recent), int)
        print(articles.facet("tag", filter=recent), articles.ids(recent), articles.fields())
        articles.update_records(recent, lambda record: {**record, "read": True})
        articles.set_record(1, {"tag": "old"})
        articles.load(vectors, records=({"year": year} for year in range(len(vectors))))
        with articles.batch() as changes:
            changes.add(3, vectors[2], {"tag": "late"})
            changes.delete(filter=recent)
    with voisin.create("kinds", 384, kinds=["hnsw", "ivf"]) as kinds:
        assert_type(kinds.kinds(), list[str])
        assert_type(kinds.add_kind("flat"), bool)
        found = kinds.search([0.5] * 384, kind="ivf", nprobe=4, parameters="codes=0")
        assert_type(found.certificate, voisin.Certificate | None)
        query = kinds.query(k=3, recall=0.9, filter=[1, 2, 3])
        assert_type(query.search([0.5] * 384), voisin.Found)
        assert_type(query.search([[0.5] * 384]), voisin.FoundMany)
        for page in query.pages(vectors[0], after=None):
            assert_type(page, voisin.Found)
        for group in query.groups(vectors[0], by=lambda id: id // 2, per_group=3):
            assert_type(group, voisin.Group)
            assert_type(group.hits, list[voisin.Hit])
        assert_type(query.weighted(vectors[:2], [1.0, -0.5]), voisin.Found)
        assert_type(query.count_within(vectors[0], 0.5), voisin.Count)
        assert_type(query.explain(vectors[0]).ways[0], voisin.Way)
        assert_type(query.measure_recall(10), voisin.Recall)
        assert_type(kinds.merge(index.snapshot(), offset=7), int)
        assert_type(kinds.copy_from(kinds, [1], rename=lambda id: id + 1), int)
        assert_type(kinds.split_into([index], lambda id: id % 2), list[int])
        assert_type(kinds.erase(recent), int)
        with voisin.Folder("kinds") as folder, folder.write() as txn:
            txn["main"].add(7, vectors[0])
            txn[kinds].delete(field("n") == 7)
            txn.table("users")["ann"] = b"red"
        with kinds.folder().snapshot() as at:
            assert_type(at["main"], voisin.Snapshot)
            assert_type(at.table("users").get("ann"), bytes | None)
            assert_type(at.table("users").get("ann", 7), bytes | int)
            assert_type(folder["main"], voisin.Index)
    try:
        voisin.open("vectors", name="other")
    except voisin.NotThere as error:
        print(error.kind, error.value, error.limit, error.remedy)
