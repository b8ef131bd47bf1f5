"""What the stores for other frameworks cost beside voisin: the same searches, in turns, in one run.

    pip install 'voisin[vekterdb,langchain,haystack,llama-index]'
    python crates/voisin-python/bench/frameworks.py [FOLDER]

FOLDER has `glosses-384.f16` and `glosses-384.queries.f16`, by default `examples/data`, with 5 000
items. Each query is asked of each in turns, several times, of which the best counts. Figures are
averages over all queries, in microseconds, k = 10.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import voisin

K = 10
PASSES = 15

Search = Callable[[Any], object]


def compare(name: str, ours: Search, theirs: dict[str, Search], queries: list[Any]) -> None:
    """Prints what each of `theirs` takes, and how much more than `ours` that is."""
    searches = {"voisin": ours} | theirs
    best = {key: [float("inf")] * len(queries) for key in searches}
    for _ in range(PASSES):
        for at, query in enumerate(queries):
            for key, search in searches.items():
                began = time.perf_counter()
                search(query)
                took = 1e6 * (time.perf_counter() - began)
                best[key][at] = min(best[key][at], took)
    mean = {key: sum(times) / len(times) for key, times in best.items()}
    print(f"{name}: voisin {mean['voisin']:.1f} us")
    for key in theirs:
        print(f"    {key}: {mean[key]:.1f} us, {mean[key] - mean['voisin']:+.1f}")


def vekterdb(rows: np.ndarray[Any, Any], queries: list[Any], work: Path) -> None:
    from voisin.vekterdb import VekterDB

    db = VekterDB("things", columns_dict={"id": {"type": sa.Text}}, url=f"sqlite:///{work}/sql")
    db.insert({"idx": at, "id": f"{at}", "vector": row} for at, row in enumerate(rows))
    db.create_index(work / "vekterdb")
    index = db.index
    assert index is not None
    asks = sa.select(db.columns["id"], db.columns["idx"])

    def and_sql(query: Any) -> None:
        ids = index.search(query, K).ids.tolist()
        with db.engine.connect() as sql:
            sql.execute(asks.where(db.columns["idx"].in_(ids))).all()

    theirs: dict[str, Search] = {
        "search for idx": lambda query: db.search(query, K, "idx"),
        "voisin, then a SELECT of SQLAlchemy": and_sql,
        "search for another column": lambda query: db.search(query, K, "id"),
    }
    compare("vekterdb", lambda query: index.search(query, K).ids.tolist(), theirs, queries)
    db.close()


def frameworks(rows: np.ndarray[Any, Any], queries: list[Any]) -> None:
    """The same documents in each store. Without and with a filter that a field answers."""
    from haystack import Document
    from langchain_core.documents import Document as Text
    from langchain_core.embeddings import FakeEmbeddings
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores.types import (
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node
    from voisin.haystack import VoisinDocumentStore
    from voisin.langchain import VoisinVectorStore
    from voisin.llama_index import VoisinVectorStore as NodeStore

    ids, vectors = [f"{at}" for at in range(len(rows))], rows.tolist()
    metadata = [{"kind": f"{at % 7}", "at": at} for at in range(len(rows))]
    fields, is_first = {"kind": "keyword"}, {"field": "kind", "eq": "1"}
    asked = [it.tolist() for it in queries]

    class Known(FakeEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vectors[int(text)] for text in texts]

    chain = VoisinVectorStore(Known(size=384), fields=fields)
    chain.add_texts(ids, metadata, ids=ids)
    hay = VoisinDocumentStore(embedding_dim=384, fields=fields)
    hay.write_documents(
        [
            Document(id=id, content=id, meta=meta, embedding=vector)
            for id, meta, vector in zip(ids, metadata, vectors, strict=True)
        ]
    )
    nodes = NodeStore(fields=fields)
    nodes.add(
        [
            TextNode(id_=id, text=id, metadata=meta, embedding=vector)
            for id, meta, vector in zip(ids, metadata, vectors, strict=True)
        ]
    )
    kind = {"field": "meta.kind", "operator": "==", "value": "1"}
    filters = MetadataFilters(filters=[MetadataFilter(key="kind", value="1")])
    by_vector = chain.similarity_search_by_vector
    content = nodes.get_nodes(["1"])[0].to_json()
    of_node = {"_node_content": content, "_node_type": "TextNode"}
    stores: list[tuple[str, voisin.Index | None, Search, Search, Search]] = [
        (
            "langchain",
            chain.index,
            lambda it: by_vector(it, K),
            lambda it: by_vector(it, K, {"kind": "1"}),
            lambda it: [Text(id="1", page_content="1", metadata=metadata[0]) for _ in range(K)],
        ),
        (
            "haystack",
            hay.index,
            lambda it: hay.embedding_retrieval(it, None, K),
            lambda it: hay.embedding_retrieval(it, kind, K),
            lambda it: [Document(id="1", content="1", meta=metadata[0]) for _ in range(K)],
        ),
        (
            "llama_index",
            nodes.client,
            lambda it: nodes.query(VectorStoreQuery(it, K)),
            lambda it: nodes.query(VectorStoreQuery(it, K, filters=filters)),
            lambda it: [metadata_dict_to_node(of_node) for _ in range(K)],
        ),
    ]
    for name, index, plain, filtered, made in stores:
        assert index is not None

        def alone(query: Any, index: voisin.Index = index) -> object:
            return index.search(query, K, records=True).records

        def among(query: Any, index: voisin.Index = index) -> object:
            return index.search(query, K, records=True, filter=is_first).records

        def and_made(query: Any, alone: Search = alone, made: Search = made) -> None:
            alone(query)
            made(query)

        theirs = {"search": plain, "voisin, and 10 documents are made": and_made}
        compare(f"{name}, with records", alone, theirs, asked)
        compare(f"{name}, a filter by a field", among, {"search": filtered}, asked)


def main(folder: Path) -> None:
    rows, queries = (
        np.fromfile(folder / name, "<f2").reshape(-1, 384).astype("float32")
        for name in ("glosses-384.f16", "glosses-384.queries.f16")
    )
    print(f"voisin {voisin.__version__}, {len(rows)} items of 384 dimensions")
    with tempfile.TemporaryDirectory(dir=".") as work:
        vekterdb(rows, list(queries), Path(work).absolute())
    frameworks(rows, list(queries))


if __name__ == "__main__":
    default = Path(__file__).parents[3] / "examples" / "data"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
