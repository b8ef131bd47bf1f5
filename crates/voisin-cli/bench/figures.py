"""The figures that the command has to reach. The machine should do nothing else meanwhile:

- loading a million rows of 128 f32 from .npy, fvecs and parquet, against the engine's own time for
  the same rows in memory, and the anonymous memory of a load with a budget;
- the time from the start of `voisin inspect` on a thousand indexes to its first byte;
- the time and the length of `voisin report` of a million items;
- `voisin bench` against `compare`, by the best of its rounds at each effort, on the sets of DATA.

    python3 crates/voisin-cli/bench/figures.py DATA [--rows N] [--passes N] [--indexes N]
        [--figures FILE]

DATA is the folder that `compare` takes (bench/README.md). `--figures` has the figures of a run of
`compare -- quick` on this machine; without it, one is made, of voisin alone. It prints a table, and
exits non-zero if a goal is missed. Linux, and Python 3.11 or newer; no packages.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
TARGET = Path(
    json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--no-deps"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
    )["target_directory"]
)
VOISIN = TARGET / "release" / "voisin"
ENGINE = TARGET / "release" / "examples" / "engine"
MEMORY = "512M"
MEMORY_BYTES = 512 << 20
# What a process has before it loads anything.
OWN_BYTES = 24 << 20
STARTS = 21


class Table:
    """Figures with their goals, printed as they come."""

    def __init__(self) -> None:
        self.is_missed = False
        print("| what | found | goal | |")
        print("|---|---|---|---|")

    def add(self, what: str, found: str, goal: str, is_met: bool) -> None:
        self.is_missed |= not is_met
        print(f"| {what} | {found} | {goal} | {'met' if is_met else 'MISSED'} |", flush=True)


def run(*line: object, **more: object) -> str:
    """The output of a command that succeeds."""
    done = subprocess.run([str(word) for word in line], check=True, stdout=subprocess.PIPE, **more)
    return done.stdout.decode()


def timed(*line: object) -> float:
    """The seconds that a command takes, from its start to its end."""
    began = time.perf_counter()
    run(*line)
    return time.perf_counter() - began


def peak_anonymous(*line: object) -> int:
    """The most anonymous memory that a command has, in bytes, read every 5 milliseconds."""
    process = subprocess.Popen([str(word) for word in line], stdout=subprocess.DEVNULL)
    most = 0

    def watch() -> None:
        nonlocal most
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            for entry in status.splitlines():
                if entry.startswith("RssAnon:"):
                    most = max(most, int(entry.split()[1]) << 10)
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    watcher.join()
    if process.wait() != 0:
        raise SystemExit(f"{line} has failed")
    return most


def loads(table: Table, scratch: Path, rows: int, passes: int) -> Path:
    """Loads in turn with the engine. Returns an index of all rows."""
    run(ENGINE, "rows", scratch, rows)
    kept = scratch / "kept"
    run(VOISIN, "load", kept, scratch / "rows.npy", "--metric", "euclidean", "--quiet")
    run(VOISIN, "export", kept, scratch / "rows.parquet", "--quiet")
    files = ["rows.npy", "rows.fvecs", "rows.parquet"]
    own: list[float] = []
    times: dict[str, list[float]] = {file: [] for file in files}
    for turn in range(passes):
        index = scratch / f"index {turn}"
        own.append(float(run(ENGINE, "load", scratch / "rows.f32", index)))
        run("rm", "-r", index)
        for file in files:
            line = [VOISIN, "load", index, scratch / file, "--metric", "euclidean", "--quiet"]
            times[file].append(timed(*line))
            run("rm", "-r", index)
    base = statistics.median(own)
    for file in files:
        ratio = statistics.median(times[file]) / base
        found = f"{statistics.median(times[file]):.2f} s, {ratio:.3f} x {base:.2f} s"
        table.add(f"load {rows} x 128, {file}", found, "1.05 x", ratio <= 1.05)
    for file in files:
        index = scratch / "within"
        line = [VOISIN, "load", index, scratch / file, "--metric", "euclidean", "--quiet"]
        peak = peak_anonymous(*line, "--memory", MEMORY)
        run("rm", "-r", index)
        goal = f"{MEMORY} and {OWN_BYTES >> 20} of its own"
        found = f"{peak / 2**20:.0f} MiB"
        is_met = peak <= MEMORY_BYTES + OWN_BYTES
        table.add(f"memory of that, --memory {MEMORY}, {file}", found, goal, is_met)
    return kept


def first_byte(table: Table, scratch: Path, indexes: int) -> None:
    """From the start of `inspect` to its first byte."""
    folder = scratch / "many"
    run(ENGINE, "many", folder, indexes)
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with subprocess.Popen([VOISIN, "inspect", folder], stdout=subprocess.PIPE) as process:
            process.stdout.read(1)
            times.append(time.perf_counter() - began)
            process.stdout.read()
    found = statistics.median(times) * 1000
    what = f"start to first byte of inspect, {indexes} indexes"
    table.add(what, f"{found:.1f} ms", "50 ms", found <= 50)


def report(table: Table, scratch: Path, index: Path, rows: int) -> None:
    page = scratch / "report.html"
    took = timed(VOISIN, "report", index, page)
    length = page.stat().st_size
    table.add(f"report of {rows} items", f"{took:.2f} s", "10 s", took <= 10)
    table.add("its length", f"{length / 1000:.0f} kB", "2000 kB", length <= 2_000_000)


def bench(table: Table, scratch: Path, data: Path, figures: Path | None) -> None:
    """Each effort of `compare`, with the command."""
    if figures is None:
        line = ["cargo", "run", "--release", "-p", "voisin-bench", "--bin", "compare", "--"]
        line += ["quick", str(data), "--engines", "voisin", "--sets", "photos,glosses"]
        # It exits non-zero where goals are missed, as those against absent peers are.
        subprocess.run(line, cwd=ROOT, stdout=subprocess.DEVNULL)
        figures = TARGET / "compare" / "part" / "figures.json"
    sets = {"photos": ("photo-sift-128", "u8", 128), "glosses": ("glosses-384", "f16", 384)}
    for found in json.loads(figures.read_text())["sets"]:
        name, form, dimensions = sets[found["short"]]
        index = scratch / found["short"]
        line = [VOISIN, "load", index, data / f"{name}.{form}", "--metric", found["metric"], "-q"]
        run(*line, "-d", dimensions, "--ef-construction", 200)
        engine = next(engine for engine in found["engines"] if engine["name"] == "voisin")
        for curve in engine["curves"]:
            efforts = [str(point["knob"]) for point in curve["points"]]
            queries = data / f"{name}.queries.{form}"
            line = [VOISIN, "bench", index, "--queries", queries, "--json", "--rounds", 5]
            line += ["--threads", curve["threads"], "--ef", ",".join(efforts)]
            for point, text in zip(curve["points"], run(*line).splitlines()):
                own = json.loads(text)
                speed, recall = max(own["rounds"]) / point["qps"], own["recall"]
                what = f"bench, {found['short']}, {curve['threads']} threads, ef {point['knob']}"
                shown = f"{speed:.3f} x the speed, recall {recall:.4f} for {point['recall']:.4f}"
                is_met = abs(speed - 1) <= 0.05 and abs(recall / point["recall"] - 1) <= 0.05
                table.add(what, shown, "within 5 %", is_met)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--indexes", type=int, default=1000)
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    line = ["cargo", "build", "--release", "-p", "voisin-cli", "--bin", "voisin"]
    subprocess.run([*line, "--example", "engine"], cwd=ROOT, check=True)
    table = Table()
    # Not in /tmp, which may be in memory.
    with tempfile.TemporaryDirectory(dir=TARGET) as folder:
        scratch = Path(folder)
        index = loads(table, scratch, options.rows, options.passes)
        first_byte(table, scratch, options.indexes)
        report(table, scratch, index, options.rows)
        bench(table, scratch, options.data, options.figures)
    sys.exit(table.is_missed)


if __name__ == "__main__":
    main()
