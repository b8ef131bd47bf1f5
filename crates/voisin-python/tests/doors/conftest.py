"""Tests of the doors: `requirements.txt` has the libraries that they are compared with."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Threads of FAISS wait for each other, which takes long on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
DATA = HERE.parents[3] / "examples" / "data"


def glosses(name: str) -> np.ndarray[Any, Any]:
    """Real text embeddings, of unit length before rounding: 5 000 items, or 100 queries."""
    return np.fromfile(DATA / name, dtype="<f2").reshape(-1, 384).astype(np.float32)


@pytest.fixture(scope="session")
def embeddings() -> np.ndarray[Any, Any]:
    return glosses("glosses-384.f16")


@pytest.fixture(scope="session")
def queries() -> np.ndarray[Any, Any]:
    return glosses("glosses-384.queries.f16")


def rows(count: int, dimensions: int = 16, seed: int = 7) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def recall(found: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    """The share of the true labels, of shape `(n, k)`, that were found."""
    pairs = zip(found, true, strict=True)
    return sum(len(np.intersect1d(*pair)) for pair in pairs) / true.size


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Temporary folders of indexes, which must be gone when nobody uses them."""
    import gc
    import tempfile

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()


sys.path.insert(0, str(HERE))
