"""LangChain's own suite for vector stores, and what that does not ask."""

import asyncio
import gc
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import voisin
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from voisin import field
from voisin.langchain import VoisinVectorStore

EXAMPLES = Path(__file__).parents[2] / "examples"
FIELDS = {"year": "integer", "tag": "keyword", "ok": "bool", "at": "timestamp", "_x": "float"}


class TestInAFolder(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:  # type: ignore[override]
        store = VoisinVectorStore(self.get_embeddings(), tmp_path / "store")
        yield store
        assert store.index is None or store.index.check() == []


class TestTemporaryWithFields(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:  # type: ignore[override]
        fields = {"id": "integer", "some_other_field": "keyword"}
        return VoisinVectorStore(self.get_embeddings(), metric="euclidean", fields=fields)


class Words(Embeddings):
    """Vectors that a person can check: how often letters occur."""

    def embed_query(self, text: str) -> list[float]:
        return [float(text.count(letter)) + 0.01 for letter in "abcdefgh"]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


METADATA: list[dict[str, Any]] = [
    {"year": 1999, "tag": "news", "ok": True, "at": "1999-05-01", "note": "x", "n": 1, "_x": 0.5},
    {
        "year": 2026,
        "tag": ["news", "late"],
        "ok": False,
        "at": "2026-11-29T10:00:00+01:00",
        "n": 2.5,
    },
    {"year": 2026, "tag": "other", "note": ["x", "y"], "n": [3, 4], "nested": {"a": 1}},
    {"tag": None, "n": None, "note": "y", "__x": 1},
    {},
]


@pytest.fixture(params=[None, FIELDS], ids=["tested", "answered"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> VoisinVectorStore:
    texts = [letter * 3 for letter in "abcde"]
    return VoisinVectorStore.from_texts(
        texts, Words(), METADATA, ids=list("abcde"), path=tmp_path / "store", fields=request.param
    )


FILTERS: list[tuple[Any, str]] = [
    ({}, "abcde"),
    ({"tag": "news"}, "ab"),
    ({"tag": {"$eq": "news"}, "year": 2026}, "b"),
    ({"tag": {"$ne": "news"}}, "cde"),
    ({"tag": {"$in": ["late", "other"]}}, "bc"),
    ({"tag": {"$nin": ["late", "other"]}}, "ade"),
    ({"tag": ["news", "late"]}, "b"),
    ({"tag": None}, "de"),
    ({"tag": {"$exists": True}}, "abc"),
    ({"tag": {"$exists": False}}, "de"),
    ({"tag": 3}, ""),
    ({"tag": "x" * 1000}, ""),
    ({"year": {"$gte": 2000}}, "bc"),
    ({"year": {"$gt": 1998.5, "$lt": 2026}}, "a"),
    ({"year": 1999.0}, "a"),
    ({"year": True}, ""),
    ({"year": {"$lte": "2000"}}, ""),
    ({"year": {"$lt": 2**70}}, "abc"),
    ({"ok": True}, "a"),
    ({"ok": 1}, ""),
    ({"ok": {"$ne": True}}, "bcde"),
    ({"_x": {"$gt": 0.25}}, "a"),
    ({"__x": 1}, "d"),
    ({"note": "x"}, "ac"),
    ({"n": {"$gte": 2.5}}, "bc"),
    ({"n": {"$in": [1, 4]}}, "ac"),
    ({"nested": {"a": 1}}, "c"),
    ({"nowhere": 1}, ""),
    ({"$and": [{"tag": "news"}, {"note": "x"}]}, "a"),
    ({"$or": [{"tag": "other"}, {"note": "y"}]}, "cd"),
    ({"$or": [{"tag": "other"}, {"year": 1999}]}, "ac"),
    ({"$or": []}, ""),
    ({"$and": []}, "abcde"),
    ({"$not": {"tag": "news", "year": 2026}}, "acde"),
    ({"$not": {"$or": [{"note": "y"}, {"year": 1999}]}}, "be"),
    ({"$or": [{"$and": [{"year": 2026}, {"note": "x"}]}, {"ok": True}]}, "ac"),
    (lambda document: document.metadata.get("year", 0) > 2000, "bc"),
    (lambda document: document.page_content == "eee" or document.id == "a", "ae"),
]


@pytest.mark.parametrize(("filter", "expected"), FILTERS)
def test_filters_hold_for_the_same_documents_with_and_without_fields(store, filter, expected):
    for query in ("aaa", "e"):
        found = store.similarity_search(query, k=9, filter=filter)
        assert sorted(it.id for it in found) == list(expected)
        nearest = store.similarity_search(query, k=1, filter=filter)
        assert [it.id for it in nearest] == [it.id for it in found[:1]]
    assert sorted(it.id for it in asyncio.run(store.asimilarity_search("b", 9, filter))) == list(
        expected
    )
    mmr = store.max_marginal_relevance_search("b", k=9, filter=filter)
    assert sorted(it.id for it in mmr) == list(expected)


def test_conditions_and_timestamps_are_answered_by_the_index(tmp_path):
    store = VoisinVectorStore.from_texts(
        list("abcde"), Words(), METADATA, ids=list("abcde"), path=tmp_path / "store", fields=FIELDS
    )
    for filter, expected in [
        (field("tag").startswith("ne") & (field("year") > 2000), ["b"]),
        ({"at": {"$lt": "2026-11-29T09:30:00Z"}}, ["a", "b"]),
        ({"at": {"$gte": "2026-11-29T09:00:00Z"}}, ["b"]),
        ({"at": "2026-11-29T09:00:00Z"}, ["b"]),
        ({"at": {"$gt": "2000-01-01"}, "note": "x"}, []),
        ({"$or": [{"at": {"$lt": "2000-01-01"}}, {"note": "y"}]}, ["a", "c", "d"]),
    ]:
        assert sorted(it.id for it in store.similarity_search("b", 9, filter)) == expected
    # Without a declaration, the index answers what it has fields for.
    assert store.index is not None
    again = VoisinVectorStore(Words(), tmp_path / "store")
    assert [it.id for it in again.similarity_search("b", 9, field("year") == 1999)] == ["a"]
    for wrong in [
        {"tag": {"$near": 1}},
        {"$nor": []},
        {"$or": {"tag": 1}},
        {"tag": {"$in": "news"}},
        {"tag": {"$exists": 1}},
        7,
        {"at": "no date"},
    ]:
        with pytest.raises(voisin.CallerError):
            store.similarity_search("b", filter=wrong)
    with pytest.raises(voisin.UnknownField):
        store.similarity_search("b", filter=field("note") == "x")
    with pytest.raises(TypeError):
        store.similarity_search("b", no_such_option=1)
    with pytest.raises(voisin.InvalidRecord):
        store.add_texts(["f"], [{"year": "last"}])
    with pytest.raises(voisin.InvalidRecord):
        store.add_texts(["f"], [{"thing": object()}])
    with pytest.raises(voisin.LengthMismatch):
        store.add_texts(["f", "g"], [{}])
    assert len(store.index) == 5 and store.index.check() == []


def test_what_is_written_is_there_for_other_processes_and_later(tmp_path):
    path = tmp_path / "store"
    store = VoisinVectorStore(Words(), path, dtype="f16", fields={"_x": "float"})
    assert store.similarity_search("abc") == [] and store.index is None and not path.exists()
    reader = VoisinVectorStore(Words(), path)
    assert reader.get_by_ids(["a"]) == []
    documents = [
        Document(id="a", page_content="abc", metadata={"_x": 1.5, "__text": "é", "_text": 2})
    ]
    assert store.add_documents(documents) == ["a"]
    assert reader.get_by_ids(["b", "a"]) == documents and reader.similarity_search("b") == documents
    assert reader.similarity_search("b", filter={"_text": 2, "_x": {"$gt": 1}}) == documents
    assert store.index is not None and store.index.dtype == "f16"
    with pytest.raises(voisin.Mismatch, match="no field 'other'"):
        VoisinVectorStore(Words(), path, fields={"other": "keyword"})
    with pytest.raises(voisin.Mismatch, match="'cosine', and not 'dot'"):
        VoisinVectorStore(Words(), path, metric="dot")
    with pytest.raises(voisin.DimensionMismatch):
        VoisinVectorStore(DeterministicFakeEmbedding(size=6), path).add_texts(["a"])
    store.delete(["a", "nobody"])
    assert reader.similarity_search("b") == []
    store.add_texts(["a", "b", "c"])
    store.delete()
    assert reader.similarity_search("b") == [] and len(store.index) == 0


def test_stores_share_a_folder_by_names_and_temporary_ones_are_deleted(tmp_path):
    one = VoisinVectorStore.from_texts(["a"], Words(), path=tmp_path, name="one")
    two = VoisinVectorStore(Words(), tmp_path, name="two")
    assert two.similarity_search("a") == []
    two.add_texts(["b"])
    assert [it.page_content for it in one.similarity_search("a")] == ["a"]
    assert [it.page_content for it in two.similarity_search("a")] == ["b"]
    temporary = VoisinVectorStore.from_texts(["a"], Words())
    assert temporary.index is not None
    path = temporary.index.path
    assert path.exists()
    del temporary
    gc.collect()
    assert not path.exists()


def test_scores_are_those_of_the_store_of_langchain(tmp_path):
    texts = ["abc", "aab", "hhh", "abcdefgh", "b"]
    theirs = InMemoryVectorStore.from_texts(texts, Words())
    ours = VoisinVectorStore.from_texts(texts, Words())
    for query in ("ab", "h", "gg"):
        right = theirs.similarity_search_with_score(query, k=5)
        found = ours.similarity_search_with_score(query, k=5)
        assert [it.page_content for it, _ in found] == [it.page_content for it, _ in right]
        for (_, score), (_, other) in zip(found, right, strict=True):
            assert score == pytest.approx(other, abs=1e-5)
        vector = Words().embed_query(query)
        assert ours.similarity_search_with_score_by_vector(vector, k=5) == found
        assert ours.similarity_search_by_vector(vector, k=5) == [it for it, _ in found]
        assert asyncio.run(ours.asimilarity_search_with_score(query, k=5)) == found
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            relevant = ours.similarity_search_with_relevance_scores(query, k=5, score_threshold=0.6)
        assert relevant == [(it, score) for it, score in found if score >= 0.6]
        mmr = theirs.max_marginal_relevance_search(query, k=3, fetch_k=5, lambda_mult=0.3)
        got = ours.max_marginal_relevance_search(query, k=3, fetch_k=5, lambda_mult=0.3)
        assert [it.page_content for it in got] == [it.page_content for it in mmr]
        same = asyncio.run(
            ours.amax_marginal_relevance_search(query, k=3, fetch_k=5, lambda_mult=0.3)
        )
        assert same == got
    vectors = np.array(Words().embed_documents(texts))
    query = np.array(Words().embed_query("ab"))
    for metric, scores in [
        ("dot", vectors @ query),
        ("euclidean", 1 / (1 + np.linalg.norm(vectors - query, axis=1))),
    ]:
        store = VoisinVectorStore.from_texts(texts, Words(), metric=metric)
        found = store.similarity_search_with_score("ab", k=5, exact=True)
        right = dict(zip(texts, scores.tolist(), strict=True))
        assert {it.page_content: score for it, score in found} == pytest.approx(right, rel=1e-4)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_a_retriever_passes_options_on(tmp_path):
    texts = [f"{'a' * (i % 5)}{'b' * (i % 7)}{'c' * (i % 3)}" for i in range(200)]
    metadata = [{"i": i} for i in range(200)]
    store = VoisinVectorStore.from_texts(texts, Words(), metadata, fields={"i": int})
    options = {"k": 7, "filter": {"i": {"$lt": 50}}, "recall": 0.95}
    found = store.as_retriever(search_kwargs=options).invoke("ab")
    assert len(found) == 7 and all(it.metadata["i"] < 50 for it in found)
    options = {"k": 7, "score_threshold": 0.999}
    found = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=options)
    assert 0 < len(found.invoke("ab")) <= 7
    assert len(asyncio.run(store.as_retriever(search_type="mmr").ainvoke("ab"))) == 4


def test_the_example_runs(tmp_path):
    command = [sys.executable, EXAMPLES / "langchain_retriever.py"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        assert lines[0].startswith("5000 glosses") and len(lines) == 7
