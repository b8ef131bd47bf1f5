"""A retriever of LangChain over documents in an index of voisin, filtered by their metadata.

    pip install 'voisin[langchain]'
    python langchain_retriever.py

The documents are glosses of a dictionary, whose embeddings are shipped with voisin, so that no
model is needed: `Shipped` looks them up. Any other `Embeddings` of LangChain does as well.
"""

from pathlib import Path

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from voisin.langchain import VoisinVectorStore

DATA = Path(__file__).parents[3] / "examples" / "data"


class Shipped(Embeddings):
    def __init__(self) -> None:
        self.texts = (DATA / "glosses.txt").read_text(encoding="utf-8").splitlines()
        vectors = np.fromfile(DATA / "glosses-384.f16", "<f2").reshape(-1, 384)
        self.vectors = dict(zip(self.texts, vectors.astype("float32").tolist(), strict=True))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.vectors[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.vectors[text]


embeddings = Shipped()
store = VoisinVectorStore(embeddings, "glosses", fields={"words": "integer"})
if store.index is None:
    documents = [
        Document(id=f"{at}", page_content=text, metadata={"words": len(text.split())})
        for at, text in enumerate(embeddings.texts)
    ]
    store.add_documents(documents)

query = embeddings.texts[42]
print(f"{len(store.index or [])} glosses, like {query!r}:")
for document, score in store.similarity_search_with_score(query, k=3):
    print(f"{score:.3f} {document.page_content}")

retriever = store.as_retriever(search_kwargs={"k": 3, "filter": {"words": {"$lte": 5}}})
for document in retriever.invoke(query):
    print(f"{document.metadata['words']} words: {document.page_content}")
