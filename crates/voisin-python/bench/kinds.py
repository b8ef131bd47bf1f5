"""Times of one search by each kind of index, on 100 000 text embeddings, without codes and with
codes of 4 bits: the median of five alternating passes over 200 queries that are not in the index.

    python crates/voisin-python/bench/kinds.py FOLDER

FOLDER has `glosses-384.f16`, `glosses-384.queries.f16` and `glosses-384.neighbors.i32`.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import voisin

WAYS = [("flat", None), ("lsh", 0.5), ("lsh", 0.9), ("ivf", 0.9), ("hnsw", 0.9)]
QUERIES = 200
PASSES = 5
K = 10


def main() -> None:
    folder = Path(sys.argv[1])
    rows, queries = (
        np.fromfile(folder / f"glosses-384{name}.f16", "<f2").astype("f4").reshape(-1, 384)
        for name in ("", ".queries")
    )
    true = np.fromfile(folder / "glosses-384.neighbors.i32", "<i4").reshape(len(queries), -1)
    print("| codes | kind | goal | recall@10 | ms |")
    print("|---|---|---|---|---|")
    for codes in (None, 4):
        with tempfile.TemporaryDirectory() as scratch:
            index = voisin.create(
                f"{scratch}/index",
                384,
                metric="cosine",
                codes=codes,
                kinds=["hnsw", "ivf", "lsh"],
            )
            index.load(rows)
            times: list[list[float]] = [[] for _ in WAYS]
            hits = [0] * len(WAYS)
            for nth in range(PASSES):
                for way, (kind, goal) in enumerate(WAYS):
                    start = time.perf_counter()
                    found = [
                        index.search(query, K, kind=kind, recall=goal).ids
                        for query in queries[:QUERIES]
                    ]
                    times[way].append((time.perf_counter() - start) / QUERIES * 1e3)
                    if nth == 0:
                        pairs = zip(found, true, strict=False)
                        hits[way] = sum(len(np.intersect1d(ids, near[:K])) for ids, near in pairs)
            for (kind, goal), passes, hit in zip(WAYS, times, hits, strict=True):
                recall, median = hit / QUERIES / K, statistics.median(passes)
                print(f"| {codes or 'none'} | {kind} | {goal or ''} | {recall:.3f} | {median:.3f} |")
            index.close()


main()
