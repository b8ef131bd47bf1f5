"""A vector store of LlamaIndex, compared with its `SimpleVectorStore`."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import voisin
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import (
    ImageNode,
    IndexNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from voisin.llama_index import VoisinVectorStore

EXAMPLES = Path(__file__).parents[2] / "examples"
METAS: list[dict[str, Any]] = [
    {"n": 1, "tag": "news", "ok": True, "x": 0.5, "text": "snow in Metz"},
    {"n": 2, "tag": ["news", "late"], "ok": False, "x": 2.0, "_own": 3},
    {"n": 2, "tag": [], "x": -1.5, "text": "", "__own": 3},
    {"n": None, "tag": "other", "text": "Rain"},
    {},
]
FIELDS = {"n": "integer", "tag": "keyword", "ok": "bool", "x": "float"}


def nodes(count: int = 5, d: int = 4) -> list[TextNode]:
    rows = np.random.default_rng(3).normal(size=(count, d)).astype(np.float32)
    made = []
    for at, row in enumerate(rows.tolist()):
        of = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc {at // 2}")}
        meta = METAS[at % len(METAS)]
        made.append(
            TextNode(id_=f"{at}", text=f"text {at}", embedding=row, metadata=meta, relationships=of)
        )
    return made


@pytest.fixture(params=[None, FIELDS], ids=["tested", "answered"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    store = VoisinVectorStore(tmp_path / "store", fields=request.param)
    assert store.add(nodes()) == list("01234")
    yield store
    assert store.client is not None and store.client.check() == []


def simple(count: int = 5) -> SimpleVectorStore:
    store = SimpleVectorStore()
    store.add(nodes(count))
    return store


def f(key: str, value: Any, operator: str = "==") -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=FilterOperator(operator))


def fs(*filters: Any, condition: str = "and") -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=FilterCondition(condition))


FILTERS = [
    fs(),
    *(fs(f("n", 2, it)) for it in ("==", "!=", ">", ">=", "<", "<=")),
    fs(f("n", 2.0)),
    fs(f("n", [1, 3], "in")),
    fs(f("n", [1, 3], "nin")),
    fs(f("x", 0, ">")),
    fs(f("x", 2, "==")),
    fs(f("ok", 1)),
    fs(f("tag", "news")),
    fs(f("tag", "news", "!=")),
    fs(f("tag", ["news", "other"], "in")),
    fs(f("tag", ["news"], "nin")),
    fs(f("tag", "new", "contains")),
    fs(f("tag", "late", "contains")),
    fs(f("tag", ["late", "other"], "any")),
    fs(f("tag", ["late", "news"], "all")),
    fs(f("tag", None, "is_empty")),
    fs(f("text", "snow", "text_match")),
    fs(f("text", "RAIN", "text_match_insensitive")),
    fs(f("_own", 3)),
    fs(f("__own", 3)),
    fs(f("ref_doc_id", "doc 1")),
    fs(f("n", 2), f("tag", "late", "contains")),
    fs(f("n", 1), f("text", "Rain"), condition="or"),
    fs(f("n", 1), f("x", -1.5), condition="or"),
    fs(f("n", 1), f("text", "Rain"), condition="not"),
    fs(f("n", 2), f("ok", 1), condition="not"),
]


@pytest.mark.parametrize("filters", FILTERS, ids=range(len(FILTERS)))
def test_filters_match_what_the_simple_store_matches(store, filters):
    query = VectorStoreQuery([1.0, 0.5, -0.5, 0.25], similarity_top_k=9, filters=filters)
    right, found = simple().query(query), store.query(query)
    assert found.ids == right.ids
    assert found.similarities == pytest.approx(right.similarities, abs=1e-5)
    assert [it.node_id for it in found.nodes] == found.ids
    assert [it.node_id for it in store.get_nodes(filters=filters)] == sorted(right.ids)
    among = VectorStoreQuery(query.query_embedding, 9, filters=filters, node_ids=["3", "1", "no"])
    assert store.query(among).ids == simple().query(among).ids
    # What is deleted is what was found.
    theirs = simple()
    theirs.delete_nodes(["0", "1", "2"], filters)
    store.delete_nodes(["0", "1", "2"], filters)
    everything = VectorStoreQuery(query.query_embedding, 9)
    assert store.query(everything).ids == theirs.query(everything).ids


def test_filters_are_nested(store):
    either = fs(f("n", 1), f("text", "Rain"), condition="or")
    inner = fs(either, f("ok", 1))
    assert [it.node_id for it in store.get_nodes(filters=inner)] == ["0"]
    outside = fs(inner, f("n", 2), condition="not")
    assert [it.node_id for it in store.get_nodes(filters=outside)] == ["3", "4"]
    assert store.get_nodes(node_ids=["4", "0", "no"], filters=either)[0].node_id == "0"
    of_docs = VectorStoreQuery([1.0, 0.0, 0.0, 0.0], 9, doc_ids=["doc 0", "doc 2"], filters=either)
    assert store.query(of_docs).ids == ["0"]
    # As in the simple store.
    with pytest.raises(TypeError):
        store.get_nodes(filters=fs(f("text", 3, ">")))


def test_nodes_of_all_types_come_back_as_they_were(tmp_path):
    others = [
        IndexNode(id_="index", text="i", index_id="other", embedding=[1.0, 0.0, 0.0, 0.5]),
        ImageNode(id_="image", text="é", image_path="a.png", embedding=[0.0, 1.0, 0.0, 0.5]),
    ]
    store = VoisinVectorStore(tmp_path / "store", dtype="f16")
    store.add([*nodes(), *others])
    again = VoisinVectorStore(tmp_path / "store")
    for node in (*nodes(), *others):
        found = again.get_nodes([node.node_id])[0]
        assert type(found) is type(node)
        expected = node.model_dump() | {"embedding": None}
        assert found.model_dump() == expected
        assert again.get(node.node_id) == pytest.approx(node.embedding, rel=1e-3)
    with pytest.raises(KeyError):
        again.get("nobody")
    assert again.client is not None and again.client.dtype == "f16"


def test_what_is_added_replaced_deleted_and_cleared(tmp_path):
    ours, theirs = VoisinVectorStore(tmp_path / "store"), SimpleVectorStore()
    query = VectorStoreQuery([1.0, 0.5, -0.5, 0.25], similarity_top_k=50)
    assert ours.query(query).ids == [] and ours.get_nodes() == [] and ours.client is None
    ours.delete("doc 0")
    ours.clear()
    assert ours.add([]) == []
    for step in (
        lambda it: it.add(nodes(30)),
        lambda it: it.add(
            [n.model_copy(update={"id_": f"{29 - i}"}) for i, n in enumerate(nodes(10))]
        ),
        lambda it: it.delete("doc 3"),
        lambda it: it.delete("no such document"),
        lambda it: it.delete_nodes(["1", "2", "no such node"]),
        lambda it: it.delete_nodes(filters=fs(f("n", 1))),
        lambda it: asyncio.run(it.async_add(nodes(5))),
        lambda it: asyncio.run(it.adelete("doc 1")),
        lambda it: asyncio.run(it.adelete_nodes(["0"])),
        lambda it: it.clear(),
        lambda it: it.add(nodes(3)),
        lambda it: asyncio.run(it.aclear()),
    ):
        step(ours)
        step(theirs)
        right, found = theirs.query(query), asyncio.run(ours.aquery(query))
        assert sorted(found.ids) == sorted(right.ids)
        assert found.similarities == pytest.approx(right.similarities, abs=1e-5)
        assert sorted(it.node_id for it in asyncio.run(ours.aget_nodes())) == sorted(right.ids)


def test_a_diverse_choice_is_that_of_the_simple_store(tmp_path):
    ours, theirs = VoisinVectorStore(tmp_path / "store"), simple(40)
    ours.add(nodes(40))
    for threshold in (0.2, 0.4, 1.0):
        query = VectorStoreQuery(
            [1.0, 0.5, -0.5, 0.25], 10, mode=VectorStoreQueryMode.MMR, mmr_threshold=threshold
        )
        right, found = theirs.query(query, mmr_threshold=threshold), ours.query(query)
        assert found.ids == right.ids
        assert found.similarities == pytest.approx(right.similarities, abs=1e-5)
        assert (
            ours.query(query, mmr_threshold=1.0).ids == theirs.query(query, mmr_threshold=1.0).ids
        )


def test_what_is_no_query_is_refused(store):
    for mode in set(VectorStoreQueryMode) - {
        VectorStoreQueryMode.DEFAULT,
        VectorStoreQueryMode.MMR,
    }:
        with pytest.raises(voisin.InvalidParameter, match="use 'default' or 'mmr'"):
            store.query(VectorStoreQuery([1.0, 0.0, 0.0, 0.0], mode=mode))
    with pytest.raises(voisin.InvalidParameter, match="no embedding"):
        store.query(VectorStoreQuery())
    with pytest.raises(TypeError):
        store.query(VectorStoreQuery([1.0, 0.0, 0.0, 0.0]), no_such_option=1)
    with pytest.raises(voisin.DimensionMismatch):
        store.query(VectorStoreQuery([1.0]))
    with pytest.raises(ValueError, match="embedding not set"):
        store.add([TextNode(text="no embedding")])
    assert len(store.client) == 5


@pytest.mark.parametrize(("metric", "expected"), [("dot", 2.5), ("euclidean", 1 / (1 + 0.5))])
def test_similarity_follows_the_metric(metric, expected):
    store = VoisinVectorStore(metric=metric)
    store.add([TextNode(id_="a", text="a", embedding=[1.0, 1.5])])
    found = store.query(VectorStoreQuery([1.0, 1.0]), exact=True)
    assert found.similarities == pytest.approx([expected])


def test_an_index_of_llama_index_stands_on_it(tmp_path):
    store = VoisinVectorStore(tmp_path / "store", fields={"n": "integer"})
    model = MockEmbedding(embed_dim=8)
    context = StorageContext.from_defaults(vector_store=store)
    plain = [TextNode(id_=f"{n}", text=f"text {n}", metadata={"n": n}) for n in range(20)]
    VectorStoreIndex(plain, storage_context=context, embed_model=model)
    index = VectorStoreIndex.from_vector_store(VoisinVectorStore(tmp_path / "store"), model)
    retriever = index.as_retriever(similarity_top_k=3, filters=fs(f("n", 10, ">")))
    found = retriever.retrieve("anything")
    assert len(found) == 3 and all(it.node.metadata["n"] > 10 for it in found)
    assert found[0].node.get_content().startswith("text 1")


def test_the_example_runs(tmp_path):
    command = [sys.executable, EXAMPLES / "llama_index_retriever.py"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        assert lines[0].startswith("5000 glosses") and len(lines) == 4
