"""A pipeline of Haystack that retrieves documents from an index of voisin, filtered by metadata.

    pip install 'voisin[haystack]'
    python haystack_pipeline.py

The documents are glosses of a dictionary, whose embeddings are shipped with voisin, so that no
model is needed. An embedder of Haystack, before the retriever, does as well.
"""

from pathlib import Path

import numpy as np
from haystack import Document, Pipeline
from voisin.haystack import VoisinDocumentStore, VoisinEmbeddingRetriever

DATA = Path(__file__).parents[3] / "examples" / "data"
texts = (DATA / "glosses.txt").read_text(encoding="utf-8").splitlines()
vectors = np.fromfile(DATA / "glosses-384.f16", "<f2").reshape(-1, 384).astype("float32")

store = VoisinDocumentStore("glosses", embedding_dim=384, fields={"words": "integer"})
if store.count_documents() == 0:
    store.write_documents(
        [
            Document(content=text, meta={"words": len(text.split())}, embedding=vector)
            for text, vector in zip(texts, vectors.tolist(), strict=True)
        ]
    )

pipeline = Pipeline()
pipeline.add_component("retriever", VoisinEmbeddingRetriever(store, top_k=3))

short = {"field": "meta.words", "operator": "<=", "value": 5}
question = {"query_embedding": vectors[42].tolist(), "filters": short}
found = pipeline.run({"retriever": question})
print(f"{store.count_documents()} glosses, short ones like {texts[42]!r}:")
for document in found["retriever"]["documents"]:
    print(f"{document.score:.3f} {document.meta['words']} words: {document.content}")
