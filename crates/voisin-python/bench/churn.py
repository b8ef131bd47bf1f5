"""The recall of each kind of index after churn, beside that of a fresh index of the same items.

    python crates/voisin-python/bench/churn.py FOLDER

FOLDER has `glosses-384.f16` and `photo-sift-128.u8`, each with its queries.
Half of the 100 000 vectors are in the index; in each of 30 rounds 3 % of it leave, and as many of
the others come, in one commit. An index of all kinds, with codes and without; 1 000 queries that
are not in it, compared with exact searches. Exits non-zero if a kind loses more than a point, if a
promise of tables of hashes is not kept within 3 sigma, or if `check` finds something.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np

import voisin

ROUNDS, SHARE, K = 30, 0.03, 10
WAYS = [
    ("hnsw", {"ef": 40}),
    ("ivf", {"nprobe": 16}),
    ("ivf", {"nprobe": 32}),
    ("lsh", {"recall": 0.5}),
    ("lsh", {"recall": 0.9}),
    ("lsh", {"recall": 0.95}),
]
LOST = 0.01


def recalls(index, queries):
    true = index.search(queries, K, kind="flat").ids
    found = [index.search(queries, K, kind=kind, **effort).ids for kind, effort in WAYS]
    pairs = [zip(ids, true, strict=True) for ids in found]
    return [sum(len(np.intersect1d(*pair)) for pair in way) / len(true) / K for way in pairs]


def measure(name, rows, queries, metric, codes):
    """Prints a row for each way to search. Whether all is as it should be."""
    rng = np.random.default_rng(7)
    ids = rng.permutation(len(rows)).astype("u4")
    inside, outside = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    with tempfile.TemporaryDirectory() as scratch:
        kinds = ["hnsw", "ivf", "lsh"]
        changed, fresh = (
            voisin.create(f"{scratch}/{it}", rows.shape[1], metric=metric, codes=codes, kinds=kinds)
            for it in ("changed", "fresh")
        )
        changed.load(rows[inside], ids=inside)
        moved = int(len(inside) * SHARE)
        for _ in range(ROUNDS):
            inside, outside = rng.permutation(inside), rng.permutation(outside)
            with changed.batch() as batch:
                batch.delete(inside[:moved])
                batch.add(outside[:moved], rows[outside[:moved]])
            inside, outside = (
                np.concatenate([inside[moved:], outside[:moved]]),
                np.concatenate([outside[moved:], inside[:moved]]),
            )
        is_sound = changed.check() == [] and len(changed) == len(inside)
        fresh.load(rows[inside], ids=inside)
        both = [recalls(index, queries) for index in (changed, fresh)]
        for (kind, effort), now, before in zip(WAYS, *both, strict=True):
            asked = ", ".join(f"{key} {value}" for key, value in effort.items())
            lost = before - now
            is_kept = True
            if kind == "lsh":
                promise = effort["recall"]
                sigma = math.sqrt(promise * (1 - promise) / (len(queries) * K))
                is_kept = now >= promise - 3 * sigma
            is_sound &= lost <= LOST and is_kept
            print(f"| {name} | {codes or 'none'} | {kind}, {asked} | {now:.4f} | {before:.4f} |")
    return is_sound


def main():
    folder = Path(sys.argv[1])
    glosses, gloss_queries = (
        np.fromfile(folder / f"glosses-384{of}.f16", "<f2").astype("f4").reshape(-1, 384)
        for of in ("", ".queries")
    )
    photos, photo_queries = (
        np.fromfile(folder / f"photo-sift-128{of}.u8", "u1").astype("f4").reshape(-1, 128)
        for of in ("", ".queries")
    )
    print("| vectors | codes | search | recall@10 after churn | fresh |")
    print("|---|---|---|---|---|")
    is_sound = True
    for codes in (None, 4):
        is_sound &= measure("glosses", glosses, gloss_queries, "cosine", codes)
    for codes in (None, 8):
        is_sound &= measure("photos", photos, photo_queries, "euclidean", codes)
    sys.exit(not is_sound)


main()
