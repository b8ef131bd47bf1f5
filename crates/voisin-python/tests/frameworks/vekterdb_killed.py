"""Kills a program that changes a table and its index, each time between the two.

    python vekterdb_killed.py 200 sqlite
    python vekterdb_killed.py 200 postgresql

The table is that of VekterDB's README, 10 000 rows of 64 dimensions. Each child opens it, which
brings the index up to the table, compares all rows with the index and the neighbors of two rows
with what a scan of the vectors finds, and then makes one transaction: it inserts rows, changes the
vectors of others, and deletes some. SIGKILL ends it after the commit: at once, after a random time,
while the index is being written, or before the outbox is emptied. At the end, the table is that of
the README, and so are the neighbors.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import voisin
from voisin.vekterdb import VekterDB

ROWS = 10_000
POSTGRES = Path(__file__).parents[4] / ".ci" / "python" / "postgres"
# As the README of VekterDB has them.
NEIGHBORS = {
    0: [(1, 73.78341), (7537, 39.142662), (9831, 31.672077)],
    1: [(0, 73.78341), (7537, 38.97898), (9831, 32.063244)],
}


def vectors() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(1024)
    rows = rng.normal(size=(ROWS, 64)).astype(np.float32)
    rows[1] = rows[0] + rng.normal(scale=0.2, size=64).astype(np.float32)
    return rows


def count(step: int, steps: int) -> int:
    """How many rows have been inserted after so many transactions."""
    return ROWS - ROWS * 4 // 5 // steps * (steps - step)


def expected(step: int, steps: int) -> dict[int, np.ndarray[Any, Any]]:
    """The rows after so many transactions."""
    rows = vectors()[: count(step, steps)]
    there = dict(enumerate(rows))
    if step < steps:
        for at in range(step * 10, step * 10 + 10):
            idx = at % 250 * 8
            there[idx] = -rows[idx]
            del there[idx + 3]
    return there


def nearest(rows: dict[int, np.ndarray[Any, Any]], idx: int) -> list[tuple[int, float]]:
    ids = np.array([it for it in rows if it != idx])
    products = np.stack([rows[int(it)] for it in ids]) @ rows[idx]
    best = np.argsort(-products)[:3]
    return [(int(ids[it]), float(products[it])) for it in best]


def check_neighbors(db: VekterDB, rows: dict[int, np.ndarray[Any, Any]]) -> None:
    here = [it for it in (0, 1) if it in rows]
    found = db.nearest_neighbors("idx", here, 3, "idx", search_parameters={"exact": True})
    for record in found:
        right = nearest(rows, record["idx"])
        assert [it["idx"] for it in record["neighbors"]] == [it[0] for it in right]
        for neighbor, (_, metric) in zip(record["neighbors"], right, strict=True):
            assert abs(neighbor["metric"] - metric) < 1e-4


def state(url: str, index: str, step: int, steps: int) -> str:
    """Where the last child was killed, found without opening what would heal it."""
    engine = sa.create_engine(url)
    names = sa.inspect(engine).get_table_names()
    outbox = next(it for it in names if it.startswith("my_table_voisin_"))
    with engine.connect() as sql:
        waiting = sql.scalar(sa.text(f"SELECT count(*) FROM {outbox}"))
    engine.dispose()
    if not waiting:
        return "after both"
    newest = count(step, steps) - 1
    with voisin.open(index) as it:
        return "after the index" if newest in it else "before the index"


def kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_later(seconds: float) -> None:
    def wait() -> None:
        time.sleep(random.uniform(0.0, seconds))
        kill()

    threading.Thread(target=wait).start()


def work(url: str, index: str, step: int, steps: int, when: str) -> None:
    """Makes the transaction number `step + 1`, and dies."""
    print(state(url, index, step, steps), flush=True)
    began = time.perf_counter()
    db = VekterDB("my_table", url=url, faiss_index=index)
    took = time.perf_counter() - began
    rows = expected(step, steps)
    assert db.index is not None and db.index.ids().tolist() == sorted(rows)
    assert db.check() == [], db.check()
    check_neighbors(db, rows)
    if step == steps:
        return

    def emptied(*statement: object) -> None:
        if str(statement[2]).startswith("DELETE FROM my_table_voisin_"):
            kill()

    if when == "commit":
        sa.event.listen(db.Session, "after_commit", kill)
    elif when == "later":
        sa.event.listen(db.Session, "after_commit", lambda session: kill_later(took))
    else:
        sa.event.listen(db.engine, "before_cursor_execute", emptied)
    change(db, rows, expected(step + 1, steps))
    db.sync()
    time.sleep(took)
    kill()


def change(db: VekterDB, rows: dict[int, Any], after: dict[int, Any]) -> None:
    """Makes other rows of these, in one transaction, by SQL."""
    is_it = db.table.c.idx == sa.bindparam("of")
    gone = [{"of": it} for it in rows if it not in after]
    changed = [it for it in after if it in rows and (after[it] != rows[it]).any()]
    changes = [{"of": it, "to": db.serialize_vector(after[it])} for it in changed]
    new = [{"idx": it, "vector": db.serialize_vector(after[it])} for it in after if it not in rows]
    with db.Session.begin() as session:
        sql = session.connection()
        if gone:
            sql.execute(sa.delete(db.table).where(is_it), gone)
        update = sa.update(db.table).where(is_it)
        sql.execute(update.values({db.vector_name: sa.bindparam("to")}), changes)
        sql.execute(sa.insert(db.table), new)


def main(kills: int, url: str, folder: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    index = str(folder / "my_table.index")
    with VekterDB("my_table", url=url) as db:
        first = expected(0, kills)
        db.insert({"idx": idx, "vector": vector} for idx, vector in first.items())
        db.create_index(index)
    states: dict[str, int] = {}
    for step in range(kills + 1):
        when = random.choice(["commit", "commit", "later", "later", "outbox"])
        arguments = ["work", url, index, str(step), str(kills), when]
        child = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE)
        assert child.returncode == (-signal.SIGKILL if step < kills else 0), child.returncode
        if step:
            where = child.stdout.decode().strip()
            states[where] = states.get(where, 0) + 1
    with VekterDB("my_table", url=url, faiss_index=index) as db:
        assert db.check() == []
        for record in db.nearest_neighbors("idx", [0, 1], 3, "idx"):
            found = [(it["idx"], it["metric"]) for it in record["neighbors"]]
            right = NEIGHBORS[record["idx"]]
            assert [it[0] for it in found] == [it[0] for it in right], found
            assert all(abs(a[1] - b[1]) < 1e-4 for a, b in zip(found, right, strict=True)), found
    print(f"killed {kills} times, never apart after the next open: {states}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["work", url, index, step, steps, when]:
            work(url, index, int(step), int(steps), when)
        case [kills, "sqlite"]:
            with tempfile.TemporaryDirectory() as folder:
                main(int(kills), f"sqlite:///{folder}/table.sqlite", Path(folder))
        case [kills, "postgresql"]:
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o711)
                start = [POSTGRES, "start", f"{folder}/pg"]
                server = subprocess.run(start, stdout=subprocess.PIPE, check=True)
                try:
                    main(int(kills), server.stdout.decode().strip(), Path(folder))
                finally:
                    subprocess.run([POSTGRES, "stop", f"{folder}/pg"], check=True)
        case _:
            sys.exit(__doc__)
