"""A document store for Haystack: documents, their embeddings and their metadata in an index.

>>> from haystack import Document
>>> from voisin.haystack import VoisinDocumentStore, VoisinEmbeddingRetriever
>>> store = VoisinDocumentStore(embedding_dim=2, fields={"year": "integer"})
>>> store.write_documents([
...     Document(content="snow", meta={"year": 1999}, embedding=[0.9, 0.1]),
...     Document(content="rain", meta={"year": 2026}, embedding=[0.1, 0.9]),
... ])
2
>>> recent = {"field": "meta.year", "operator": ">", "value": 2000}
>>> retriever = VoisinEmbeddingRetriever(store, top_k=1, filters=recent)
>>> retriever.run(query_embedding=[0.9, 0.1])["documents"][0].content
'rain'

Each call that changes something is one commit, and every process that has the folder open sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import voisin
from voisin._documents import (
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
from voisin.errors import _exception

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.dataclasses import ByteStream, SparseEmbedding
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
    from haystack.errors import FilterError
    from haystack.utils.filters import document_matches_filter
except ImportError as error:
    message = "voisin.haystack needs haystack-ai: pip install 'voisin[haystack]'"
    raise ImportError(message) from error

# Documents without an embedding have a vector all the same, and are in no answer.
_UNEMBEDDED = {"field": "_unembedded", "eq": True}
_OWN_FIELDS = {"unembedded": "bool", "lists": "keyword"}
_METRICS = {"cosine": "cosine", "dot_product": "dot", "euclidean": "euclidean"}
# Haystack's comparisons, with those that conditions have.
_COMPARISONS = {
    "==": "eq",
    "in": "in",
    ">": "above",
    ">=": "at_least",
    "<": "below",
    "<=": "at_most",
}


class VoisinDocumentStore:
    """Documents in an index of voisin.

    Args:
        path: the folder of the index, which is created with the first document; a temporary folder,
            which is deleted with the store, for None.
        embedding_dim: the number of components of embeddings.
        embedding_similarity_function: `"cosine"`, `"dot_product"` or `"euclidean"`.
        fields: types of metadata, by name without `meta.`: `"keyword"`, `"integer"`, `"float"`,
            `"bool"` or `"timestamp"`. Filters by these are answered by the index; a document whose
            metadata are of another type is refused. Filters by all else read documents.
        return_embedding: whether documents have their embeddings, as `float32` rounds them.
        options: further options of `voisin.create`, such as `{"dtype": "f16"}`.
    """

    def __init__(
        self,
        path: str | None = None,
        embedding_dim: int = 768,
        embedding_similarity_function: str = "cosine",
        fields: Mapping[str, str] | None = None,
        return_embedding: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if embedding_similarity_function not in _METRICS:
            text = f"there is no similarity {embedding_similarity_function!r}: use "
            text += "'cosine', 'dot_product' or 'euclidean'"
            raise _exception(
                "InvalidParameter", "caller", text, embedding_similarity_function, None
            )
        self.path, self.embedding_dim, self.return_embedding = path, embedding_dim, return_embedding
        self.embedding_similarity_function = embedding_similarity_function
        self.fields, self.options = dict(fields or {}), dict(options or {})
        metric = _METRICS[embedding_similarity_function]
        self._documents = Documents(
            path, metric, self.fields, self.options, _document, own_fields=_OWN_FIELDS
        )
        self._unembedded: voisin.Filter | None = None

    @property
    def index(self) -> voisin.Index | None:
        """The index, or None as long as there is no document."""
        return self._documents.index()

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the store of."""
        return default_to_dict(
            self,
            path=self.path,
            embedding_dim=self.embedding_dim,
            embedding_similarity_function=self.embedding_similarity_function,
            fields=self.fields,
            return_embedding=self.return_embedding,
            options=self.options,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VoisinDocumentStore:
        """The store of what `to_dict` has made."""
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        """How many documents there are."""
        return len(self.index or [])

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Writes documents, in one commit. Returns how many were written.

        Args:
            documents: documents, with an embedding or without.
            policy: what is done if there is a document of this id: `FAIL` (and `NONE`) writes none
                and raises `DuplicateDocumentError`, `SKIP` keeps that, `OVERWRITE` replaces it.
        """
        is_list = isinstance(documents, Iterable) and not isinstance(documents, str)
        if not is_list or not all(isinstance(it, Document) for it in documents):
            raise ValueError("these are no documents: give a list of Document")
        chosen: dict[str, Document] = {}
        index = self.index
        for document in documents:
            is_there = document.id in chosen or (index is not None and document.id in index)
            if is_there and policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
                text = f"there is a document {document.id!r}: use another policy"
                raise DuplicateDocumentError(text)
            if not (is_there and policy is DuplicatePolicy.SKIP):
                chosen[document.id] = document
        if index is None:
            index = self._documents.create(self.embedding_dim)
        vectors = [self._vector(it) for it in chosen.values()]
        self._documents.put(list(chosen), vectors, [_record(it) for it in chosen.values()])
        return len(documents) if policy is DuplicatePolicy.OVERWRITE else len(chosen)

    def _vector(self, document: Document) -> Any:
        if document.embedding is None:
            return np.eye(1, self.embedding_dim, dtype=np.float32)[0]
        if len(document.embedding) != self.embedding_dim:
            text = f"the embedding of {document.id!r} has {len(document.embedding)} components: "
            text += f"give {self.embedding_dim}, or open the store with another embedding_dim"
            found = (len(document.embedding), self.embedding_dim)
            raise _exception("DimensionMismatch", "caller", text, *found)
        return np.asarray(document.embedding, dtype=np.float32)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Deletes documents, in one commit. Ids that are not there are passed over."""
        self._documents.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Deletes all documents, in one commit."""
        index = self.index
        if index is not None:
            index.delete(index.ids().tolist())

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that a filter matches, in the order of their ids; all for None."""
        found = self._documents.matching(self._where(filters))
        embedded = [it.id for it in found if "_unembedded" not in it.record]
        if not self.return_embedding or self.index is None or not embedded:
            return [it.document for it in found]
        vectors = dict(zip(embedded, self.index.vectors(embedded).tolist(), strict=True))
        return [replace(it.document, embedding=vectors.get(it.id)) for it in found]

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Deletes the documents that a filter matches, in one commit. Returns how many."""
        found = self._documents.matching(self._where(filters))
        return self._documents.delete([it.id for it in found])

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Changes metadata of the documents that a filter matches, in one commit: `meta` is merged
        with what they have. Returns how many there were."""
        found = self._documents.matching(self._where(filters))
        if found and self.index is not None:
            changed = [replace(it.document, meta=it.document.meta | meta) for it in found]
            records = [
                _record(it, is_embedded="_unembedded" not in old.record)
                for it, old in zip(changed, found, strict=True)
            ]
            self.index.set_record([it.id for it in found], records)
        return len(found)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """How many documents a filter matches."""
        return len(self._documents.matching(self._where(filters)))

    def _values(self, field: str, filters: dict[str, Any] | None = None) -> list[Any]:
        """The metadata of this name that documents have, each value of each type once."""
        name = field.removeprefix("meta.")
        found: dict[tuple[str, str], Any] = {}
        for it in self._documents.matching(self._where(filters)):
            value = it.document.meta.get(name)
            if value is not None:
                found.setdefault((str(value), type(value).__name__), value)
        return [found[key] for key in sorted(found)]

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """How many different values documents that a filter matches have, for each name."""
        return {
            field.removeprefix("meta."): len(self._values(field, filters))
            for field in metadata_fields
        }

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """The types of metadata, by name: `"boolean"`, `"int"`, `"float"` or `"keyword"`."""
        names = {bool: "boolean", int: "int", float: "float"}
        return {
            name: {"type": names.get(type(value), "keyword")}
            for it in self._documents.matching()
            for name, value in it.document.meta.items()
            if value is not None
        }

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """The least and the greatest value of metadata, as `"min"` and `"max"`; None where there
        are no values, or such as have no order."""
        values = [it for it in self._values(metadata_field) if isinstance(it, (int, float, str))]
        try:
            return {"min": min(values, default=None), "max": max(values, default=None)}
        except TypeError:
            return {"min": None, "max": None}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """The values of metadata, `size` of them from `from_` on, in the order of their text, and
        how many there are. `search_term` restricts them to those that contain it, whatever its
        case."""
        term = (search_term or "").lower()
        values = [it for it in self._values(metadata_field, filters) if term in str(it).lower()]
        return values[from_ : from_ + size], len(values)

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool | None = False,
        **options: Any,
    ) -> list[Document]:
        """The documents whose embeddings are nearest to a query, nearest first, with their scores.

        Args:
            query_embedding: `embedding_dim` numbers.
            filters: restricts the documents.
            top_k: how many documents there are at most.
            scale_score: whether scores are from 0 to 1.
            return_embedding: whether documents have their embeddings; as the store has it for None.
            options: further options of `voisin.Index.search`, such as `recall=0.95`.
        """
        index = self.index
        if index is None or top_k == 0:
            return []
        if self._unembedded is None:
            self._unembedded = index.filter(_UNEMBEDDED)
        with_vectors = self.return_embedding if return_embedding is None else return_embedding
        options |= {"vectors": with_vectors, "exclude": self._unembedded}
        where = self._where(filters)
        found = self._documents.search(query_embedding, top_k, where, **options)
        documents = []
        for it in found:
            document = _document(it.id, it.record, self._score(it.distance, scale_score))
            if with_vectors:
                document = replace(document, embedding=it.vector.tolist())
            documents.append(document)
        return documents

    def _score(self, distance: float, scales: bool) -> float:
        score = similarity(self._documents.metric, distance)
        if scales and self._documents.metric == "cosine":
            return (score + 1.0) / 2.0
        if scales and self._documents.metric == "dot":
            # As the store of Haystack that is in memory has it.
            return float(1.0 / (1.0 + np.exp(-score / 100.0)))
        return score

    def _where(
        self, filters: dict[str, Any] | None
    ) -> Callable[[voisin.Snapshot], Where[Document]] | None:
        if not filters:
            return None
        if "operator" not in filters and "conditions" not in filters:
            text = f"{filters} is no filter: give it an operator, and a field or conditions"
            raise FilterError(text)
        _validate(filters)
        return lambda snapshot: _where(filters, self._documents, snapshot)

    async def count_documents_async(self) -> int:
        """`count_documents`, awaited."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """`filter_documents`, awaited."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """`write_documents`, awaited."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """`delete_documents`, awaited."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self) -> None:
        """`delete_all_documents`, awaited."""
        await asyncio.to_thread(self.delete_all_documents)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """`delete_by_filter`, awaited."""
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """`update_by_filter`, awaited."""
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        """`count_documents_by_filter`, awaited."""
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    async def count_unique_metadata_by_filter_async(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """`count_unique_metadata_by_filter`, awaited."""
        work = self.count_unique_metadata_by_filter
        return await asyncio.to_thread(work, filters, metadata_fields)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """`get_metadata_fields_info`, awaited."""
        return await asyncio.to_thread(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """`get_metadata_field_min_max`, awaited."""
        return await asyncio.to_thread(self.get_metadata_field_min_max, metadata_field)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """`get_metadata_field_unique_values`, awaited."""
        work = self.get_metadata_field_unique_values
        return await asyncio.to_thread(work, metadata_field, search_term, from_, size, filters)

    async def embedding_retrieval_async(
        self, query_embedding: list[float], **options: Any
    ) -> list[Document]:
        """`embedding_retrieval`, awaited."""
        return await asyncio.to_thread(self.embedding_retrieval, query_embedding, **options)


@component
class VoisinEmbeddingRetriever:
    """The component of a pipeline that finds the documents nearest to an embedding.

    Args:
        document_store: a `VoisinDocumentStore`.
        filters: restricts the documents.
        top_k: how many documents there are at most.
        scale_score: whether scores are from 0 to 1.
        return_embedding: whether documents have their embeddings.
        filter_policy: whether filters of a run replace these, or are merged with them.
        options: further options of `voisin.Index.search`, such as `{"recall": 0.95}`.
    """

    def __init__(
        self,
        document_store: VoisinDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        options: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(document_store, VoisinDocumentStore):
            raise TypeError(f"{document_store!r} is no VoisinDocumentStore: give one")
        if top_k < 1:
            raise _exception(
                "InvalidParameter", "caller", f"top_k is {top_k}: use 1 or more", top_k, 1
            )
        self.document_store, self.filters, self.top_k = document_store, filters, top_k
        self.scale_score, self.return_embedding = scale_score, return_embedding
        if isinstance(filter_policy, str):
            filter_policy = FilterPolicy.from_str(filter_policy)
        self.filter_policy = filter_policy
        self.options = dict(options or {})

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the component of."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            scale_score=self.scale_score,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
            options=self.options,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VoisinEmbeddingRetriever:
        """The component of what `to_dict` has made."""
        parameters = dict(data["init_parameters"])
        if isinstance(parameters["document_store"], dict):
            parameters["document_store"] = VoisinDocumentStore.from_dict(
                parameters["document_store"]
            )
        return default_from_dict(cls, data | {"init_parameters": parameters})

    def _arguments(
        self, filters: dict[str, Any] | None, top_k: int | None, given: dict[str, Any]
    ) -> dict[str, Any]:
        chosen = {"scale_score": self.scale_score, "return_embedding": self.return_embedding}
        chosen |= {name: it for name, it in given.items() if it is not None}
        merged = apply_filter_policy(self.filter_policy, self.filters, filters)
        return (
            self.options
            | chosen
            | {"filters": merged, "top_k": self.top_k if top_k is None else top_k}
        )

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """The documents nearest to an embedding, as `"documents"`. What is None is as the component
        was made with."""
        given = {"scale_score": scale_score, "return_embedding": return_embedding}
        arguments = self._arguments(filters, top_k, given)
        return {"documents": self.document_store.embedding_retrieval(query_embedding, **arguments)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """`run`, awaited."""
        given = {"scale_score": scale_score, "return_embedding": return_embedding}
        arguments = self._arguments(filters, top_k, given)
        store = self.document_store
        return {"documents": await store.embedding_retrieval_async(query_embedding, **arguments)}


def _record(document: Document, is_embedded: bool | None = None) -> dict[str, Any]:
    if is_embedded is None:
        is_embedded = document.embedding is not None
    own = {
        "content": document.content,
        "blob": document.blob.to_dict() if document.blob else None,
        "sparse": document.sparse_embedding.to_dict() if document.sparse_embedding else None,
        "unembedded": None if is_embedded else True,
        "lists": lists(document.meta) or None,
    }
    return to_record(document.meta, **{name: it for name, it in own.items() if it is not None})


def _document(id: str, record: Mapping[str, Any], score: float | None = None) -> Document:
    blob, sparse = record.get("_blob"), record.get("_sparse")
    return Document(
        id=id,
        content=record.get("_content"),
        blob=ByteStream.from_dict(blob) if blob else None,
        meta=to_metadata(record),
        score=score,
        sparse_embedding=SparseEmbedding.from_dict(sparse) if sparse else None,
    )


# A document that no filter matches by chance: it finds out whether a filter is one.
_NOBODY = Document(id="nobody")


def _validate(filters: dict[str, Any]) -> None:
    """Raises what a filter raises for any document, whatever documents there are."""
    for condition in filters.get("conditions", []) if "field" not in filters else []:
        _validate(condition)
    document_matches_filter(filters, _NOBODY)


def _where(
    filters: dict[str, Any], documents: Documents[Document], snapshot: voisin.Snapshot
) -> Where[Document]:
    if "field" in filters:
        condition = _condition(filters, documents, snapshot)
        if condition is not None:
            return Where(condition)
        return Where(None, lambda id, document: document_matches_filter(filters, document))
    parts = [_where(it, documents, snapshot) for it in filters["conditions"]]
    if filters["operator"] == "OR":
        return some(parts, snapshot)
    return every(parts) if filters["operator"] == "AND" else no(every(parts), snapshot)


def _condition(
    comparison: dict[str, Any], documents: Documents[Document], snapshot: voisin.Snapshot
) -> dict[str, Any] | None:
    """A comparison as a condition, if the index answers it as Haystack does."""
    name, operator, value = comparison["field"], comparison["operator"], comparison["value"]
    path = name.split(".")
    if len(path) != 2 or path[0] != "meta":
        return None
    is_not = operator in ("!=", "not in")
    operator = {"!=": "==", "not in": "in"}.get(operator, operator)
    values: Sequence[Any] = value if operator == "in" else [value]
    # Haystack compares dates for equality, too, and to the microsecond.
    if any(isinstance(it, str) and it[:4].isdigit() and it[4:5] == "-" for it in values):
        return None
    condition = answered(documents.fields, path[1], _COMPARISONS[operator], value)
    if condition is None or documents.fields.get(condition["field"]) == "timestamp":
        return None
    condition = documents.of_one_value(condition, path[1], snapshot)
    return {"not": condition} if is_not else condition
