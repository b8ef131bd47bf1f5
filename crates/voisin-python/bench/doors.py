"""What each door costs above voisin itself, a query: both search the same index, in turns.

    python crates/voisin-python/bench/doors.py [DOOR ...]

One query a call, 10 results, of 5 000 text embeddings in `examples/data`. The figure is the
smallest of several passes, so that what else the machine does hardly shows. Doors: faiss, nseekfs,
sklearn, vers; all unless some are named. faiss and sklearn also have calls with 100 queries, as
such programs make them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import voisin

PASSES = 15
K = 10
DATA = Path(__file__).parents[3] / "examples" / "data"

Search = Callable[[Any], object]


def read(name: str) -> np.ndarray:
    return np.fromfile(DATA / name, "<f2").reshape(-1, 384).astype(np.float32)


VECTORS, QUERIES = read("glosses-384.f16"), read("glosses-384.queries.f16")


def compare(name: str, door: Search, itself: Search, queries: list[Any]) -> None:
    """Prints the microseconds of a call of either, the best of passes that take turns."""
    best = [float("inf"), float("inf")]
    for _ in range(PASSES):
        for which, search in enumerate((door, itself)):
            began = time.perf_counter()
            for query in queries:
                search(query)
            best[which] = min(best[which], time.perf_counter() - began)
    ours, theirs = (1e6 * seconds / len(queries) for seconds in best)
    print(f"{name}: {ours:.1f} us, voisin itself {theirs:.1f} us, {ours - theirs:+.1f} us a call")


def faiss() -> None:
    from voisin import faiss as door

    made = {
        "faiss IndexFlatL2": door.IndexFlatL2(384),
        "faiss IndexHNSWFlat": door.IndexHNSWFlat(384, 16),
        "faiss IndexIVFFlat": door.IndexIVFFlat(door.IndexFlatL2(384), 384, 100),
        "faiss IndexIDMap2 of IndexHNSWFlat": door.IndexIDMap2(door.IndexHNSWFlat(384, 16)),
    }
    for name, index in made.items():
        index.train(VECTORS)
        if isinstance(index, door.IndexIDMap2):
            index.add_with_ids(VECTORS, np.arange(len(VECTORS)) + 10**9)
        else:
            index.add(VECTORS)
        stored = getattr(index, "index", index)
        options = stored._effort(None, K)
        rows = list(QUERIES[:, None])

        def itself(row: Any, stored: Any = stored, options: Any = options) -> None:
            found = stored._index.search(row, K, **options)
            found.distances, found.ids  # noqa: B018

        compare(name, lambda row, index=index: index.search(row, K), itself, rows)
        many = [QUERIES] * 3
        compare(f"{name}, 100 queries", lambda row, index=index: index.search(row, K), itself, many)


def nseekfs() -> None:
    from voisin import nseekfs as door

    for ann in (False, True):
        index = door.from_embeddings(VECTORS, ann=ann)

        def itself(row: Any, index: Any = index, exact: Any = None if ann else True) -> None:
            found = index._first.search(row, K, exact=exact)
            found.distances, found.ids  # noqa: B018

        name = f"nseekfs query, ann={ann}"
        compare(name, lambda row, index=index: index.query(row, K), itself, list(QUERIES))


def sklearn() -> None:
    from voisin.sklearn import VoisinTransformer

    index = VoisinTransformer(n_neighbors=K - 1, metric="cosine").fit(VECTORS)

    def itself(row: Any) -> None:
        found = index._index.search(row, K)
        found.distances, found.ids  # noqa: B018

    compare(
        "sklearn kneighbors", lambda row: index.kneighbors(row, K), itself, list(QUERIES[:, None])
    )
    compare("sklearn transform, 100 queries", index.transform, itself, [QUERIES] * 3)


def vers() -> None:
    from voisin import vers as door

    index = door.HNSW()
    index.build_index(VECTORS)

    def itself(row: Any) -> None:
        found = index._index.search(row, K, **index._effort(K))
        found.distances, found.ids  # noqa: B018

    compare("vers HNSW", lambda row: index.search(row, K), itself, list(QUERIES))


DOORS = {"faiss": faiss, "nseekfs": nseekfs, "sklearn": sklearn, "vers": vers}

if __name__ == "__main__":
    print(f"voisin {voisin.__version__}, {len(VECTORS)} vectors of 384 dimensions, k {K}")
    for name in sys.argv[1:] or DOORS:
        if name not in DOORS:
            sys.exit(__doc__)
        DOORS[name]()
