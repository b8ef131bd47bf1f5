"""The program of the README of NSeekFS: only the import is another."""

import numpy as np

import voisin.nseekfs as nseekfs

# Embeddings, such as those of sentences.
random = np.random.default_rng(42)
centers = random.normal(size=(300, 384))
embeddings = centers[random.integers(0, 300, 10_000)] + random.normal(size=(10_000, 384))
embeddings = embeddings.astype(np.float32)

# Exact search.
index = nseekfs.from_embeddings(embeddings, ann=False, level="f32", normalized=False)
query_vector = embeddings[0]
results = index.query(query_vector, top_k=10)
print(f"Found {len(results)} similar vectors:")
for result in results[:3]:
    print(f"Index: {result['idx']}, Score: {result['score']:.4f}")

# Less precision, in less space; and queries by other similarities.
index_f16 = nseekfs.from_embeddings(embeddings, level="f16")
index_f8 = nseekfs.from_embeddings(embeddings, level="f8")
for similarity in ("cosine", "euclidean", "dot_product"):
    best = index_f16.query(query_vector, top_k=2, method="auto", similarity=similarity)[1]
    print(f"{similarity}: {best['idx']}, {best['score']:.3f}")

# Approximate search finds most of them.
index_ann = nseekfs.from_embeddings(embeddings, ann=True, level="f32")
exact = {result["idx"] for result in results}
for name, other in (("ann", index_ann), ("f8", index_f8)):
    found = {result["idx"] for result in other.query(query_vector, top_k=10)}
    print(f"{name}: {len(found & exact)} of {len(exact)}")

# On disk.
path = nseekfs.create_index(embeddings, output_dir="indexes", base_name="production_v1")
index = nseekfs.load_index(path)
print(f"{path}: {index.rows} x {index.dims}, {index.level}, normalized: {index.normalized}")
