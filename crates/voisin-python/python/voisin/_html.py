"""What notebooks show: small tables, without a style of their own, in which all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voisin._types import Groups, Stats
    from voisin._voisin import FoundMany, Index

# Rows of a matrix, and hits of each, that are shown.
_ROWS = 10
_HITS = 5


def table(caption: str, rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    """A table, with the first column as its heads if it has none."""
    html = f"<table><caption>{escape(caption)}</caption>"
    if heads:
        html += "<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"
    for row in rows:
        cells = [escape(str(cell)) for cell in row]
        if heads:
            html += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        else:
            html += f"<tr><th>{cells[0]}</th><td>{', '.join(cells[1:])}</td></tr>"
    return html + "</table>"


def _hits(hits: Iterable[Any]) -> str:
    return ", ".join(f"{id!r} ({distance:.6f})" for id, distance in hits)


def index(of: Index) -> str:
    """An index, as far as it costs nothing to know."""
    rows: list[tuple[str, object]] = [("folder", of.path)]
    if not of.closed:
        rows += [("items", len(of)), ("pending", of.pending), ("kinds", ", ".join(of.kinds()))]
        fields = ", ".join(f"{name}: {type}" for name, type in of.fields().items())
        rows += [("fields", fields)] if fields else []
    rows += [
        ("vectors", f"{of.dimensions} x {of.dtype}"),
        ("metric", of.metric),
        ("ids", of.id_type),
    ]
    return table(f"Index {of.name}{', closed' if of.closed else ''}", rows)


def found_many(found: FoundMany) -> str:
    """The answers to the first rows of a matrix."""
    shown = [found[row] for row in range(min(len(found), _ROWS))]
    rows: list[tuple[object, ...]] = []
    for number, answer in enumerate(shown):
        hits = _hits(answer[at] for at in range(min(len(answer), _HITS)))
        rows.append((number, len(answer), hits + (", ..." if len(answer) > _HITS else "")))
    if len(found) > _ROWS:
        rows.append(("...", "", ""))
    return table(f"{len(found)} answers", rows, ("row", "items", "nearest (distance)"))


def groups(found: Groups) -> str:
    """Groups with their first hits."""
    rows = [(repr(group.group), len(group.hits), _hits(group.hits[:_HITS])) for group in found]
    return table(f"{len(found)} groups", rows, ("group", "items", "nearest (distance)"))


def stats(of: Stats) -> str:
    """Statistics: what `repr` tells, and the bytes of each kind of value."""
    codes = f"{of.codes.bits} bits, error {of.codes.error:.3f}" if of.codes else "none"
    rows: list[tuple[object, ...]] = [
        ("items", of.items),
        ("pending", of.pending),
        ("removed", of.removed),
        ("vectors", f"{of.dimensions} x {of.dtype}"),
        ("kinds", ", ".join(of.index_kinds)),
        ("graph", f"M {of.m}, M0 {of.m0}, ef_construction {of.ef_construction}"),
        ("codes", codes),
        ("records", f"{of.records}, {of.record_bytes} bytes"),
        ("bytes", f"{of.bytes}, {of.hot_bytes} of them hot, in a file of {of.file.file_bytes}"),
    ]
    rows += [("warning", warning) for warning in of.warnings]
    kinds = [(kind, values, size) for kind, (values, size) in of.kinds.items() if values]
    return table("Stats", rows) + table("Values", kinds, ("kind", "values", "bytes"))
