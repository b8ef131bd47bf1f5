"""Inverted lists of a million whole vectors beside FAISS's `IVFFlat`, at equal numbers of lists and
of probes, one thread.

    pip install faiss-cpu
    RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1 python crates/voisin-python/bench/lists_million.py FOLDER

FOLDER has `photo-sift-128.u8` and its queries. The million are the 100 000 photo descriptors with
nine more beside each, between it and one of its 18 nearest. Times are medians of alternating
passes, one query a call.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np

import voisin

K, QUERIES, PASSES, COPIES, NEAREST = 10, 200, 5, 9, 18


def enlarged(rows):
    """The rows, and copies of each that are moved towards one of its neighbors."""
    rng = np.random.default_rng(42)
    with tempfile.TemporaryDirectory() as scratch:
        index = voisin.create(scratch + "/index", rows.shape[1], metric="euclidean")
        index.load(rows)
        near = index.search(rows, NEAREST + 1).ids
    parts = [rows]
    for _ in range(COPIES):
        chosen = near[np.arange(len(rows)), rng.integers(1, NEAREST + 1, len(rows))]
        share = rng.uniform(0.2, 0.8, (len(rows), 1)).astype("f4")
        parts.append(np.rint(rows + share * (rows[chosen.astype("i8")] - rows)))
    return np.concatenate(parts).astype("f4")


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main():
    folder = Path(sys.argv[1])
    rows, queries = (
        np.fromfile(folder / f"photo-sift-128{of}.u8", "u1").astype("f4").reshape(-1, 128)
        for of in ("", ".queries")
    )
    rows = enlarged(rows)
    with tempfile.TemporaryDirectory() as scratch:
        index = voisin.create(f"{scratch}/index", 128, metric="euclidean", kinds=["ivf"])
        ours, _ = timed(lambda: index.load(rows))
        count = index.stats().lists.lists
        flat = faiss.IndexIVFFlat(faiss.IndexFlatL2(128), 128, count)
        theirs, _ = timed(lambda: (flat.train(rows), flat.add(rows)))
        true = index.search(queries, K, kind="flat").ids
        print(f"{len(rows)} x 128, {count} lists: built in {ours:.1f} s, faiss in {theirs:.1f} s")
        print("\n| probes | voisin, ms | recall | faiss IVFFlat, ms | recall | ratio |")
        print("|---:|---:|---:|---:|---:|---:|", flush=True)
        for probes in (8, 16, 32, 64):
            flat.nprobe = probes
            searches = (
                lambda query: index.search(query, K, kind="ivf", nprobe=probes).ids,
                lambda query: flat.search(query[None], K)[1][0],
            )
            times = [[], []]
            found = [[search(query) for query in queries] for search in searches]
            hits = [
                sum(len(np.intersect1d(*pair)) for pair in zip(ids, true, strict=True))
                for ids in found
            ]
            for _ in range(PASSES):
                for search, into in zip(searches, times, strict=True):
                    took, _ = timed(lambda: [search(query) for query in queries[:QUERIES]])
                    into.append(1e3 * took / QUERIES)
            (ours, theirs), (recall, other) = (
                [statistics.median(each) for each in times],
                [hit / len(true) / K for hit in hits],
            )
            print(
                f"| {probes} | {ours:.3f} | {recall:.3f} | {theirs:.3f} | {other:.3f} | "
                f"{ours / theirs:.2f} |",
                flush=True,
            )


main()
