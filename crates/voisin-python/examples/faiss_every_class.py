"""A program of FAISS that uses all of its classes that voisin has: only the import is another."""

import os
import tempfile

import numpy as np

import voisin.faiss as faiss

d, n, nlist, k = 32, 10_000, 100, 10
random = np.random.default_rng(1234)
centers = random.normal(size=(200, d)) * 2
xb = (centers[random.integers(0, 200, n)] + random.normal(size=(n, d))).astype("float32")
xq = (centers[random.integers(0, 200, 100)] + random.normal(size=(100, d))).astype("float32")

exact = faiss.IndexFlatL2(d)
exact.add(xb)
_, truth = exact.search(xq, k)

SQ = faiss.ScalarQuantizer
indexes = {
    "FlatL2": exact,
    "FlatIP": faiss.IndexFlatIP(d),
    "HNSWFlat": faiss.IndexHNSWFlat(d, 32),
    "IVFFlat": faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, nlist),
    "IVFPQ": faiss.IndexIVFPQ(faiss.IndexFlatL2(d), d, nlist, 8, 8),
    "IVFSQ": faiss.IndexIVFScalarQuantizer(faiss.IndexFlatL2(d), d, nlist, SQ.QT_8bit),
    "PQ": faiss.IndexPQ(d, 8, 8),
    "SQ": faiss.IndexScalarQuantizer(d, SQ.QT_fp16),
    "factory IVF": faiss.index_factory(d, "IVF100,SQ8"),
}
indexes["HNSWFlat"].hnsw.efSearch = 64
for name, index in indexes.items():
    if "IVF" in name:
        index.nprobe = 8
    index.train(xb)
    if index.ntotal == 0:
        index.add(xb)
    D, I = index.search(xq, k)
    recall = np.mean([len(np.intersect1d(*pair)) / k for pair in zip(I, truth)])
    print(f"{name:11} {index.ntotal} vectors, {D.dtype} {D.shape}, recall {recall:.2f}")

lims, D, I = exact.range_search(xq, 30.0)
print(f"{lims[-1]} within 30, the first vector is {np.round(exact.reconstruct(0)[:3], 2)}")
for wrapper in (faiss.IndexIDMap, faiss.IndexIDMap2):
    named = wrapper(faiss.IndexFlatL2(d))
    named.add_with_ids(xb[:1000], np.arange(1000) + 10**9)
    named.remove_ids(np.array([10**9 + 1]))
    print(f"{wrapper.__name__}: {named.search(xb[:2], 1)[1].ravel()}, {named.ntotal} left")
binary = faiss.IndexBinaryFlat(d)
binary.add(np.packbits(xb > 0, axis=1))
print(f"binary: {binary.search(np.packbits(xq[:1] > 0, axis=1), 3)[0]}")

with tempfile.TemporaryDirectory() as folder:
    faiss.write_index(exact, os.path.join(folder, "vectors.index"))
    again = faiss.read_index(os.path.join(folder, "vectors.index"))
    print(f"read again: {np.array_equal(again.search(xq, k)[1], truth)}")
again.reset()
print(f"after a reset: {again.ntotal}")
