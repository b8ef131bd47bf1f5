"""A vector store for LangChain: documents, their vectors and their metadata in an index of voisin.

>>> from langchain_core.embeddings import DeterministicFakeEmbedding
>>> from voisin.langchain import VoisinVectorStore
>>> store = VoisinVectorStore(DeterministicFakeEmbedding(size=8), fields={"year": "integer"})
>>> ids = store.add_texts(["snow", "rain"], [{"year": 1999}, {"year": 2026}])
>>> store.similarity_search("snow", k=1)[0].page_content
'snow'
>>> store.similarity_search("snow", k=1, filter={"year": {"$gte": 2000}})[0].page_content
'rain'

Each call that changes something is one commit, and every process that has the folder open sees it.
"""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

import voisin
from voisin._documents import (
    Answer,
    Documents,
    Where,
    answered,
    every,
    no,
    similarity,
    some,
    to_metadata,
    to_record,
)
from voisin.errors import VoisinError, _exception

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.runnables import run_in_executor
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError as error:
    message = "voisin.langchain needs langchain-core: pip install 'voisin[langchain]'"
    raise ImportError(message) from error

Filter = Mapping[str, Any] | voisin.Condition | Callable[[Document], bool]


class VoisinVectorStore(VectorStore):
    """Documents in an index of voisin.

    Args:
        embedding: the model that makes vectors of texts.
        path: the folder of the index, which is created with the first document; a temporary folder,
            which is deleted with the store, for None.
        metric: `"cosine"`, `"dot"` or `"euclidean"`.
        fields: types of metadata, by name: `"keyword"`, `"integer"`, `"float"`, `"bool"` or
            `"timestamp"`. Filters by these are answered by the index; a document whose metadata are
            of another type is refused. Filters by other metadata read documents.
        options: further options of `voisin.create`, such as `dtype="f16"`.

    **Filters.** All searches take `filter=`: a dict of metadata, such as `{"tag": "news"}` or
    `{"year": {"$gte": 2000, "$lt": 2010}}`, with `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`,
    `$nin` and `$exists`, combined by `$and`, `$or` and `$not`; or a condition of `voisin.field`; or
    a function of a document. A list passes if one of its values does; what is missing passes `$ne`
    and `$nin` alone.

    **Options of searches.** All others, such as `recall=0.95`, `exact=True` or `deadline=0.02`, are
    those of `voisin.Index.search`.

    **Scores.** The cosine, the inner product, or `1 / (1 + distance)`: more is nearer. Relevance is
    the same, and at least 0.
    """

    def __init__(
        self,
        embedding: Embeddings,
        path: str | PathLike[str] | None = None,
        *,
        metric: str = "cosine",
        fields: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._embedding = embedding
        self._documents = Documents(path, metric, fields, options, _document)

    @property
    def embeddings(self) -> Embeddings:
        """The model that makes vectors of texts."""
        return self._embedding

    @property
    def index(self) -> voisin.Index | None:
        """The index, or None as long as there is no document."""
        return self._documents.index()

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> VoisinVectorStore:
        """A store with these texts. Options are those of the store: `path`, `metric`, ..."""
        store = cls(embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> VoisinVectorStore:
        """`from_texts`, awaited."""
        store = await run_in_executor(None, cls, embedding, **options)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **_: Any,
    ) -> list[str]:
        """Adds documents, or replaces those that have the same ids, in one commit. Returns the ids,
        new ones where none is given."""
        texts = list(texts)
        names, records = _rows(texts, metadatas, ids)
        self._documents.put(names, self._embedding.embed_documents(texts), records)
        return names

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **_: Any,
    ) -> list[str]:
        """`add_texts`, awaited."""
        texts = list(texts)
        names, records = _rows(texts, metadatas, ids)
        vectors = await self._embedding.aembed_documents(texts)
        await run_in_executor(None, self._documents.put, names, vectors, records)
        return names

    def delete(self, ids: Sequence[str] | None = None, **_: Any) -> bool:
        """Deletes documents, in one commit; all of them for None. Ids that are not there are passed
        over."""
        index = self.index
        if index is not None:
            self._documents.delete(index.ids().tolist() if ids is None else ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in their order, without those that are not there."""
        found = zip(ids, self._documents.records(ids), strict=True)
        return [_document(id, record) for id, record in found if record is not None]

    def _answers(
        self, vector: Sequence[float], k: int, filter: Filter | None, **options: Any
    ) -> list[Answer]:
        if filter is None:
            return self._documents.search(vector, k, None, **options)
        fields = self._documents.fields
        return self._documents.search(
            vector, k, lambda snapshot: _where(filter, fields, snapshot), **options
        )

    def _score(self, answer: Answer) -> float:
        return similarity(self._documents.metric, answer.distance)

    def similarity_search_with_score_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: Filter | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """The `k` documents that are nearest to a vector, nearest first, with their scores."""
        found = self._answers(embedding, k, filter, **options)
        return [(_document(it.id, it.record), self._score(it)) for it in found]

    def similarity_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: Filter | None = None, **options: Any
    ) -> list[Document]:
        """The `k` documents that are nearest to a vector, nearest first."""
        found = self._answers(embedding, k, filter, **options)
        return [_document(it.id, it.record) for it in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """The `k` documents that are nearest to a text, nearest first, with their scores."""
        vector = self._embedding.embed_query(query)
        return self.similarity_search_with_score_by_vector(vector, k, filter, **options)

    def similarity_search(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Any
    ) -> list[Document]:
        """The `k` documents that are nearest to a text, nearest first."""
        vector = self._embedding.embed_query(query)
        return self.similarity_search_by_vector(vector, k, filter, **options)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """`similarity_search_with_score`, awaited."""
        vector = await self._embedding.aembed_query(query)
        work = self.similarity_search_with_score_by_vector
        return await run_in_executor(None, work, vector, k, filter, **options)

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Any
    ) -> list[Document]:
        """`similarity_search`, awaited."""
        found = await self.asimilarity_search_with_score(query, k, filter, **options)
        return [document for document, _ in found]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **options: Any,
    ) -> list[Document]:
        """Of the `fetch_k` documents that are nearest to a vector, `k` that are near to it and far
        from each other: `lambda_mult` is the weight of the former, from 0 to 1."""
        found = self._answers(embedding, fetch_k, filter, vectors=True, **options)
        query = np.asarray(embedding, dtype=np.float32)
        vectors = [it.vector for it in found]
        chosen = maximal_marginal_relevance(query, vectors, lambda_mult, k) if found else []
        return [_document(found[at].id, found[at].record) for at in chosen]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **options: Any,
    ) -> list[Document]:
        """The same for a text."""
        vector = self._embedding.embed_query(query)
        work = self.max_marginal_relevance_search_by_vector
        return work(vector, k, fetch_k, lambda_mult, filter, **options)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **options: Any,
    ) -> list[Document]:
        """`max_marginal_relevance_search`, awaited."""
        vector = await self._embedding.aembed_query(query)
        work = self.max_marginal_relevance_search_by_vector
        return await run_in_executor(None, work, vector, k, fetch_k, lambda_mult, filter, **options)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: max(0.0, score)


def _document(id: str, record: Mapping[str, Any]) -> Document:
    return Document(id=id, page_content=record["_text"], metadata=to_metadata(record))


def _rows(
    texts: Sequence[str],
    metadatas: Sequence[Mapping[str, Any]] | None,
    ids: Sequence[str | None] | None,
) -> tuple[list[str], list[dict[str, Any]]]:
    for name, given in (("metadatas", metadatas), ("ids", ids)):
        if given and len(given) != len(texts):
            text = f"there are {len(given)} {name} for {len(texts)} texts: give one for each"
            raise _exception("LengthMismatch", "caller", text, len(given), len(texts))
    names = [id or str(uuid.uuid4()) for id in ids or [None] * len(texts)]
    pairs = zip(texts, metadatas or [{}] * len(texts), strict=True)
    return names, [to_record(metadata or {}, text=text) for text, metadata in pairs]


# Filters. Names of operators, with those that conditions have.
_ORDERS = {"$gt": "above", "$gte": "at_least", "$lt": "below", "$lte": "at_most"}
_COMPARES: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _where(filter: Filter, fields: Mapping[str, str], snapshot: voisin.Snapshot) -> Where[Document]:
    if isinstance(filter, voisin.Condition):
        return Where(filter.to_dict())
    if isinstance(filter, Mapping):
        return every(list(_parts(filter, fields, snapshot)))
    if callable(filter):
        passes = filter
        return Where(None, lambda id, document: bool(passes(document)))
    raise _refused(f"a filter cannot be {filter!r}: give a dict, a condition or a function")


def _parts(
    filter: Mapping[str, Any], fields: Mapping[str, str], snapshot: voisin.Snapshot
) -> Iterator[Where[Document]]:
    """What a dict says: all of it must hold."""
    for name, value in filter.items():
        if name == "$not":
            yield no(_where(value, fields, snapshot), snapshot)
        elif name in ("$and", "$or"):
            if not isinstance(value, (list, tuple)):
                raise _refused(f"{name} has {value!r}: give it a list of filters")
            parts = [_where(it, fields, snapshot) for it in value]
            yield every(parts) if name == "$and" else some(parts, snapshot)
        elif name.startswith("$"):
            raise _refused(f"a filter cannot begin with {name!r}: use $and, $or or $not")
        elif isinstance(value, Mapping) and any(str(it).startswith("$") for it in value):
            for comparison, operand in value.items():
                yield _compared(name, str(comparison), operand, fields, snapshot)
        else:
            yield _compared(name, "$eq", value, fields, snapshot)


def _compared(
    name: str, how: str, operand: Any, fields: Mapping[str, str], snapshot: voisin.Snapshot
) -> Where[Document]:
    if how == "$ne":
        return no(_compared(name, "$eq", operand, fields, snapshot), snapshot)
    if how == "$nin":
        return no(_compared(name, "$in", operand, fields, snapshot), snapshot)
    if how == "$in" and not isinstance(operand, (list, tuple, set, frozenset)):
        raise _refused(f"$in and $nin have {operand!r}: give them a list of values")
    if how == "$exists":
        if not isinstance(operand, bool):
            raise _refused(f"$exists has {operand!r}: give it True or False")
        there = _answered(name, "exists", True, fields) or Where(None, _tested(name, _exists))
        return there if operand else no(there, snapshot)
    if how == "$eq":
        return _answered(name, "eq", operand, fields) or _is_any(name, [operand])
    if how == "$in":
        values = list(operand)
        return _answered(name, "in", values, fields) or _is_any(name, values)
    if how not in _ORDERS:
        known = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin or $exists"
        raise _refused(f"there is no comparison {how!r}: use {known}")
    compare = _COMPARES[how]

    def passes(value: Any) -> bool:
        return any(_is_ordered(it, operand) and compare(it, operand) for it in _values(value))

    return _answered(name, _ORDERS[how], operand, fields) or Where(None, _tested(name, passes))


def _answered(
    name: str, how: str, operand: Any, fields: Mapping[str, str]
) -> Where[Document] | None:
    condition = answered(fields, name, how, operand)
    return None if condition is None else Where(condition)


def _tested(name: str, passes: Callable[[Any], bool]) -> Callable[[str, Document], bool]:
    return lambda id, document: passes(document.metadata.get(name))


def _is_any(name: str, wanted: Sequence[Any]) -> Where[Document]:
    def passes(value: Any) -> bool:
        return any(_is_same(it, one) for it in (value, *_values(value)) for one in wanted)

    return Where(None, _tested(name, passes))


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _exists(value: Any) -> bool:
    return any(it is not None for it in _values(value))


def _is_same(value: Any, other: Any) -> bool:
    """1 and 1.0 are the same, 1 and True are not."""
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _is_ordered(value: Any, other: Any) -> bool:
    """Whether two values are both numbers or both text."""
    if isinstance(value, bool) or isinstance(other, bool):
        return False
    numbers = (int, float)
    are_numbers = isinstance(value, numbers) and isinstance(other, numbers)
    return are_numbers or (isinstance(value, str) and isinstance(other, str))


def _refused(text: str) -> VoisinError:
    return _exception("InvalidParameter", "caller", text, None, None)
