"""Threads, forks, spawned processes, asyncio, and signals."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from conftest import rows

import voisin


def nearest(index: voisin.Index, row: int) -> int:
    """Runs in other processes."""
    return int(index.search(rows(1000)[row], k=1).ids[0])


def test_an_index_is_passed_to_spawned_processes(index):
    index.load(rows(1000))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(nearest, [index] * 20, range(20))) == list(range(20))


def test_a_fork_is_told_to_open_its_own(index):
    """A fork of a process that has an index open cannot use it, and is told so: LMDB's locks are
    not inherited. One that forks first opens its own."""
    index.load(rows(100))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = "nothing was raised"
        try:
            index.search(rows(1)[0])
        except voisin.Forked as error:
            text = f"{error.kind}: {error.remedy}"
        except BaseException as error:
            text = repr(error)
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read().startswith("Forked: open indexes after forking")
    assert os.waitpid(child, 0)[1] == 0
    assert index.search(rows(1)[0], k=1)[0].id == 0


FORKS_FIRST = """
import multiprocessing, sys, voisin
def work(number):
    index = voisin.open(sys.argv[1])
    return int(index.search(index[number], k=1).ids[0])
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(20)) == list(range(20)))
"""


def test_processes_that_fork_first_open_their_own(index):
    index.load(rows(100))
    done = subprocess.run(
        [sys.executable, "-c", FORKS_FIRST, index.path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n", done.stderr


def test_threads_search_while_one_writes(index):
    index.load(rows(1000))
    is_over = threading.Event()

    def searches(number: int) -> int:
        count = 0
        while not is_over.is_set() or count < 10:
            row = (number + count) % 1000
            assert index.search(rows(1000)[row], k=1)[0].id == row
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        counts = [pool.submit(searches, number) for number in range(4)]
        try:
            for turn in range(20):
                index.add(range(1000, 1020), rows(20, seed=turn) + 100.0)
        finally:
            is_over.set()
        assert all(count.result() >= 10 for count in counts)


def test_the_interpreter_is_free_during_long_calls(index):
    """Another thread of Python runs while one is in a call, of each kind."""
    index.load(rows(20_000))

    def runs_beside(call) -> bool:
        ticks = 0
        is_over = threading.Event()

        def ticking() -> None:
            nonlocal ticks
            while not is_over.is_set():
                ticks += 1
                time.sleep(0)

        thread = threading.Thread(target=ticking)
        thread.start()
        while ticks == 0:
            time.sleep(0)
        before = ticks
        call()
        after = ticks
        is_over.set()
        thread.join()
        return after > before

    many = rows(20_000)
    assert runs_beside(lambda: index.search(many[:2000], k=10, exact=True))
    assert runs_beside(lambda: index.search(many, k=10))
    assert runs_beside(index.check)
    assert runs_beside(index.stats)
    assert runs_beside(index.optimize)
    assert runs_beside(lambda: index.add(range(20_000, 22_000), many[:2000]))


def test_asyncio_awaits_searches(index):
    index.load(rows(1000))

    async def main() -> None:
        found = await asyncio.gather(*(index.asearch(row, k=1) for row in rows(50)))
        assert [one[0].id for one in found] == list(range(50))
        matrix = await index.asearch(rows(50), k=2, exact=True)
        assert matrix.ids[:, 0].tolist() == list(range(50))
        with pytest.raises(voisin.DimensionMismatch):
            await index.asearch([1.0])
        token = voisin.CancelToken()
        asked = threading.Event()

        def forever(id: int) -> bool:
            asked.set()
            return False

        slow = asyncio.create_task(
            index.asearch(rows(20_000, seed=1), exact=True, filter=forever, cancel=token)
        )
        while not asked.is_set():
            await asyncio.sleep(0.001)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert token.is_cancelled

    asyncio.run(main())


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import voisin

# A shell that starts programs in the background starts them with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
index = voisin.open(sys.argv[1])
before = index.ids().tolist()
rng = np.random.default_rng(1)
many = rng.normal(size=(60_000, 4)).astype("float32")
new = range(1_000_000, 1_060_000)

def interrupt_soon(seconds):
    threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT)).start()

def pairs():
    i = 0
    while True:
        yield 1_000_000 + i, many[i % 60_000]
        i += 1

def batch():
    with index.batch() as batch:
        batch.add(new, many)

# Much more than the time of this test suffices for.
times = {"search": 100, "predicate": 20, "load": 5}.get(sys.argv[2], 1)
tiled = np.tile(many, (times, 1))
calls = {
    "search": lambda: index.search(tiled, k=100, exact=True),
    "predicate": lambda: [index.search(row, filter=lambda id: False) for row in tiled],
    "load": lambda: index.load(tiled, ids=range(1_000_000, 1_300_000)),
    "pairs": lambda: index.load(pairs()),
    "add": lambda: index.add(new, many),
    "batch": batch,
}
began = time.monotonic()
interrupt_soon(float(sys.argv[3]))
try:
    calls[sys.argv[2]]()
except KeyboardInterrupt:
    print("interrupted")
else:
    print("ended")
assert index.ids().tolist() == before
assert index.check() == []
print("whole")
"""


@pytest.mark.parametrize("call", ["search", "predicate", "load", "pairs", "add", "batch"])
def test_control_c_ends_a_call_with_nothing_half_done(index, call):
    index.load(rows(3000))
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(index.path), call, "0.6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "interrupted\nwhole\n", done.stderr
    assert len(index) == 3000


HOLDS = """
import sys, time, voisin
index = voisin.open(sys.argv[1])
def slow(record):
    print("it writes", flush=True)
    time.sleep(600)
index.update_records({"field": "n", "eq": 1}, slow)
"""

WAITS = """
import os, signal, sys, threading, time, voisin
signal.signal(signal.SIGINT, signal.default_int_handler)
index = voisin.open(sys.argv[1])
calls = {
    "add": lambda: index.add(8, [0.0] * 4),
    "load": lambda: index.load([[0.0] * 4] * 3),
    "delete": lambda: index.delete(1),
    "erase": lambda: index.erase(1),
    "link": lambda: index.link(),
    "folder": lambda: index.folder().table("new"),
    "create": lambda: voisin.create(sys.argv[1], 4, name="new"),
}
for name, call in calls.items():
    began = time.monotonic()
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        call()
        print(name, "ended")
    except KeyboardInterrupt:
        print(name, "interrupted" if time.monotonic() - began < 60 else "late")
print(len(index), flush=True)
sys.stdin.readline()
index.add(9, [0.0] * 4)
print(index.ids().tolist(), index.check())
"""


def test_control_c_ends_a_wait_for_a_writing_process(index):
    index.add_field("n", int)
    index.add([1, 2], rows(2), [{"n": 1}, {"n": 2}])
    index.add(3, rows(1), link=False)

    def start(program: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", program, str(index.path)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    holder = start(HOLDS)
    assert holder.stdout.readline() == "it writes\n"
    waiter = start(WAITS)
    for name in ("add", "load", "delete", "erase", "link", "folder", "create"):
        assert waiter.stdout.readline() == f"{name} interrupted\n"
    assert waiter.stdout.readline() == "3\n"
    # The writer is gone, and its lock with it.
    holder.kill()
    holder.communicate()
    out, _ = waiter.communicate("go on\n", timeout=120)
    assert out == "[1, 2, 3, 9] []\n" and waiter.returncode == 0
    assert voisin.Folder(index.path).names() == ["main"]


def test_a_signal_ends_a_wait_for_a_writing_thread(index):
    index.add_field("n", int)
    index.add(1, rows(1), [{"n": 1}])
    entered, leave = threading.Event(), threading.Event()

    def slow(record: object) -> None:
        entered.set()
        leave.wait(120)

    thread = threading.Thread(target=lambda: index.update_records({"field": "n", "eq": 1}, slow))
    thread.start()
    assert entered.wait(120)

    def handler(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(TimeoutError):
            index.add(2, rows(1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        leave.set()
        thread.join()
    index.add(3, rows(1))
    assert index.ids().tolist() == [1, 3]


@pytest.mark.parametrize("holder", ["thread", "process"])
def test_a_batch_waits_for_another_writer_for_its_timeout(index, holder):
    index.add_field("n", int)
    index.add([1, 2], rows(2), [{"n": 1}, {"n": 2}])
    folder = voisin.Folder(index.path)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(voisin.InvalidParameter, match="timeout is .* s: use seconds from 0 on"):
            index.batch(timeout=wrong)
        with pytest.raises(voisin.InvalidParameter, match="timeout is .* s: use seconds from 0 on"):
            folder.write(timeout=wrong)
    leave = threading.Event()
    if holder == "thread":
        entered = threading.Event()

        def slow(record: object) -> None:
            entered.set()
            leave.wait(120)

        thread = threading.Thread(
            target=lambda: index.update_records({"field": "n", "eq": 1}, slow)
        )
        thread.start()
        assert entered.wait(120)
    else:
        command = [sys.executable, "-c", HOLDS, str(index.path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "it writes\n"
    try:
        for begin in (lambda: index.batch(timeout=0.2), lambda: folder.write(timeout=0.2)):
            write = begin()
            (write if isinstance(write, voisin.Batch) else write["main"]).add(7, rows(1)[0])
            with pytest.raises(voisin.WriteTimeout, match="within 0.2 s.*: try again") as raised:
                write.commit()
            error = raised.value
            assert isinstance(error, TimeoutError) and isinstance(error, voisin.OperatorError)
            assert (error.value, error.responsible) == (0.2, "operator")
    finally:
        leave.set()
        if holder == "thread":
            thread.join()
        else:
            process.kill()
            process.communicate()
    assert index.ids().tolist() == [1, 2]
    with index.batch(timeout=60.0) as batch:
        batch.add(8, rows(1)[0])
    with folder.write(timeout=60) as txn:
        txn["main"].add(9, rows(1)[0])
    assert index.ids().tolist() == [1, 2, 8, 9]


def test_a_killed_process_leaves_a_whole_index(index):
    """The short form of `killed.py`."""
    count = os.environ.get("VOISIN_KILLS", "10")
    script = os.path.join(os.path.dirname(__file__), "killed.py")
    done = subprocess.run(
        [sys.executable, script, count], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"killed {count} times" in done.stdout


def test_a_process_that_ends_with_an_open_index_ends_well(index):
    """Also while a daemon thread is in the middle of a search."""
    index.load(rows(3000))
    program = """
import sys, threading, numpy, voisin
index = voisin.open(sys.argv[1])
matrix = numpy.random.default_rng(1).normal(size=(200_000, 4))
threading.Thread(target=lambda: index.search(matrix, exact=True), daemon=True).start()
snapshot = index.snapshot()
print(len(snapshot))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(index.path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "3000\n"), done.stderr


def test_signals_have_their_own_handlers_too(index):
    """A handler that raises something else than KeyboardInterrupt ends a search with that."""
    index.load(rows(20_000))

    def handler(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(TimeoutError):
            while True:
                index.search(rows(20_000, seed=3), k=100, exact=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
