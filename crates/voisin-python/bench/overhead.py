"""What Python costs beside Rust: the same searches and the same load, in turns, in one run.

    cargo build --release -p voisin-python --example baseline
    python crates/voisin-python/bench/overhead.py FOLDER [BASELINE]

FOLDER has `glosses-384.f16` and `glosses-384.queries.f16`, as `bench/README.md` describes them, or
is `examples/data`, with 5 000 items. BASELINE is the program that was built: by default, that in
`target/release/examples`. The ratios are only worth something on a machine that does nothing else:
the spread of the turns tells.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import voisin

TURNS = 3
PASSES = 5
K = 10


def anonymous() -> int:
    """The anonymous memory of this process, in kB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


def best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(PASSES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def searches(index: voisin.Index, queries: np.ndarray) -> tuple[float, float]:
    rows = list(queries)

    def alone() -> None:
        for row in rows:
            index.search(row, K)

    together = best(lambda: index.search(queries, K).ids)
    return 1e6 * best(alone) / len(queries), 1e6 * together / len(queries)


def threads(index: voisin.Index, queries: np.ndarray) -> tuple[float, float]:
    rows = list(queries)

    def alone() -> None:
        for row in rows:
            index.search(row, K)

    def both() -> None:
        other = threading.Thread(target=alone)
        other.start()
        alone()
        other.join()

    return len(rows) / best(alone), 2 * len(rows) / best(both)


def load(path: Path, rows: np.ndarray) -> tuple[float, float]:
    index = voisin.create(path, 384)
    before = most = anonymous()

    def told(progress: voisin.Progress) -> None:
        nonlocal most
        most = max(most, anonymous())

    began = time.perf_counter()
    index.load(rows, progress=told)
    return time.perf_counter() - began, (most - before) / 1024


def imports() -> float:
    """Milliseconds that `import voisin` takes beyond `import numpy`."""
    program = "import time, numpy; b = time.perf_counter(); import voisin; print(time.perf_counter() - b)"
    done = [subprocess.check_output([sys.executable, "-c", program]) for _ in range(PASSES)]
    return 1e3 * min(map(float, done))


def main(folder: Path, baseline: Path) -> None:
    rows, queries = (
        np.fromfile(folder / name, "<f2").reshape(-1, 384).astype("float32")
        for name in ("glosses-384.f16", "glosses-384.queries.f16")
    )
    with tempfile.TemporaryDirectory(dir=".") as work:
        files = Path(work, "rows"), Path(work, "queries")
        rows.tofile(files[0])
        queries.tofile(files[1])

        def rust(what: str, path: Path, file: Path) -> tuple[float, float]:
            out = subprocess.check_output([baseline, what, path, file], text=True)
            one, two = map(float, out.split())
            return one, two

        print(f"import: {imports():.1f} ms beyond numpy")
        path = Path(work, "index")
        with voisin.create(path, 384) as index:
            index.load(rows)
        for turn in range(TURNS):
            theirs = rust("search", path, files[1])
            with voisin.open(path) as index:
                ours = searches(index, queries)
            print(
                f"turn {turn}: one query {theirs[0]:.2f} us in Rust, {ours[0]:.2f} us in Python, "
                f"{ours[0] - theirs[0]:+.2f} us; in a matrix {theirs[1]:.2f} and {ours[1]:.2f} us, "
                f"{100 * (ours[1] / theirs[1] - 1):+.1f} %"
            )
        for turn in range(TURNS):
            theirs = rust("threads", path, files[1])
            with voisin.open(path) as index:
                ours = threads(index, queries)
            print(
                f"turn {turn}: 2 threads {theirs[1] / theirs[0]:.2f} times 1 in Rust, "
                f"{ours[1] / ours[0]:.2f} times in Python"
            )
        for turn in range(TURNS):
            theirs = rust("load", Path(work, f"rust {turn}"), files[0])
            ours = load(Path(work, f"python {turn}"), rows)
            print(
                f"turn {turn}: load {theirs[0]:.2f} s in Rust, {ours[0]:.2f} s in Python, x "
                f"{ours[0] / theirs[0]:.3f}; anonymous {theirs[1]:.0f} MB and {ours[1]:.0f} MB"
            )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root = Path(__file__).parents[3]
    main(Path(sys.argv[1]), Path(*sys.argv[2:3] or [root / "target/release/examples/baseline"]))
