"""Classes of what voisin tells: hits, progress, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, overload

if TYPE_CHECKING:
    from voisin._voisin import Found, Index


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
class Certificate:
    """What an exact answer guarantees: of all `items` that may be results, in the state of
    `commit`, no other one is nearer by the definition of the metric, ties by id."""

    commit: int
    items: int
    compared: int
    """The number of them whose exact distance was computed."""
    ruled_out: int
    """The number of those that the error bound of their codes ruled out."""


@dataclass(frozen=True)
class Count:
    """The number of items within a radius: see `Query.count_within`."""

    items: int
    """The number, or the estimate."""
    low: int
    """The lower end of the interval in which the number is: in 95 % of all cases if it is
    estimated, certainly if it is not."""
    high: int
    """The upper end of that interval."""
    is_cancelled: bool
    """Whether a `CancelToken` or the deadline ended it: the interval holds for what was seen."""

    @property
    def is_exact(self) -> bool:
        """Whether the number is exact."""
        return self.low == self.high


@dataclass(frozen=True)
class Recall:
    """The recall of a query, measured by items of the index: see `Query.measure_recall`."""

    mean: float
    low: float
    """The lower end of its 95 % confidence interval."""
    high: float
    """The upper end of that interval."""
    queries: int
    """The number of queries that it was measured by."""


@dataclass(frozen=True)
class Group:
    """A group of items: see `Query.groups`."""

    group: Any
    """What the function has returned for its items."""
    hits: list[Hit]
    """Its items, the nearest first."""


@dataclass(frozen=True)
class Groups(Sequence[Group]):
    """The nearest groups, by their nearest items: see `Query.groups`. A sequence of `Group`."""

    groups: list[Group]
    is_cancelled: bool
    """Whether a `CancelToken` or the deadline ended the search: groups may be missing, or lack
    items."""
    timed_out: bool
    """Whether the deadline ended the search."""
    strategy: str
    """What answered: see `Found.strategy`."""

    @overload
    def __getitem__(self, at: int) -> Group: ...
    @overload
    def __getitem__(self, at: slice) -> list[Group]: ...
    def __getitem__(self, at: int | slice) -> Group | list[Group]:
        return self.groups[at]

    def __len__(self) -> int:
        return len(self.groups)

    def _repr_html_(self) -> str:
        from voisin._html import groups

        return groups(self)


@dataclass(frozen=True)
class Way:
    """A way to answer a query, which was taken alone: see `Query.explain`."""

    strategy: str
    """See `Found.strategy`."""
    is_chosen: bool
    """Whether a search takes this way."""
    changed_over: bool
    """Whether it has cost more than an exact answer would, which was given instead."""
    estimated: float | None
    """The seconds that the planner has estimated; None within a radius."""
    took: float
    """The seconds that it took."""
    lists: int
    distances: int
    estimates: int
    """Distances estimated from codes."""
    pages: int
    """Pages read from disk."""


@dataclass(frozen=True)
class Explanation:
    """How a query is answered: see `Query.explain`. It prints as a table."""

    answer: Found
    possible: int
    """The number of items that may be results."""
    ef: int
    """As given, or as it follows from `recall`."""
    recall: float | None
    """The goal of recall."""
    resolved_in: float
    """The seconds that it took to look up what the filters name."""
    ways: list[Way]
    """The ways to answer, the chosen one first."""
    text: str
    """The table."""

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.text)}</pre>"


@dataclass(frozen=True)
class ListStats:
    """The inverted lists of an index of the kind `"ivf"`."""

    lists: int
    smallest: int
    """The number of items of the smallest list."""
    largest: int
    imbalance: float
    """How many times as many items a search compares as if all lists were equally large."""
    trained_on: int
    """The number of items when the lists were made."""


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
    lists: ListStats | None
    """The inverted lists, if there are any."""
    structures: dict[str, dict[str, int | float]]
    """The figures of each structure beside the graph, by the name of the kind of index."""
    layers: list[LayerStats]
    index_kinds: list[str]
    """The kinds of index that it has."""
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

    def _repr_html_(self) -> str:
        from voisin._html import stats

        return stats(self)


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
    kinds: list[str] | None
    """The kinds of index that it has."""
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
