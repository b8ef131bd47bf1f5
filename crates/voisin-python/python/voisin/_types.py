"""Classes of what voisin tells: hits, progress, statistics."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from voisin._voisin import Index


class Hit(NamedTuple):
    """An item that a search has found."""

    id: Any
    """The id: an int or a str."""
    distance: float
    """The distance, in the unit of the metric: smaller is nearer."""


class Progress(NamedTuple):
    """How far a load is."""

    phase: str
    """`"reading"`, `"ordering"`, `"adding"`, `"linking"` or `"writing"`."""
    done: int
    """How many items (or values, when writing) are done."""
    total: int | None
    """How many there are; None while they are read."""
    rounds_done: int
    """How many rounds of linking are committed."""
    rounds: int
    """How many rounds there will be, as far as it is known."""
    remaining: float | None
    """The seconds that the rest will take, as far as it is known."""
    memory_bytes: int
    """The memory that the load takes at most, as estimated from the sizes."""
    disk_bytes: int
    """The room on disk that the load takes, as estimated from the sizes."""


@dataclass(frozen=True)
class Finding:
    """A violation of an invariant of an index: see `Index.check`."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


@dataclass(frozen=True)
class CodeStats:
    """The quantized codes of an index."""

    bits: int
    """Bits a component."""
    trained_on: int
    """The number of vectors that they were trained on."""
    older: int
    """Codes that are still those of the training before."""
    drift: float
    """The spread of the vectors over that of the training: 1 if they are alike."""
    error: float
    """The relative error of the codes."""


@dataclass(frozen=True)
class RangeStats:
    """The range of an index of `dtype="i8"`."""

    lowest: float
    highest: float
    step: float
    """The difference between consecutive stored numbers."""
    error: float
    """The relative error of a component that is rounded."""
    saturated: float
    """The share of components beyond the range."""


@dataclass(frozen=True)
class LayerStats:
    """A layer of the graph; the first one is the base."""

    nodes: int
    edges: int
    degrees: list[int]
    """The number of nodes with 0, 1, 2, ... edges."""
    one_way_edges: int
    list_bytes: int
    tree_depth: int


@dataclass(frozen=True)
class FileStats:
    """The file of an index, with everything else in it."""

    file_bytes: int
    map_bytes: int
    page_bytes: int
    pages: int
    free_pages: int | None
    """Pages that are free to be used again."""
    last_commit: int
    oldest_reader: tuple[int, int] | None
    """The oldest reader of all processes: the process, and how many commits it is behind."""
    readers: int
    max_readers: int


@dataclass(frozen=True)
class Stats:
    """An index in numbers: see `Index.stats`."""

    items: int
    pending: int
    """Items that are not in the graph yet: every search compares each of them."""
    removed: int
    """Deleted items that are still in the graph, and in no answer."""
    slots: int
    free_slots: int
    dimensions: int
    dtype: str
    m: int
    m0: int
    ef_construction: int
    alpha: float
    codes: CodeStats | None
    range: RangeStats | None
    layers: list[LayerStats]
    records: int
    """Items that have a record."""
    record_bytes: int
    """Bytes of all records."""
    kinds: dict[str, tuple[int, int]]
    """The number of values of each kind, and their bytes."""
    bytes: int
    """Bytes of all values of the index."""
    hot_bytes: int
    """Bytes that searches read from all over the index, which should fit into memory."""
    cold_bytes: int
    memory_bytes: int
    """The memory that the index counts on."""
    file: FileStats
    warnings: list[str]
    """What costs recall or time, with remedies."""

    def __repr__(self) -> str:
        codes = f"codes of {self.codes.bits} bits" if self.codes else "no codes"
        lines = [
            f"<Stats: {self.items} items of {self.dimensions} x {self.dtype}, {self.pending} "
            f"pending, {self.removed} removed",
            f"  M {self.m}, M0 {self.m0}, ef_construction {self.ef_construction}, {codes}",
            f"  {self.bytes} bytes ({self.hot_bytes} hot) in a file of {self.file.file_bytes}",
        ]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines) + ">"


@dataclass(frozen=True)
class Inspected:
    """An index that `inspect` has found. What follows from its metadata is None if these cannot be
    read; `error` says why."""

    name: str | None
    id_type: str
    bytes: int
    values: int
    metric: str | None
    dtype: str | None
    dimensions: int | None
    code_bits: int | None
    connectivity: tuple[int, int] | None
    items: int | None
    pending: int | None
    removed: int | None
    format_version: int | None
    error: str | None


def _opened(path: str | PathLike[str], keywords: dict[str, Any]) -> Index:
    """Opens an index that was pickled, in the process that it has come to."""
    from voisin._voisin import open

    return open(path, **keywords)
