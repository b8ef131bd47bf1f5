"""The peers from PyPI, each behind the protocol of src/compare/protocol.rs: a task on the first line, a request on each further one, and one line
of JSON back for each. A request is answered by one native call where the engine has one, and only that call is timed."""

import ctypes
import functools
import importlib.metadata
import json
import os
import signal
import statistics
import sys
import threading
import time

import numpy as np

# The output of a library must not mix with the replies.
replies = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

SPARE = 1000  # room for items that are added later


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def synced(path):
    """The bytes of a file, after they have reached the disk."""
    with open(path) as file:
        os.fsync(file.fileno())
    return os.path.getsize(path)


class Hnswlib:
    package = "hnswlib"

    def __init__(self, task):
        import hnswlib

        self.task, self.path = task, "hnswlib.index"
        assert task["m0"] == 2 * task["m"], "hnswlib always gives the base layer twice as many neighbors"
        self.index = hnswlib.Index({"euclidean": "l2", "cosine": "cosine"}[task["metric"]], task["dimensions"])

    def build(self, vectors):
        task = self.task
        self.index.init_index(len(vectors) + SPARE, ef_construction=task["ef_construction"], M=task["m"], random_seed=task["seed"])
        self.index.add_items(vectors, num_threads=task["threads"])

    def save(self):
        self.index.save_index(self.path)
        return synced(self.path)

    def open(self):
        self.index.load_index(self.path, max_elements=self.task["rows"] + SPARE)

    def search(self, queries, knob, threads):
        self.index.set_ef(knob)
        seconds, (ids, _) = timed(lambda: self.index.knn_query(queries, self.task["k"], num_threads=threads))
        return seconds, ids

    def filter(self, candidates, by):
        self.are = np.zeros(self.task["rows"], np.uint8)
        self.are[candidates] = 1
        self.searcher = {"predicate": self.compiled, "python": self.called_back}[by]

    @functools.cached_property
    def compiled_index(self):
        """The saved index, by hnswlib_filter.cpp."""
        library = ctypes.CDLL(os.path.join(sys.prefix, "hnswlib_filter.so"))
        library.open_index.restype = ctypes.c_void_p
        is_cosine, dimensions = self.task["metric"] == "cosine", ctypes.c_size_t(self.task["dimensions"])
        return library, ctypes.c_void_p(library.open_index(self.path.encode(), dimensions, is_cosine))

    def compiled(self, knob):
        library, index = self.compiled_index
        ids = np.empty(self.task["k"], np.uint32)
        are, found = ctypes.c_void_p(self.are.ctypes.data), ctypes.c_void_p(ids.ctypes.data)
        k, ef, search = ctypes.c_size_t(len(ids)), ctypes.c_size_t(knob), library.search

        def nearest(query):
            search(index, ctypes.c_void_p(query.ctypes.data), k, ef, are, found)
            return ids

        return nearest

    def called_back(self, knob):
        self.index.set_ef(knob)
        is_candidate, k = (self.are != 0).tolist().__getitem__, self.task["k"]

        def nearest(query):
            try:
                return self.index.knn_query(query, k, num_threads=1, filter=is_candidate)[0][0]
            except RuntimeError:  # fewer than k were found
                return 2**32 - 1

        return nearest

    def update(self, item, vector):
        self.index.add_items(vector[None], [item], num_threads=1)
        self.save()


class Faiss:
    """What both indexes of faiss share."""

    package, path = "faiss-cpu", "faiss.index"

    def __init__(self, task):
        import faiss

        self.task, self.faiss = task, faiss
        self.metric = {"euclidean": faiss.METRIC_L2, "cosine": faiss.METRIC_INNER_PRODUCT}[task["metric"]]
        faiss.omp_set_num_threads(task["threads"])

    def build(self, vectors):
        self.index = self.create()
        self.index.add(vectors)

    def save(self):
        self.faiss.write_index(self.index, self.path)
        return synced(self.path)

    def open(self):
        self.index = self.faiss.read_index(self.path)

    def update(self, item, vector):
        self.index.add(vector[None])
        self.save()


class FaissHnsw(Faiss):
    def create(self):
        assert self.task["m0"] == 2 * self.task["m"], "faiss always gives the base layer twice as many neighbors"
        index = self.faiss.IndexHNSWFlat(self.task["dimensions"], self.task["m"], self.metric)
        index.hnsw.efConstruction = self.task["ef_construction"]
        return index

    def search(self, queries, knob, threads):
        self.index.hnsw.efSearch = knob
        self.faiss.omp_set_num_threads(threads)
        seconds, (_, ids) = timed(lambda: self.index.search(queries, self.task["k"]))
        self.faiss.omp_set_num_threads(self.task["threads"])
        return seconds, ids

    def filter(self, candidates, by):
        assert by == "kept"
        are = np.zeros(self.task["rows"], np.uint8)
        are[candidates] = 1
        self.selector = self.faiss.IDSelectorBitmap(np.packbits(are, bitorder="little"))

    def searcher(self, knob):
        self.faiss.omp_set_num_threads(1)
        params = self.faiss.SearchParametersHNSW(sel=self.selector, efSearch=knob)
        return lambda query: self.index.search(query[None], self.task["k"], params=params)[1][0]


class FaissFlat(Faiss):
    def create(self):
        return self.faiss.IndexFlat(self.task["dimensions"], self.metric)

    def scan(self, queries, batch):
        calls = [queries] if batch else np.split(queries, len(queries))
        seconds, answers = timed(lambda: [self.index.search(call, self.task["k"]) for call in calls])
        return seconds, np.concatenate([ids for _, ids in answers])

    def search(self, queries, knob, threads):
        return self.scan(queries, True)


class FaissIvf(Faiss):
    """Inverted lists of plain vectors. Once saved, the lists are read through a map of the file."""

    def create(self):
        # As many lists as faiss recommends for up to some millions of vectors.
        lists = int(4 * self.task["rows"] ** 0.5)
        index = self.faiss.IndexIVFFlat(self.faiss.IndexFlat(self.task["dimensions"], self.metric), self.task["dimensions"], lists, self.metric)
        index.own_fields = False
        index.cp.seed = self.task["seed"]
        index.cp.max_points_per_centroid = 64
        return index

    def build(self, vectors):
        self.index = self.create()
        self.index.train(vectors)
        self.index.add(vectors)

    def ready(self, memory):
        self.faiss.omp_set_num_threads(1)
        self.index = self.faiss.read_index(self.path, self.faiss.IO_FLAG_MMAP)

    def searcher(self, knob):
        self.faiss.omp_set_num_threads(1)
        self.index.nprobe = knob
        return lambda query: self.index.search(query[None], self.task["k"])[1][0]


class DiskAnn:
    """A Vamana graph on disk, with product-quantized vectors in memory. It reads past the page cache, so what is left of the memory is for nodes."""

    package, prefix, degree = "diskannpy-rust", "ann", 64

    def __init__(self, task):
        os.environ["RUST_LOG"] = "off"  # it logs every query
        import diskannpy

        self.task, self.diskannpy = task, diskannpy
        # Of vectors of length 1, the nearest by this are those by the cosine.
        self.metric = "l2"

    def build(self, vectors):
        # A byte for eight dimensions, and at least 32: about 1 / 32 of the vectors.
        chunks = max(32, self.task["dimensions"] // 8)
        self.diskannpy.build_disk_index(
            vectors, self.metric, ".", self.task["ef_construction"], self.degree, 64.0, self.task["threads"], num_of_pq_chunks=chunks, index_prefix=self.prefix
        )

    def save(self):
        # Its copy of the vectors, which searches do not need.
        os.remove(self.prefix + "_vectors.bin")
        return sum(synced(name) for name in os.listdir() if name.startswith(self.prefix))

    def ready(self, memory):
        held = os.path.getsize(self.prefix + "_pq_compressed.bin")
        node = 4 * (self.task["dimensions"] + self.degree)
        # As many as it allows, and half of what is left at most: it keeps more than the bytes of a node.
        most = self.task["rows"] // 10
        nodes = most if memory is None else min(most, max(0, (memory - held) // (2 * node)))
        self.index = self.diskannpy.StaticDiskIndex(".", num_threads=1, beam_width=4, num_nodes_to_cache=nodes, index_prefix=self.prefix)

    def searcher(self, knob):
        return lambda query: self.index.search(query, self.task["k"], knob).identifiers


class Zvec:
    """A Vamana graph on disk, with product-quantized vectors in memory. It reads past the page cache."""

    package, path, field = "zvec", "zvec", "vector"

    def __init__(self, task):
        import zvec

        self.task, self.zvec = task, zvec

    def begin(self, **options):
        # Can be called once.
        self.zvec.init(log_level=self.zvec.LogLevel.ERROR, **options)

    def build(self, vectors):
        zvec = self.zvec
        self.begin(optimize_threads=self.task["threads"])
        chunks = max(32, self.task["dimensions"] // 8)
        # The largest list that it takes.
        param = zvec.DiskAnnIndexParam(zvec.MetricType.L2, max_degree=64, list_size=100, pq_chunk_num=chunks)
        field = zvec.VectorSchema(self.field, zvec.DataType.VECTOR_FP32, self.task["dimensions"], param)
        self.index = zvec.create_and_open(self.path, zvec.CollectionSchema("vectors", vectors=field))
        for first in range(0, len(vectors), 1000):
            rows = enumerate(vectors[first : first + 1000], first)
            for status in self.index.insert([zvec.Doc(id=str(item), vectors={self.field: row.tolist()}) for item, row in rows]):
                assert status.ok(), status
        self.index.optimize()

    def save(self):
        self.index.flush()
        self.index.close()
        files = (os.path.join(folder, name) for folder, _, names in os.walk(self.path) for name in names)
        return sum(synced(name) for name in files)

    def ready(self, memory):
        # It takes no limit below 100 MiB.
        limit = {} if memory is None else {"memory_limit_mb": max(101, memory >> 20)}
        self.begin(query_threads=1, **limit)
        self.index = self.zvec.open(self.path, self.zvec.CollectionOption(read_only=True))
        # So that its numbers are those of the rows.
        some = [0, self.task["rows"] // 2, self.task["rows"] - 1]
        assert self.index.resolve_internal_ids(some) == [str(item) for item in some]

    def searcher(self, knob):
        zvec, k = self.zvec, self.task["k"]
        param = zvec.DiskAnnQueryParam(list_size=knob)
        return lambda query: self.index.query_internal_ids(zvec.Query(self.field, vector=query, param=param), topk=k)


class Nseekfs:
    package = "nseekfs"

    def __init__(self, task):
        import nseekfs

        self.task, self.nseekfs = task, nseekfs

    def build(self, vectors):
        self.index = self.nseekfs.from_embeddings(vectors, metric=self.task["metric"], normalized=True)

    def save(self):
        return synced(self.index.index_path)

    def open(self):
        (path,) = (name for name in os.listdir() if name.endswith(".bin"))
        self.index = self.nseekfs.from_bin(path)

    def scan(self, queries, batch):
        if batch:
            seconds, answers = timed(lambda: self.index.query_batch_arrays(queries, self.task["k"]))
            return seconds, np.asarray(answers["indices"])
        seconds, answers = timed(lambda: [self.index.query_simple_arrays(query, self.task["k"]) for query in queries])
        return seconds, np.array([answer["indices"] for answer in answers])

    def search(self, queries, knob, threads):
        return self.scan(queries, False)


class Symqg:
    """A static graph with codes beside the edges; it knows no M0 and no commits, and always has a degree that is a multiple of 32."""

    package, path = "rabitqlib", "symqg.index"

    def __init__(self, task):
        import rabitqlib

        self.task, self.type = task, rabitqlib.SymqgIndex
        self.metric = {"euclidean": "l2", "cosine": "ip"}[task["metric"]]

    def build(self, vectors):
        self.index = self.type(self.task["dimensions"], self.task["m0"], self.metric)
        self.index.build(vectors, self.task["ef_construction"], self.task["threads"])

    def save(self):
        self.index.save(self.path)
        return synced(self.path)

    def open(self):
        self.index = self.type.load(self.path)

    def search(self, queries, knob, threads):
        seconds, (ids, _) = timed(lambda: self.index.search_batch(queries, self.task["k"], knob, threads))
        return seconds, ids


ENGINES = {"diskann": DiskAnn, "zvec": Zvec, "faiss-ivf": FaissIvf, "hnswlib": Hnswlib, "faiss-hnsw": FaissHnsw, "faiss-flat": FaissFlat, "nseekfs": Nseekfs, "symqg": Symqg}


def each(engine, request, queries):
    """One call a query, on several threads, in the order of the queries."""
    first, count, k = request["first"], request["count"], engine.task["k"]
    answers = np.full((count, k), 2**32 - 1, np.uint32)
    times = np.zeros((count, 2), np.uint64)
    ready = threading.Barrier(request["threads"] + 1)
    numbers = iter(range(count))  # its steps are atomic
    limit = int(request["seconds"] * 1e9)

    def work():
        search = engine.searcher(request["knob"])
        ready.wait()
        for number in numbers:
            began = time.perf_counter_ns() - start
            if began >= limit:
                return
            answers[number] = search(queries[first + number])
            times[number] = began, time.perf_counter_ns() - start - began

    threads = [threading.Thread(target=work) for _ in range(request["threads"])]
    for thread in threads:
        thread.start()
    start = time.perf_counter_ns()
    ready.wait()
    for thread in threads:
        thread.join()
    answers.tofile(request["answers"])
    times.tofile(request["times"])
    return {"seconds": float(times.sum(axis=1).max()) / 1e9, "bytes": int((times[:, 1] > 0).sum())}


def answer(engine, request, vectors, queries):
    what = request["do"]
    if what == "ready":
        return {"seconds": timed(lambda: engine.ready(request["memory_bytes"]))[0]}
    if what == "filter":
        candidates = np.fromfile(request["candidates"], np.uint32)
        return {"seconds": timed(lambda: engine.filter(candidates, request["by"]))[0]}
    if what == "each":
        return each(engine, request, queries)
    if what == "build":
        return {"seconds": timed(lambda: engine.build(vectors))[0]}
    if what == "save":
        seconds, size = timed(engine.save)
        return {"seconds": seconds, "bytes": size}
    if what == "open":
        return {"seconds": timed(lambda: (engine.open(), engine.search(queries[:1], 40, 1)))[0]}
    if what in ("search", "scan"):
        if what == "search":
            seconds, ids = engine.search(queries, request["knob"], request["threads"])
        else:
            seconds, ids = engine.scan(queries[: request["queries"]], request["batch"])
        assert ids.shape[1] == engine.task["k"]
        ids.astype(np.uint32).tofile(request["answers"])
        return {"seconds": seconds}
    if what == "update":
        seconds, processor = [], []
        for number in range(request["times"]):
            before = time.process_time()
            seconds.append(timed(lambda: engine.update(len(vectors) + number, queries[number]))[0])
            processor.append(time.process_time() - before)
        return {"seconds": statistics.median_high(seconds), "cpu_seconds": statistics.median_high(processor)}
    raise ValueError(f"{what} is not for engines in Python")


def end_with_parent():
    """Has the system kill this process when the one that has started it ends, even in the middle of a request."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main():
    end_with_parent()
    task = json.loads(sys.stdin.readline())
    shape = (-1, task["dimensions"])
    # Mapped, so that the input counts in no engine's memory.
    vectors = np.memmap(task["vectors"], np.float32, "r").reshape(shape).view(np.ndarray)[: task["rows"]]
    queries = np.fromfile(task["queries"], np.float32).reshape(shape)
    engine = ENGINES[sys.argv[1]](task)
    print(json.dumps({"version": importlib.metadata.version(engine.package)}), file=replies)
    for line in sys.stdin:
        print(json.dumps(answer(engine, json.loads(line), vectors, queries)), file=replies)


main()
