"""A retriever of LlamaIndex over nodes in an index of voisin, filtered by their metadata.

    pip install 'voisin[llama-index]'
    python llama_index_retriever.py

The nodes are glosses of a dictionary, whose embeddings are shipped with voisin, so that no model is
needed: `Shipped` looks them up. Any other embedding of LlamaIndex does as well.
"""

from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters
from voisin.llama_index import VoisinVectorStore

DATA = Path(__file__).parents[3] / "examples" / "data"
TEXTS = (DATA / "glosses.txt").read_text(encoding="utf-8").splitlines()
ROWS = np.fromfile(DATA / "glosses-384.f16", "<f2").reshape(-1, 384).astype("float32").tolist()
VECTORS = dict(zip(TEXTS, ROWS, strict=True))


class Shipped(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return VECTORS[text]

    def _get_query_embedding(self, query: str) -> list[float]:
        return VECTORS[query]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return VECTORS[query]


store = VoisinVectorStore("glosses", fields={"words": "integer"})
options: dict[str, Any] = {"embed_model": Shipped()}
if store.client is None:
    # Texts are embedded with those of the metadata that are not excluded.
    nodes = [
        TextNode(
            id_=f"{at}",
            text=text,
            metadata={"words": len(text.split())},
            excluded_embed_metadata_keys=["words"],
        )
        for at, text in enumerate(TEXTS)
    ]
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(nodes, storage_context=context, **options)
else:
    index = VectorStoreIndex.from_vector_store(store, **options)

short = MetadataFilter(key="words", operator=FilterOperator.LTE, value=5)
retriever = index.as_retriever(similarity_top_k=3, filters=MetadataFilters(filters=[short]))
print(f"{len(store.client or [])} glosses, short ones like {TEXTS[42]!r}:")
for found in retriever.retrieve(TEXTS[42]):
    print(f"{found.score:.3f} {found.node.metadata['words']} words: {found.node.get_content()}")
