"""Kills a writing program of Python's, again and again, beside 4 reading processes.

    python tests/killed.py 200

The writer commits batches of 20 items and says so after each commit; it is killed by SIGKILL at a
random moment, and started again. The readers search all the time. Nothing that was said to be
committed may be lost, no batch may be there in part, whoever looks, and no reader may be disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

import voisin

DIMENSIONS = 16
BATCH = 20
KEPT = 150
READERS = 4


def vectors(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).normal(size=(BATCH, DIMENSIONS)).astype(np.float32)


def check_whole(searcher: voisin.Searcher) -> list[int]:
    """The batches that are there, each of them as a whole."""
    ids = searcher.ids()
    batches = sorted(set((ids // BATCH).tolist()))
    assert len(ids) == BATCH * len(batches), f"{len(ids)} items of {len(batches)} batches"
    for batch in random.sample(batches, min(3, len(batches))):
        items = range(batch * BATCH, (batch + 1) * BATCH)
        assert (searcher.vectors(items) == vectors(batch)).all(), f"batch {batch}"
    return batches


def write(path: str) -> None:
    index = voisin.open(path)
    batch = max(index.ids().tolist(), default=-1) // BATCH + 1
    while True:
        with index.batch() as changes:
            changes.add(range(batch * BATCH, (batch + 1) * BATCH), vectors(batch))
            old = batch - KEPT
            if old >= 0:
                changes.delete(range(old * BATCH, (old + 1) * BATCH))
        print(batch, flush=True)
        batch += 1


def read(path: str) -> None:
    """Until its input ends. Says how many searches it has made."""
    index = voisin.open(path, read_only=True)
    os.set_blocking(0, False)
    searches = newest = 0
    while os.read(0, 1) if _is_readable() else True:
        with index.snapshot() as snapshot:
            batches = check_whole(snapshot)
            if not batches:
                continue
            assert batches[-1] >= newest, "an older commit than before"
            newest = batches[-1]
            rows = vectors(newest)
            found = snapshot.search(rows, k=1)
            assert found.ids[:, 0].tolist() == list(range(newest * BATCH, (newest + 1) * BATCH))
            assert snapshot.search(rows[0], k=5)[0].id == newest * BATCH
            searches += BATCH + 1
    print(searches, flush=True)


def _is_readable() -> bool:
    import select

    return bool(select.select([0], [], [], 0)[0])


def start(role: str, path: str, **pipes: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, role, path], **pipes)


def main(kills: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    with tempfile.TemporaryDirectory() as path:
        index = voisin.create(path, DIMENSIONS, metric="euclidean")
        index.add(range(BATCH), vectors(0))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        readers = [start("read", path, **pipes) for _ in range(READERS)]
        committed = 0
        for kill in range(kills):
            writer = start("write", path, stdout=subprocess.PIPE)
            assert writer.stdout is not None
            # From its first commit on, some of them.
            said = [int(writer.stdout.readline())]
            time.sleep(random.expovariate(20.0))
            writer.send_signal(signal.SIGKILL)
            said += [int(line) for line in writer.stdout.read().split(b"\n")[:-1]]
            writer.wait()
            assert said[0] > committed, f"batch {said[0]} was committed twice"
            batches = check_whole(index)
            assert batches[-1] in (said[-1], said[-1] + 1), f"{said[-1]} was said, {batches[-1]} is"
            assert batches == list(range(max(0, batches[-1] - KEPT + 1), batches[-1] + 1))
            committed = batches[-1]
            if kill % 10 == 9 or kill == kills - 1:
                findings = index.check()
                assert findings == [], findings
        searches = 0
        for reader in readers:
            out, error = reader.communicate()
            assert reader.returncode == 0, error.decode()
            searches += int(out)
        assert searches > 0
        print(
            f"killed {kills} times: {committed + 1} batches committed, none lost, none in part; "
            f"{READERS} readers made {searches} searches meanwhile"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", path]:
            write(path)
        case ["read", path]:
            read(path)
        case [kills]:
            main(int(kills))
        case _:
            sys.exit(__doc__)
