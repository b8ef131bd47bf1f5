"""Haystack's own classes for document stores, and what those do not ask."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import voisin
from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.testing import document_store as sync_tests
from haystack.testing import document_store_async as async_tests
from haystack.utils.filters import document_matches_filter
from voisin.haystack import VoisinDocumentStore, VoisinEmbeddingRetriever

EXAMPLES = Path(__file__).parents[2] / "examples"


def rounded(documents: list[Document]) -> list[Document]:
    """In the order of their ids, with embeddings as `float32` has them."""
    import numpy as np

    chosen = sorted(documents, key=lambda it: it.id)
    return [
        replace(it, embedding=it.embedding and np.float32(it.embedding).tolist()) for it in chosen
    ]


class Own:
    """The store, and how its answers are compared: by id, embeddings in single precision."""

    fields: dict[str, str] = {}

    @pytest.fixture
    def document_store(self, tmp_path: Path) -> Iterator[VoisinDocumentStore]:
        store = VoisinDocumentStore(str(tmp_path / "store"), fields=self.fields)
        yield store
        assert store.index is None or store.index.check() == []

    def assert_documents_are_equal(
        self, received: list[Document], expected: list[Document]
    ) -> None:
        assert rounded(received) == rounded(expected)
        assert [it.id for it in received] == sorted(it.id for it in received)


class TestAllOfHaystack(
    Own,
    sync_tests.DocumentStoreBaseExtendedTests,
    sync_tests.CountDocumentsByFilterTest,
    sync_tests.CountUniqueMetadataByFilterTest,
    sync_tests.GetMetadataFieldsInfoTest,
    sync_tests.GetMetadataFieldMinMaxTest,
    sync_tests.GetMetadataFieldUniqueValuesTest,
    async_tests.CountDocumentsAsyncTest,
    async_tests.CountDocumentsByFilterAsyncTest,
    async_tests.CountUniqueMetadataByFilterAsyncTest,
    async_tests.DeleteAllAsyncTest,
    async_tests.DeleteByFilterAsyncTest,
    async_tests.DeleteDocumentsAsyncTest,
    async_tests.FilterDocumentsAsyncTest,
    async_tests.GetMetadataFieldMinMaxAsyncTest,
    async_tests.GetMetadataFieldUniqueValuesAsyncTest,
    async_tests.GetMetadataFieldsInfoAsyncTest,
    async_tests.UpdateByFilterAsyncTest,
    async_tests.WriteDocumentsAsyncTest,
):
    def test_write_documents(self, document_store):
        documents = [Document(content="one"), Document(content="two")]
        assert document_store.write_documents(documents) == 2
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([Document(content="three"), documents[0]])
        self.assert_documents_are_equal(document_store.filter_documents(), documents)

    async def test_write_documents_async(self, document_store):
        assert await document_store.write_documents_async([Document(content="one")]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([Document(content="one")])


class TestFiltersAnsweredByFields(Own, sync_tests.FilterDocumentsTest):
    fields = {"number": "integer", "name": "keyword", "chapter": "keyword", "date": "keyword"}


def test_every_class_of_haystack_is_used():
    used = {it.__name__ for it in TestAllOfHaystack.__mro__}
    for module in (sync_tests, async_tests):
        classes = {name for name in vars(module) if name.endswith(("Test", "Tests"))}
        assert classes and classes <= used | {"AsyncDocumentStoreBaseTests"}, classes - used


METAS: list[dict[str, Any]] = [
    {"n": 1, "tag": "news", "ok": True, "x": 0.5, "at": "2026-11-29"},
    {"n": 2, "tag": ["news", "late"], "ok": False, "x": 2, "at": "2026-11-29T00:00:00"},
    {"n": 2, "tag": [], "x": -1.5, "_own": {"deep": [1]}},
    {"n": None, "tag": "other", "person": {"name": "ann"}, "_unembedded": 7},
    {},
]


def compared(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": f"meta.{field}", "operator": operator, "value": value}


COMPARISONS = [
    *(compared("n", it, 2) for it in ("==", "!=", ">", ">=", "<", "<=")),
    compared("n", "in", [1, 3]),
    compared("n", "not in", [1, 3]),
    compared("n", "==", 2.0),
    compared("n", "==", True),
    compared("n", "==", None),
    compared("n", "<", 1.5),
    compared("tag", "==", "news"),
    compared("tag", "!=", "news"),
    compared("tag", "==", ["news", "late"]),
    compared("tag", "in", ["news", "other"]),
    compared("tag", "not in", ["news", []]),
    compared("ok", "==", True),
    compared("ok", "==", 1),
    compared("x", ">", -2),
    compared("x", "==", 2),
    compared("at", "==", "2026-11-29T00:00:00"),
    compared("person.name", "==", "ann"),
    compared("_own", "==", {"deep": [1]}),
    compared("_unembedded", ">", 5),
    {"field": "content", "operator": "==", "value": "text 1"},
]
FILTERS = [
    *COMPARISONS,
    {"operator": "AND", "conditions": [COMPARISONS[0], COMPARISONS[12]]},
    {"operator": "OR", "conditions": [COMPARISONS[0], COMPARISONS[22]]},
    {"operator": "NOT", "conditions": [COMPARISONS[1], COMPARISONS[13]]},
    {"operator": "NOT", "conditions": [{"operator": "OR", "conditions": COMPARISONS[9:14]}]},
    {
        "operator": "AND",
        "conditions": [COMPARISONS[3], {"operator": "OR", "conditions": COMPARISONS[16:22]}],
    },
]
FIELDS = {"n": "integer", "tag": "keyword", "ok": "bool", "x": "float", "at": "timestamp"}


@pytest.mark.parametrize("fields", [{}, FIELDS], ids=["tested", "answered"])
def test_filters_match_what_haystack_matches(fields):
    documents = [
        Document(id=f"{at}", content=f"text {at}", meta=meta, embedding=[1.0, at / 10])
        for at, meta in enumerate(METAS)
    ]
    store = VoisinDocumentStore(embedding_dim=2, fields=fields)
    store.write_documents(documents)
    for filters in FILTERS:
        right = [it.id for it in documents if document_matches_filter(filters, it)]
        found = store.filter_documents(filters)
        assert [it.id for it in found] == right, filters
        assert [it.meta for it in found] == [documents[int(id)].meta for id in right]
        nearest = store.embedding_retrieval([1.0, 0.0], filters, top_k=9)
        assert [it.id for it in nearest] == right, filters
        assert store.count_documents_by_filter(filters) == len(right)
    for wrong in (
        {"field": "meta.n"},
        {"operator": "XOR", "conditions": []},
        {"n": 1},
        compared("n", "~", 1),
        compared("n", "in", 1),
    ):
        with pytest.raises(FilterError):
            store.filter_documents(wrong)
        with pytest.raises(FilterError):
            VoisinDocumentStore(embedding_dim=2).filter_documents(wrong)


def test_answers_are_those_of_the_store_in_memory(tmp_path):
    import numpy as np

    rows = np.random.default_rng(5).normal(size=(300, 8))
    documents = [
        Document(id=f"{at:03}", content=f"{at}", meta={"n": at}, embedding=row.tolist())
        for at, row in enumerate(rows)
    ]
    documents += [Document(id=f"x{at}", content="no embedding", meta={"n": at}) for at in range(5)]
    filters = {"field": "meta.n", "operator": "<", "value": 100}
    for name in ("cosine", "dot_product"):
        theirs = InMemoryDocumentStore(embedding_similarity_function=name)
        ours = VoisinDocumentStore(str(tmp_path / name), 8, name, {"n": "integer"})
        for store in (theirs, ours):
            store.write_documents(documents)
        for query in rows[:5].tolist():
            for scale in (False, True):
                right = theirs.embedding_retrieval(query, filters, 6, scale, True)
                found = ours.embedding_retrieval(query, filters, 6, scale, True, exact=True)
                assert [it.id for it in found] == [it.id for it in right]
                for one, other in zip(found, right, strict=True):
                    assert one.score == pytest.approx(other.score, abs=1e-5)
                    assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert len(ours.embedding_retrieval(rows[0].tolist(), top_k=400)) == 300
        assert all(it.embedding is None for it in ours.embedding_retrieval(rows[0].tolist()))
        assert ours.index is not None and ours.index.check() == []


def test_documents_come_back_as_they_were(tmp_path):
    document = Document(
        id="1",
        content="text",
        blob=ByteStream(b"\x00\xff", {"a": 1}, "image/png"),
        meta={"content": "of the metadata", "_content": 2, "__x": [1, {"y": None}]},
        sparse_embedding=SparseEmbedding([1, 5], [0.5, 1.5]),
    )
    store = VoisinDocumentStore(str(tmp_path / "store"), 4)
    store.write_documents([document])
    assert store.filter_documents() == [document]
    # It gets an embedding, and loses it again.
    embedded = replace(document, embedding=[1.0, 0.0, 0.5, 0.25])
    store.write_documents([embedded], DuplicatePolicy.OVERWRITE)
    assert store.filter_documents() == [embedded]
    assert store.update_by_filter({"field": "id", "operator": "==", "value": "1"}, {"n": [2]}) == 1
    assert store.filter_documents()[0].meta == document.meta | {"n": [2]}
    assert store.embedding_retrieval([1.0, 0.0, 0.0, 0.0])[0].content == "text"
    store.write_documents([document], DuplicatePolicy.OVERWRITE)
    assert store.filter_documents() == [document]
    assert store.embedding_retrieval([1.0, 0.0, 0.0, 0.0]) == []
    other = VoisinDocumentStore(str(tmp_path / "store"), 4, return_embedding=False)
    assert other.filter_documents() == [document]
    with pytest.raises(voisin.DimensionMismatch, match="another embedding_dim"):
        store.write_documents([Document(content="short", embedding=[1.0])])
    with pytest.raises(voisin.InvalidRecord):
        store.write_documents([Document(content="thing", meta={"a": object()})])
    with pytest.raises(voisin.InvalidParameter):
        VoisinDocumentStore(embedding_similarity_function="l1")
    assert store.count_documents() == 1


def test_a_pipeline_is_saved_and_loaded(tmp_path):
    store = VoisinDocumentStore(str(tmp_path / "store"), 2, fields={"n": "integer"})
    store.write_documents(
        [Document(id=f"{n}", meta={"n": n, "m": n}, embedding=[1.0, n / 9]) for n in range(9)]
    )
    recent = compared("m", ">", 3)
    pipeline = Pipeline()
    retriever = VoisinEmbeddingRetriever(
        store, recent, 3, filter_policy="merge", options={"exact": True}
    )
    pipeline.add_component("retriever", retriever)
    # Haystack loads classes of other packages if it is told to.
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["voisin.haystack"])
    for one in (pipeline, again):
        arguments = {"query_embedding": [1.0, 0.0], "filters": compared("n", "<", 6)}
        found = one.run({"retriever": arguments})["retriever"]["documents"]
        assert [it.id for it in found] == ["4", "5"]
    assert again.get_component("retriever").filter_policy is FilterPolicy.MERGE
    with pytest.raises(TypeError):
        VoisinEmbeddingRetriever(InMemoryDocumentStore())
    with pytest.raises(voisin.InvalidParameter):
        VoisinEmbeddingRetriever(store, top_k=0)


async def test_a_retriever_is_awaited():
    store = VoisinDocumentStore(embedding_dim=2)
    await store.write_documents_async([Document(id="a", embedding=[1.0, 0.5])])
    retriever = VoisinEmbeddingRetriever(store, return_embedding=True)
    found = await retriever.run_async(query_embedding=[1.0, 0.0], top_k=1)
    assert found["documents"][0].embedding == [1.0, 0.5]


def test_the_example_runs(tmp_path):
    command = [sys.executable, EXAMPLES / "haystack_pipeline.py"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        assert lines[0].startswith("5000 glosses") and len(lines) == 4
        assert all(int(line.split()[1]) <= 5 for line in lines[1:])
