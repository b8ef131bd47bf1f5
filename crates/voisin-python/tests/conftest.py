from pathlib import Path
from typing import Any

import numpy as np
import pytest

import voisin

DATA = Path(__file__).parents[3] / "examples" / "data"


def glosses(name: str) -> np.ndarray[Any, Any]:
    """Real text embeddings, of unit length: 5 000 items, or 100 queries."""
    return np.fromfile(DATA / name, dtype="<f2").reshape(-1, 384)


@pytest.fixture(scope="session")
def embeddings() -> np.ndarray[Any, Any]:
    return glosses("glosses-384.f16").astype(np.float32)


@pytest.fixture(scope="session")
def queries() -> np.ndarray[Any, Any]:
    return glosses("glosses-384.queries.f16").astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
def index(folder: Path) -> Any:
    """An index of 4 dimensions that is verified at the end of the test."""
    index = voisin.create(folder, 4, metric="euclidean")
    yield index
    if not index.closed:
        assert index.check() == []


def rows(count: int, dimensions: int = 4, seed: int = 7) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
