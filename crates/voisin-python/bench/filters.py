"""Searches with conditions on fields, beside LanceDB and qdrant-edge: milliseconds a query, one at a
time, at a recall@10 of at least .95.

    pip install lancedb qdrant-edge-py
    python bench/filters.py FOLDER_OF_DATA [ROWS]

The vectors are photo descriptors, 100 000 x 128, each with a record of labels, a rank and a side.
Each engine makes its indexes of vectors and of fields, and is asked with more and more effort until
the answers of a cell have the recall. Times are medians over the queries, each after one that is
not counted.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import voisin

K, RECALL, QUERIES = 10, 0.95, 100
SHARES = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}
FEATURES = 128


class Facts:
    """The records of all items."""

    def __init__(self, count):
        random = np.random.default_rng(5)
        self.labels = {}
        for name, share in SHARES.items():
            self.labels[name] = random.random(count) < share
            self.labels["two " + name] = random.random(count) < 2 * share
        self.ranks = random.permutation(count)
        self.left = random.random(count) < 0.5

    def record(self, item):
        labels = [name for name, has in self.labels.items() if has[item]]
        side = "left" if self.left[item] else "right"
        return {"labels": labels, "rank": int(self.ranks[item]), "side": side}

    def cells(self):
        """The name of each cell, what its items must have, and which items these are."""
        half = len(self.ranks) // 2
        for name, share in SHARES.items():
            below = int(share * len(self.ranks))
            two = "two " + name
            of_two = self.labels[two]
            yield f"a keyword, {share:.1%}", {"label": name}, self.labels[name]
            yield f"two keywords, {share:.1%}", {"label": two, "side": "left"}, of_two & self.left
            yield f"a range, {share:.1%}", {"below": below}, self.ranks < below
            both = of_two & (self.ranks < half)
            yield f"a keyword and a range, {share:.1%}", {"label": two, "below": half}, both


class Voisin:
    efforts = (40, 80, 160, 320)

    def __init__(self, folder, vectors, facts):
        fields = {"labels": "keyword", "rank": "integer", "side": "keyword"}
        self.index = voisin.create(
            f"{folder}/voisin", FEATURES, metric="euclidean", codes=None, fields=fields
        )
        ids = np.arange(len(vectors))
        records = [facts.record(item) for item in range(len(vectors))]
        self.index.load(vectors, ids=ids, records=records)
        self.index = self.index.snapshot()

    def condition(self, label=None, side=None, below=None):
        parts = [{"field": "labels", "eq": label}] if label else []
        parts += [{"field": "side", "eq": side}] if side else []
        parts += [{"field": "rank", "below": below}] if below is not None else []
        return {"and": parts}

    def search(self, vector, condition, effort):
        return list(self.index.search(vector, K, ef=effort, filter=condition).ids)


class Qdrant:
    efforts = (16, 32, 64, 128, 256, 512)

    def __init__(self, folder, vectors, facts):
        import qdrant_edge as qdrant

        self.qdrant = qdrant
        config = qdrant.EdgeConfig(
            vectors={"": qdrant.EdgeVectorParams(FEATURES, qdrant.Distance.Euclid)},
            hnsw_config=qdrant.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=10_000),
            optimizers=qdrant.EdgeOptimizersConfig(
                indexing_threshold=1000, default_segment_number=1
            ),
        )
        Path(f"{folder}/qdrant").mkdir()
        self.shard = qdrant.EdgeShard.create(f"{folder}/qdrant", config)
        update, kinds = qdrant.UpdateOperation, qdrant.PayloadSchemaType
        for name, kind in (
            ("labels", kinds.Keyword),
            ("rank", kinds.Integer),
            ("side", kinds.Keyword),
        ):
            self.shard.update(update.create_field_index(name, kind))
        for first in range(0, len(vectors), 1000):
            points = [
                qdrant.Point(item, vectors[item].tolist(), facts.record(item))
                for item in range(first, min(first + 1000, len(vectors)))
            ]
            self.shard.update(update.upsert_points(points))
        while self.shard.optimize():
            pass

    def condition(self, label=None, side=None, below=None):
        q = self.qdrant
        parts = [q.FieldCondition("labels", match=q.MatchValue(label))] if label else []
        parts += [q.FieldCondition("side", match=q.MatchValue(side))] if side else []
        if below is not None:
            parts.append(q.FieldCondition("rank", range=q.RangeFloat(lt=float(below))))
        return q.Filter(must=parts)

    def search(self, vector, condition, effort):
        q = self.qdrant
        params = q.SearchParams(hnsw_ef=effort)
        request = q.QueryRequest(
            K, query=q.Query.Nearest(vector.tolist()), filter=condition, params=params
        )
        return [point.id for point in self.shard.query(request)]


class Lance:
    efforts = ((1, 1), (2, 1), (4, 1), (4, 4), (8, 4), (16, 4), (32, 10), (64, 20))

    def __init__(self, folder, vectors, facts):
        import lancedb
        import pyarrow

        records = [facts.record(item) for item in range(len(vectors))]
        flat = pyarrow.array(vectors.reshape(-1))
        table = pyarrow.table(
            {
                "id": np.arange(len(vectors)),
                "vector": pyarrow.FixedSizeListArray.from_arrays(flat, FEATURES),
                "labels": pyarrow.array([record["labels"] for record in records]),
                "rank": [record["rank"] for record in records],
                "side": [record["side"] for record in records],
            }
        )
        self.table = lancedb.connect(f"{folder}/lance").create_table("items", table)
        self.table.create_index("l2", vector_column_name="vector", index_type="IVF_HNSW_SQ")
        for name, kind in (("labels", "LABEL_LIST"), ("rank", "BTREE"), ("side", "BITMAP")):
            self.table.create_scalar_index(name, index_type=kind)

    def condition(self, label=None, side=None, below=None):
        parts = [f"array_has_any(labels, ['{label}'])"] if label else []
        parts += [f"side = '{side}'"] if side else []
        parts += [f"rank < {below}"] if below is not None else []
        return " AND ".join(parts)

    def search(self, vector, condition, effort):
        nprobes, refine = effort
        asked = (
            self.table.search(vector).where(condition, prefilter=True).select(["id", "_distance"])
        )
        found = asked.nprobes(nprobes).refine_factor(refine).limit(K).to_arrow()
        return found["id"].to_pylist()


def measured(engine, asked, queries, truth):
    """The time and the recall of the least effort that has the recall, or of the most."""
    condition = engine.condition(**asked)
    for effort in engine.efforts:
        times, hits = [], 0
        for query, expected in zip(queries, truth):
            engine.search(query, condition, effort)
            begun = time.perf_counter()
            found = engine.search(query, condition, effort)
            times.append(1e3 * (time.perf_counter() - begun))
            hits += len(set(found) & set(expected))
        recall = hits / sum(map(len, truth))
        if recall >= RECALL:
            break
    return statistics.median(times), recall


def main():
    folder = Path(sys.argv[1])
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    vectors = np.fromfile(folder / "photo-sift-128.u8", np.uint8).reshape(-1, FEATURES)
    vectors = vectors[:rows].astype(np.float32)
    queries = np.fromfile(folder / "photo-sift-128.queries.u8", np.uint8).reshape(-1, FEATURES)
    queries = queries[:QUERIES].astype(np.float32)
    norms = (vectors**2).sum(axis=1)
    distances = norms - 2 * queries @ vectors.T
    facts = Facts(len(vectors))
    with tempfile.TemporaryDirectory() as temporary:
        engines = {}
        for engine in (Voisin, Qdrant, Lance):
            begun = time.perf_counter()
            engines[engine.__name__] = engine(temporary, vectors, facts)
            print(f"{engine.__name__}: loaded in {time.perf_counter() - begun:.1f} s", flush=True)
        names = list(engines)
        print(
            "| items | "
            + " | ".join(f"{name}, ms | recall" for name in names)
            + " | voisin ahead |"
        )
        print("|---|" + 2 * len(names) * "---:|" + "---:|")
        for name, asked, passing in facts.cells():
            allowed = np.flatnonzero(passing)
            order = np.argsort(distances[:, allowed], axis=1, kind="stable")[:, :K]
            truth = [allowed[nearest].tolist() for nearest in order]
            found = [measured(engine, asked, queries, truth) for engine in engines.values()]
            cells = " | ".join(f"{took:.3f} | {recall:.3f}" for took, recall in found)
            ahead = min(took for took, _ in found[1:]) / found[0][0]
            print(f"| {name} | {cells} | {ahead:.1f} |", flush=True)


if __name__ == "__main__":
    main()
