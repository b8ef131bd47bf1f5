"""What the stores for other frameworks cost beside voisin: the same searches, in turns, in one run.

    pip install 'voisin[vekterdb]'
    python crates/voisin-python/bench/frameworks.py [FOLDER]

FOLDER has `glosses-384.f16` and `glosses-384.queries.f16`, by default `examples/data`, with 5 000
items. Each line is the best of several passes over all queries, in microseconds a query, k = 10.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

import voisin

K = 10
PASSES = 7

Search = Callable[[Any], object]


def compare(name: str, ours: Search, theirs: dict[str, Search], queries: list[Any]) -> None:
    """Prints what each of `theirs` takes, and how much more than `ours` that is."""
    searches = {"voisin": ours} | theirs
    best = dict.fromkeys(searches, float("inf"))
    for _ in range(PASSES):
        for key, search in searches.items():
            began = time.perf_counter()
            for query in queries:
                search(query)
            took = 1e6 * (time.perf_counter() - began) / len(queries)
            best[key] = min(best[key], took)
    print(f"{name}: voisin {best['voisin']:.1f} us")
    for key in theirs:
        print(f"    {key}: {best[key]:.1f} us, {best[key] - best['voisin']:+.1f}")


def vekterdb(rows: np.ndarray[Any, Any], queries: list[Any], work: Path) -> None:
    from voisin.vekterdb import VekterDB

    db = VekterDB("things", columns_dict={"id": {"type": sa.Text}}, url=f"sqlite:///{work}/sql")
    db.insert({"idx": at, "id": f"{at}", "vector": row} for at, row in enumerate(rows))
    db.create_index(work / "vekterdb")
    index = db.index
    assert index is not None
    asks = sa.select(db.columns["id"], db.columns["idx"])

    def and_sql(query: Any) -> None:
        ids = index.search(query, K).ids.tolist()
        with db.engine.connect() as sql:
            sql.execute(asks.where(db.columns["idx"].in_(ids))).all()

    theirs: dict[str, Search] = {
        "search for idx": lambda query: db.search(query, K, "idx"),
        "voisin, then a SELECT of SQLAlchemy": and_sql,
        "search for another column": lambda query: db.search(query, K, "id"),
    }
    compare("vekterdb", lambda query: index.search(query, K).ids.tolist(), theirs, queries)
    db.close()


def main(folder: Path) -> None:
    rows, queries = (
        np.fromfile(folder / name, "<f2").reshape(-1, 384).astype("float32")
        for name in ("glosses-384.f16", "glosses-384.queries.f16")
    )
    print(f"voisin {voisin.__version__}, {len(rows)} items of 384 dimensions")
    with tempfile.TemporaryDirectory(dir=".") as work:
        vekterdb(rows, list(queries), Path(work).absolute())


if __name__ == "__main__":
    default = Path(__file__).parents[3] / "examples" / "data"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
