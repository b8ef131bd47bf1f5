"""The program of the README of vers, with all of its indexes: only the import is another."""

import numpy as np

import voisin.vers as vers

# Embeddings of words: 50 kinds of words, and a few that belong together.
random = np.random.default_rng(3)
kinds = random.normal(size=(50, 100))
embeddings = {f"word{i}": kinds[i % 50] + 0.5 * random.normal(size=100) for i in range(5000)}
for word in ("king", "queen", "monarch"):
    embeddings[word] = kinds[7] * 3 + 0.2 * random.normal(size=100)

hnsw = vers.HNSW(ef_construction=100, num_layers=8, ef_search=32, num_neighbours=8)
ivfflat = vers.IVFFlat(num_clusters=70, num_attempts=3, max_iterations=20)
lsh = vers.LSH(num_trees=50, max_size=50)
for index in (hnsw, ivfflat, lsh):
    index.build_index(embeddings)
    print([word for word, _ in index.search(embeddings["king"], top_k=3)])

    index.add(embeddings["king"] * 0.99, "emperor")
    index.save_index("words.index")
    index = type(index).load_index("words.index")
    for word, distance in index.search(embeddings["king"], top_k=2):
        print(f"{word} {distance:.2f}")
