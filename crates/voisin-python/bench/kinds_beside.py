"""Inverted lists and tables of hashes beside those of FAISS, ScaNN and RaBitQ, on 100 000 text
embeddings of 384 dimensions, one thread.

    pip install faiss-cpu scann rabitqlib
    RAYON_NUM_THREADS=1 python crates/voisin-python/bench/kinds_beside.py FOLDER

FOLDER has `glosses-384.f16`, `glosses-384.queries.f16` and `glosses-384.neighbors.i32`. Times are
medians of alternating passes over queries that are not in the index: one query a call, and 1 000 in
one call. Of lists by codes, each engine is searched with more and more effort until its recall@10
is .95.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
import rabitqlib
import scann

import voisin

QUERIES, PASSES, K, GOAL = 200, 5, 10, 0.95


class Data:
    def __init__(self, folder):
        self.rows, self.queries = (
            np.fromfile(folder / f"glosses-384{name}.f16", "<f2").astype("f4").reshape(-1, 384)
            for name in ("", ".queries")
        )
        for vectors in (self.rows, self.queries):
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        true = np.fromfile(folder / "glosses-384.neighbors.i32", "<i4")
        self.true = true.reshape(len(self.queries), -1)[:, :K]

    def recall(self, found):
        pairs = zip(found, self.true, strict=False)
        return sum(len(np.intersect1d(ids, near)) for ids, near in pairs) / len(found) / K


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def alternate(data, searches):
    """The median milliseconds of a query, alone, of each search, and its recall."""
    times = [[] for _ in searches]
    recalls = [data.recall([search(query) for query in data.queries]) for search in searches]
    for _ in range(PASSES):
        for search, into in zip(searches, times, strict=True):
            took, _ = timed(lambda: [search(query) for query in data.queries[:QUERIES]])
            into.append(1e3 * took / QUERIES)
    return [statistics.median(each) for each in times], recalls


def index_of(scratch, data, kind, codes):
    index = voisin.create(
        f"{scratch}/{kind}-{codes}", 384, metric="cosine", codes=codes, kinds=[kind]
    )
    took, _ = timed(lambda: index.load(data.rows))
    return index, took


def lists_flat(scratch, data):
    """Whole vectors in lists, at equal numbers of lists and of probes."""
    index, took = index_of(scratch, data, "ivf", None)
    count = index.stats().lists.lists
    flat = faiss.IndexIVFFlat(faiss.IndexFlatIP(384), 384, count, faiss.METRIC_INNER_PRODUCT)
    built, _ = timed(lambda: (flat.train(data.rows), flat.add(data.rows)))
    print(f"\nwhole vectors in {count} lists: built in {took:.2f} s, faiss in {built:.2f} s\n")
    print("| probes | voisin, ms | recall | faiss IVFFlat, ms | recall | ratio |")
    print("|---:|---:|---:|---:|---:|---:|")
    for probes in (4, 8, 16, 32):
        flat.nprobe = probes
        searches = (
            lambda query: index.search(query, K, kind="ivf", nprobe=probes).ids,
            lambda query: flat.search(query[None], K)[1][0],
        )
        (ours, theirs), (recall, other) = alternate(data, searches)
        print(
            f"| {probes} | {ours:.3f} | {recall:.3f} | {theirs:.3f} | {other:.3f} | "
            f"{ours / theirs:.2f} |"
        )


def engines(scratch, data):
    """Lists by codes: the name of each engine, its efforts, and a search of some rows with one."""
    index, _ = index_of(scratch, data, "ivf", 4)

    def ours(rows, effort):
        return index.search(rows, K, kind="ivf", nprobe=effort).ids

    yield "voisin, 4 bits", (4, 6, 8, 12, 16, 24, 32, 48), ours
    quantizer = faiss.IndexFlatIP(384)
    codes = faiss.IndexIVFPQFastScan(quantizer, 384, 512, 192, 4, faiss.METRIC_INNER_PRODUCT)
    refined = faiss.IndexRefineFlat(codes)
    refined.train(data.rows)
    refined.add(data.rows)

    def fast(rows, effort):
        codes.nprobe, refined.k_factor = effort
        return refined.search(np.atleast_2d(rows), K)[1].reshape(rows.shape[:-1] + (K,))

    efforts = [(probes, factor) for probes in (4, 8, 16, 32, 64) for factor in (4, 10)]
    yield "faiss IVFPQFastScan, refined", efforts, fast
    builder = scann.scann_ops_pybind.builder(data.rows, K, "dot_product")
    tree = builder.tree(num_leaves=512, num_leaves_to_search=16, training_sample_size=100_000)
    found = tree.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def google(rows, effort):
        leaves, reorder = effort
        how = {"leaves_to_search": leaves, "pre_reorder_num_neighbors": reorder}
        if rows.ndim == 1:
            return found.search(rows, final_num_neighbors=K, **how)[0]
        return found.search_batched(rows, final_num_neighbors=K, **how)[0]

    efforts = [(leaves, reorder) for leaves in (4, 8, 16, 32, 64) for reorder in (40, 100)]
    yield "ScaNN", efforts, google
    means = faiss.Kmeans(384, 512, niter=10, spherical=True, seed=1)
    means.train(data.rows)
    nearest = means.index.search(data.rows, 1)[1].ravel().astype(np.uint32)
    bits = rabitqlib.IvfIndex(384, len(data.rows), 512, 5, "ip")
    bits.build(data.rows, means.centroids, nearest)

    def rabitq(rows, effort):
        ids = bits.search(np.atleast_2d(rows), K, effort)[0]
        return np.asarray(ids).reshape(rows.shape[:-1] + (K,))

    yield "rabitqlib IvfIndex, 5 bits", (4, 8, 12, 16, 24, 32, 64), rabitq


def lists_by_codes(scratch, data):
    print(f"\nlists by codes, the least effort with a recall of {GOAL}\n")
    print("| engine | effort | recall | ms, one query | ms a query, 1 000 together |")
    print("|---|---|---:|---:|---:|")
    ready = []
    for name, efforts, search in engines(scratch, data):
        for effort in efforts:
            recall = data.recall([search(query, effort) for query in data.queries])
            if recall >= GOAL:
                break
        ready.append((name, effort, recall, search))
    one, many = [[] for _ in ready], [[] for _ in ready]
    for _ in range(PASSES):
        for at, (_, effort, _, search) in enumerate(ready):
            took, _ = timed(lambda: [search(query, effort) for query in data.queries[:QUERIES]])
            one[at].append(1e3 * took / QUERIES)
            took, _ = timed(lambda: search(data.queries[:1000], effort))
            many[at].append(1e3 * took / len(data.queries[:1000]))
    for (name, effort, recall, _), alone, together in zip(ready, one, many, strict=True):
        alone, together = statistics.median(alone), statistics.median(together)
        print(f"| {name} | {effort} | {recall:.3f} | {alone:.3f} | {together:.3f} |")


def hashes(scratch, data):
    """Tables of hashes beside the Hamming distances of IndexLSH, with as many candidates."""
    index, _ = index_of(scratch, data, "lsh", None)
    print("\ntables of hashes, and as many candidates of IndexLSH, reranked\n")
    print("| promise | compared | voisin, ms | recall | bits | IndexLSH, ms | recall |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    tables = {bits: faiss.IndexLSH(384, bits, True, True) for bits in (128, 384)}
    for table in tables.values():
        table.train(data.rows)
        table.add(data.rows)
    for promise in (0.5, 0.9, 0.95):
        found = [index.search(query, K, kind="lsh", recall=promise) for query in data.queries]
        candidates = int(np.mean([each.cost[0] for each in found]))
        for bits, table in tables.items():

            def reranked(query, table=table):
                ids = table.search(query[None], candidates)[1][0]
                return ids[np.argsort(-(data.rows[ids] @ query))[:K]]

            searches = (lambda q: index.search(q, K, kind="lsh", recall=promise).ids, reranked)
            (ours, theirs), (recall, other) = alternate(data, searches)
            share = 100 * candidates / len(data.rows)
            print(
                f"| {promise} | {share:.2f} % | {ours:.3f} | {recall:.3f} | {bits} | "
                f"{theirs:.3f} | {other:.3f} |"
            )


def main():
    if os.environ.get("RAYON_NUM_THREADS") != "1":
        sys.exit("set RAYON_NUM_THREADS=1: all engines search with one thread")
    faiss.omp_set_num_threads(1)
    data = Data(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as scratch:
        lists_flat(scratch, data)
        lists_by_codes(scratch, data)
        hashes(scratch, data)


if __name__ == "__main__":
    main()
