"""A vector store for LlamaIndex: nodes, their embeddings and their metadata in an index of voisin.

>>> from llama_index.core.schema import TextNode
>>> from llama_index.core.vector_stores.types import VectorStoreQuery
>>> from voisin.llama_index import VoisinVectorStore
>>> store = VoisinVectorStore(fields={"year": "integer"})
>>> store.add([TextNode(id_="a", text="snow", embedding=[0.9, 0.1], metadata={"year": 1999})])
['a']
>>> store.query(VectorStoreQuery(query_embedding=[0.9, 0.2], similarity_top_k=1)).nodes[0].text
'snow'

Each call that changes something is one commit, and every process that has the folder open sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

import voisin
from voisin._documents import (
    Answer,
    Condition,
    Documents,
    Where,
    answered,
    every,
    lists,
    no,
    similarity,
    some,
    to_metadata,
    to_record,
)
from voisin.errors import VoisinError, _exception

try:
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import (
        build_metadata_filter_fn,
        metadata_dict_to_node,
        node_to_metadata_dict,
    )
except ImportError as error:
    message = "voisin.llama_index needs llama-index-core: pip install 'voisin[llama-index]'"
    raise ImportError(message) from error

# Metadata of a node, with those that LlamaIndex adds.
_Metadata = dict[str, Any]
_OWN_FIELDS = {"lists": "keyword"}
# LlamaIndex's comparisons, with those that conditions have.
_COMPARISONS = {
    FilterOperator.EQ: "eq",
    FilterOperator.IN: "in",
    FilterOperator.GT: "above",
    FilterOperator.GTE: "at_least",
    FilterOperator.LT: "below",
    FilterOperator.LTE: "at_most",
}
# How many times as many nodes as are asked for a diverse choice is made of.
_MMR_FACTOR = 4


class VoisinVectorStore(BasePydanticVectorStore):
    """Nodes in an index of voisin.

    Args:
        path: the folder of the index, which is created with the first node; a temporary folder,
            which is deleted with the store, for None.
        metric: `"cosine"`, `"dot"` or `"euclidean"`.
        fields: types of metadata, by name: `"keyword"`, `"integer"`, `"float"` or `"bool"`. Filters
            by these are answered by the index; a node whose metadata are of another type is
            refused. Filters by all else read nodes.
        options: further options of `voisin.create`, such as `dtype="f16"`.

    Filters mean what they mean for LlamaIndex's `SimpleVectorStore`, and can be nested. Similarity
    is the cosine, the inner product, or `1 / (1 + distance)`.
    """

    stores_text: bool = True
    flat_metadata: bool = False

    _documents: Documents[_Metadata] = PrivateAttr()

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        metric: str = "cosine",
        fields: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(stores_text=True)
        own = _OWN_FIELDS
        fields = {"ref_doc_id": "keyword"} | dict(fields or {})
        self._documents = Documents(path, metric, fields, options, _metadata, own_fields=own)

    @classmethod
    def class_name(cls) -> str:
        """The name of the class."""
        return "VoisinVectorStore"

    @property
    def client(self) -> voisin.Index | None:
        """The index, or None as long as there is no node."""
        return self._documents.index()

    def get(self, text_id: str) -> list[float]:
        """The embedding of a node."""
        index = self.client
        if index is None or text_id not in index:
            text = f"there is no node {text_id!r}: use an id that was added"
            raise _exception("MissingItem", "caller", text, text_id, None)
        return list(map(float, index[text_id]))

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Adds nodes with embeddings, or replaces those that have the same ids, in one commit.
        Returns the ids."""
        records = []
        for node in nodes:
            metadata = node_to_metadata_dict(node, remove_text=False, flat_metadata=False)
            noted = {"lists": lists(metadata)} if lists(metadata) else {}
            records.append(to_record(metadata, **noted))
        ids = [node.node_id for node in nodes]
        if ids:
            self._documents.put(ids, [node.get_embedding() for node in nodes], records)
        return ids

    async def async_add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """`add`, awaited."""
        return await asyncio.to_thread(self.add, nodes, **options)

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Deletes the nodes of a document, in one commit."""
        index = self.client
        if index is not None:
            index.delete(filter={"field": "ref_doc_id", "eq": ref_doc_id})

    async def adelete(self, ref_doc_id: str, **options: Any) -> None:
        """`delete`, awaited."""
        await asyncio.to_thread(self.delete, ref_doc_id, **options)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **_: Any,
    ) -> None:
        """Deletes the nodes with these ids that a filter matches, in one commit; None restricts
        nothing."""
        self._documents.delete(self._chosen(node_ids, filters))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **options: Any,
    ) -> None:
        """`delete_nodes`, awaited."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **options)

    def clear(self) -> None:
        """Deletes all nodes, in one commit."""
        self.delete_nodes()

    async def aclear(self) -> None:
        """`clear`, awaited."""
        await asyncio.to_thread(self.clear)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes with these ids that a filter matches, in the order of their ids; None restricts
        nothing."""
        ids = self._chosen(node_ids, filters)
        return [_node(it) for it in self._documents.records(ids) if it is not None]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """`get_nodes`, awaited."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def _chosen(self, ids: Sequence[str] | None, filters: MetadataFilters | None) -> list[str]:
        return [it.id for it in self._documents.matching(self._where(ids, filters))]

    def _where(
        self,
        ids: Sequence[str] | None,
        filters: MetadataFilters | None,
        doc_ids: Sequence[str] | None = None,
    ) -> Callable[[voisin.Snapshot], Where[_Metadata]] | None:
        if ids is None and doc_ids is None and not (filters and filters.filters):
            return None
        documents = self._documents

        def where(snapshot: voisin.Snapshot) -> Where[_Metadata]:
            parts: list[Where[_Metadata]] = []
            if doc_ids is not None:
                parts.append(Where({"field": "ref_doc_id", "in": list(doc_ids)}))
            if filters is not None and filters.filters:
                parts.append(_where(filters, documents, snapshot))
            among = None if ids is None else frozenset(ids)
            return replace(every(parts), ids=among)

        return where

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """The nodes nearest to an embedding, nearest first, with their similarities. Modes are
        `DEFAULT` and `MMR`, of which `mmr_threshold` (of the query or here) is the weight of
        similarity, from 0 to 1. Further options are those of `voisin.Index.search`, such as
        `recall=0.95`."""
        threshold = options.pop("mmr_threshold", query.mmr_threshold)
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise _refused(f"there is no mode {query.mode.value!r} here: use 'default' or 'mmr'")
        if query.query_embedding is None:
            raise _refused("the query has no embedding: give it one")
        # An index whose store has the texts gives an empty list, and means all nodes.
        where = self._where(query.node_ids or None, query.filters, query.doc_ids or None)
        vector, k = query.query_embedding, query.similarity_top_k
        if query.mode is VectorStoreQueryMode.DEFAULT:
            found = self._documents.search(vector, k, where, **options)
            scores = [similarity(self._documents.metric, it.distance) for it in found]
            return _result(found, scores)
        options["vectors"] = True
        found = self._documents.search(vector, _MMR_FACTOR * k, where, **options)
        by_id = {it.id: it for it in found}
        scores, ids = get_top_k_mmr_embeddings(
            list(np.asarray(vector, dtype=np.float32)),
            [it.vector for it in found],
            similarity_top_k=k,
            embedding_ids=list(by_id),
            mmr_threshold=threshold,
        )
        return _result([by_id[id] for id in ids], [float(it) for it in scores])

    async def aquery(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """`query`, awaited."""
        return await asyncio.to_thread(self.query, query, **options)

    def persist(self, persist_path: str = "", fs: Any = None) -> None:
        """Does nothing: what was added is in the folder already."""


def _result(found: Sequence[Answer], scores: list[float]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[_node(it.record) for it in found], similarities=scores, ids=[it.id for it in found]
    )


def _metadata(id: str, record: dict[str, Any]) -> _Metadata:
    return to_metadata(record)


def _node(record: Mapping[str, Any]) -> BaseNode:
    # Names that begin with `_` have one more in a record.
    content, kind = record["__node_content"], record["__node_type"]
    return metadata_dict_to_node({"_node_content": content, "_node_type": kind})


def _where(
    filters: MetadataFilters, documents: Documents[_Metadata], snapshot: voisin.Snapshot
) -> Where[_Metadata]:
    parts = [
        _where(it, documents, snapshot)
        if isinstance(it, MetadataFilters)
        else _compared(it, documents, snapshot)
        for it in filters.filters
    ]
    if filters.condition == FilterCondition.OR:
        return some(parts, snapshot)
    if filters.condition == FilterCondition.NOT:
        return no(some(parts, snapshot), snapshot)
    return every(parts)


def _compared(
    comparison: MetadataFilter, documents: Documents[_Metadata], snapshot: voisin.Snapshot
) -> Where[_Metadata]:
    condition = _condition(comparison, documents, snapshot)
    if condition is not None:
        return Where(condition)
    # LlamaIndex's own test, of one comparison and one node.
    tested: dict[str, _Metadata] = {}
    passes = build_metadata_filter_fn(tested.__getitem__, MetadataFilters(filters=[comparison]))

    def test(id: str, metadata: _Metadata) -> bool:
        tested.clear()
        tested[id] = metadata
        return bool(passes(id))

    return Where(None, test)


def _condition(
    comparison: MetadataFilter, documents: Documents[_Metadata], snapshot: voisin.Snapshot
) -> Condition | None:
    """A comparison as a condition, if the index answers it as LlamaIndex does."""
    operator = comparison.operator
    is_not = operator in (FilterOperator.NE, FilterOperator.NIN)
    operator = {FilterOperator.NE: FilterOperator.EQ, FilterOperator.NIN: FilterOperator.IN}.get(
        operator, operator
    )
    if operator not in _COMPARISONS:
        return None
    how, value = _COMPARISONS[operator], comparison.value
    if how == "in" and not isinstance(value, list):
        return None
    condition = answered(documents.fields, comparison.key, how, value)
    if condition is None or documents.fields.get(condition["field"]) == "timestamp":
        return None
    condition = documents.of_one_value(condition, comparison.key, snapshot)
    return {"not": condition} if is_not else condition


def _refused(text: str) -> VoisinError:
    return _exception("InvalidParameter", "caller", text, None, None)
