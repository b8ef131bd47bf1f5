"""What callers of `voisin.faiss` choose: metrics, flags, parameters of searches, where indexes are
made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import voisin

METRIC_INNER_PRODUCT, METRIC_L2, METRIC_L1 = 0, 1, 2
METRICS = {METRIC_INNER_PRODUCT: "dot product", METRIC_L2: "euclidean", METRIC_L1: "manhattan"}

IO_FLAG_READ_ONLY = 2
# What is read is always mapped.
IO_FLAG_MMAP = 0x646F0000 | 8

Ints = npt.NDArray[np.int64]
Place = str | os.PathLike[str]

_parent: Path | None = None


def parent() -> Path | None:
    """The folder in which indexes are made, if one was chosen."""
    return _parent


class Error(voisin.CallerError, RuntimeError):
    """What FAISS refuses by a `RuntimeError`, or would get wrong."""


def refused(message: str) -> Error:
    error = Error(message)
    error.kind, error.remedy = "InvalidParameter", message.rpartition(": ")[2]
    return error


def configure(
    server: str | None = None,
    api_key: str | None = None,
    tenant_id: str | None = None,
    *,
    path: Place | None = None,
) -> None:
    """Chooses where indexes are made from now on.

    Args:
        server, api_key, tenant_id: those of FAISSx. voisin has no remote mode yet: an `Error`.
        path: the folder in which each index gets a folder of its own, such as one of a large disk,
            or `/dev/shm` for indexes in memory. None for the system's folder of temporary files.
    """
    global _parent
    if server is not None or api_key is not None or tenant_id is not None:
        raise refused(
            "voisin.faiss has no remote mode yet, so that there is no server to configure: leave "
            "server=, api_key= and tenant_id= out, and share a folder between processes by "
            "voisin.open"
        )
    if path is not None:
        Path(path).mkdir(parents=True, exist_ok=True)
    _parent = None if path is None else Path(path)


class IDSelector:
    """A set of labels, for searches (`SearchParameters`) and `remove_ids`."""

    def is_member(self, id: int) -> bool:
        """Whether a label is one of the set."""
        return bool(self._holds(np.array([id], dtype=np.int64))[0])

    def _holds(self, labels: Ints) -> npt.NDArray[np.bool_]:
        raise NotImplementedError


class IDSelectorBatch(IDSelector):
    """The labels of an array or a list.

    >>> IDSelectorBatch([3, 5]).is_member(5)
    True
    """

    def __init__(self, indices: Any) -> None:
        self._indices = np.asarray(indices, dtype=np.int64).ravel()

    def _holds(self, labels: Ints) -> npt.NDArray[np.bool_]:
        return np.isin(labels, self._indices)


IDSelectorArray = IDSelectorBatch


class IDSelectorRange(IDSelector):
    """The labels from `imin`, and below `imax`."""

    def __init__(self, imin: int, imax: int) -> None:
        self.imin, self.imax = imin, imax

    def _holds(self, labels: Ints) -> npt.NDArray[np.bool_]:
        return (labels >= self.imin) & (labels < self.imax)


class IDSelectorNot(IDSelector):
    """The labels that another set has not."""

    def __init__(self, sel: IDSelector) -> None:
        self.sel = sel

    def _holds(self, labels: Ints) -> npt.NDArray[np.bool_]:
        return ~self.sel._holds(labels)


class SearchParameters:
    """Parameters of one search: the labels that may be found."""

    def __init__(self, *, sel: IDSelector | None = None) -> None:
        self.sel = sel


class SearchParametersIVF(SearchParameters):
    """Parameters of one search of inverted lists."""

    def __init__(self, *, sel: IDSelector | None = None, nprobe: int = 1) -> None:
        super().__init__(sel=sel)
        self.nprobe = nprobe


class SearchParametersHNSW(SearchParameters):
    """Parameters of one search of a graph."""

    def __init__(self, *, sel: IDSelector | None = None, efSearch: int = 16) -> None:
        super().__init__(sel=sel)
        self.efSearch = efSearch
