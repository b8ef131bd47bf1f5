"""Rows of a SQL database, and the nearest neighbors of two of them: the first program of VekterDB's
README, on a database in a file. Then a row is inserted by SQL alone.

    pip install 'voisin[vekterdb]'
    python vekterdb_neighbors.py [URL]
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa
from voisin.vekterdb import VekterDB


def generate(count: int = 10_000, d: int = 64, seed: int = 1024) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, d)).astype(np.float32)
    # The second is like the first.
    vectors[1] = vectors[0] + rng.normal(scale=0.2, size=d).astype(np.float32)
    for idx, vector in enumerate(vectors):
        yield {"idx": idx, "vector": vector}


url = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///my_table.sqlite"
with VekterDB("my_table", url=url) as db:
    db.insert(generate())
    db.create_index("my_table.index", faiss_factory_str="Flat")
    found = db.nearest_neighbors("idx", [0, 1], 3, "idx")
    for record in found:
        record["neighbors"] = [[it["idx"], round(it["metric"], 3)] for it in record["neighbors"]]
    print(found)

# Any program can write to the table: the index follows when it is opened, or when `sync` is called.
engine = sa.create_engine(url)
with engine.begin() as sql:
    copy = "INSERT INTO my_table (idx, vector) SELECT 10000, vector FROM my_table WHERE idx = 0"
    sql.execute(sa.text(copy))
with VekterDB("my_table", url=url, faiss_index="my_table.index") as db:
    assert db.index is not None
    print(f"{len(db.index)} rows, in step: {db.check() == []}")
