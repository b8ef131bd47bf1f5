"""The command `voisin` of the wheel: it is that of the native library, and ends as a program ends:
exit codes, both outputs, closed pipes, signals."""

import json
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DATA, rows

import voisin

SCRIPT = [str(Path(sysconfig.get_path("scripts")) / "voisin")]
MODULE = [sys.executable, "-m", "voisin"]


def run(*arguments: Any, by: list[str] = SCRIPT) -> subprocess.CompletedProcess[str]:
    command = [*by, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("by", [SCRIPT, MODULE], ids=["script", "module"])
def test_the_main_job_is_done_on_the_data_that_is_shipped(by, tmp_path):
    folder = tmp_path / "glosses"
    loaded = run(
        *("load", folder, DATA / "glosses-384.f16", "-d", 384, "--metric", "cosine"),
        *("--names", "texts", "--keys", DATA / "glosses.txt"),
        by=by,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert "5 000 vectors" in loaded.stdout
    with voisin.open(folder, read_only=True) as index:
        assert (len(index), index.id_type, index.metric) == (5000, "str", "cosine")
        ids = index.ids()
        found = run("--json", "search", folder, "--item", ids[7], "-k", 3, by=by)
        assert found.returncode == 0, found.stderr
        told = [hit["key"] for hit in json.loads(found.stdout)["neighbors"]]
        assert told == list(index.similar(ids[7], k=3).ids)


def test_codes_tell_how_it_ended(tmp_path, index):
    index.load(rows(100))
    version = run("--version")
    assert (version.returncode, version.stdout) == (0, f"voisin {voisin.__version__}\n")
    assert run("--help").returncode == 0
    no_command = run()
    assert no_command.returncode == 2 and "voisin --help" in no_command.stderr
    assert run("search", index.path, "--nonsense").returncode == 2
    assert run("get", index.path, "7").returncode == 0
    assert run("get", index.path, "1000").returncode == 1
    missing = run("inspect", tmp_path / "missing")
    assert (missing.returncode, missing.stdout) == (3, "") and "missing" in missing.stderr
    (tmp_path / "data.mdb").write_bytes(b"\xff" * 9000)
    assert run("check", tmp_path).returncode == 1
    assert run("stats", tmp_path).returncode == 4
    told = json.loads(run("--json", "inspect", tmp_path / "missing").stderr)
    assert (told["kind"], told["exit"]) == ("environment", 3)


def test_it_works_beside_an_index_that_this_process_has_open(index):
    index.load(rows(2000))
    row = ",".join(str(number) for number in rows(1, seed=9)[0])
    found = run("--json", "search", index.path, "--vector", row, "-k", 5)
    told = [hit["key"] for hit in json.loads(found.stdout)["neighbors"]]
    assert told == list(index.search(rows(1, seed=9)[0], k=5).ids)
    assert run("delete", index.path, told[0]).returncode == 0
    assert told[0] not in index


def test_a_reader_that_closes_its_pipe_ends_it_in_silence(index):
    index.load(rows(50_000))
    command = subprocess.Popen(
        [*SCRIPT, "list", str(index.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None and command.stderr is not None
    assert command.stdout.readline() == b"0\n"
    command.stdout.close()
    assert command.stderr.read() == b""
    command.stderr.close()
    assert command.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_one_line_and_nothing_half_done(number, index):
    index.load(rows(100))
    command = subprocess.Popen(
        [*SCRIPT, "load", str(index.path), "-", "--format", "f32", "--first-id", "100"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdin is not None and command.stderr is not None and command.stdout is not None
    command.stdin.write(rows(1000).tobytes())
    command.stdin.flush()
    # It reads from then on, and waits for more.
    time.sleep(2.0)
    command.send_signal(number)
    assert command.wait(60) == 130
    told = command.stderr.read()
    assert b"interrupted" in told and b"Traceback" not in told, told
    assert command.stdout.read() == b""
    for pipe in (command.stdin, command.stdout, command.stderr):
        pipe.close()
    assert len(index) == 100


def test_it_writes_and_reads_parquet(tmp_path, index):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    index.load(rows(500))
    file = tmp_path / "items.parquet"
    assert run("export", index.path, file).returncode == 0
    assert pyarrow.parquet.read_table(file).num_rows == 500
    copy = tmp_path / "copy"
    done = run("load", copy, file, "--metric", "l2")
    assert done.returncode == 0, done.stderr
    with voisin.open(copy) as other:
        assert np.array_equal(other.vectors(other.ids()), index.vectors(index.ids()))
