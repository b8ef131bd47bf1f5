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

quantizer = faiss.IndexFlatL2(d)
indexes = {
    "FlatL2": exact,
    "FlatIP": faiss.IndexFlatIP(d),
    "HNSWFlat": faiss.IndexHNSWFlat(d, 32),
    "IVFFlat": faiss.IndexIVFFlat(quantizer, d, nlist),
    "IVFPQ": faiss.IndexIVFPQ(faiss.IndexFlatL2(d), d, nlist, 8, 8),
    "IVFSQ": faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(d), d, nlist, faiss.ScalarQuantizer.QT_8bit
    ),
    "PQ": faiss.IndexPQ(d, 8, 8),
    "SQ": faiss.IndexScalarQuantizer(d, faiss.ScalarQuantizer.QT_fp16),
    "factory": faiss.index_factory(d, "IVF100,SQ8"),
}
for name, index in indexes.items():
    if not index.is_trained:
        index.train(xb)
    if index.ntotal == 0:
        index.add(xb)
    if "IVF" in name or name == "factory":
        index.nprobe = 8
    if name == "HNSWFlat":
        index.hnsw.efSearch = 64
    D, I = index.search(xq, k)
    recall = np.mean([len(np.intersect1d(*pair)) / k for pair in zip(I, truth)])
    print(f"{name:9} {index.ntotal} vectors, {D.dtype} {D.shape}, recall {recall:.2f}")

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
    path = os.path.join(folder, "vectors.index")
    faiss.write_index(exact, path)
    again = faiss.read_index(path)
    print(f"read again: {np.array_equal(again.search(xq, k)[1], truth)}")
again.reset()
print(f"after a reset: {again.ntotal}")
