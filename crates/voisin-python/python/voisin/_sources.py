"""The sources of loads: arrays, files of numpy, tables of Arrow, Parquet files, iterables."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from voisin._arrays import as_vectors
from voisin.errors import _exception

_Opened = tuple["np.ndarray[Any, Any] | None", Any, Any]

# Rows that are read from a Parquet file at a time.
_BATCH_ROWS = 8192


def opened(data: Any, ids: Any, vectors: str | None) -> _Opened:
    """A matrix, its ids, and None; or two times None, and an iterable of pairs."""
    if isinstance(data, (str, os.PathLike)):
        return _file(os.fspath(data), ids, vectors)
    if _is_table(data):
        return None, None, _batches(data, ids, vectors)
    if vectors is not None:
        raise _refused("vectors= names a column, and this is no table: leave it out")
    if isinstance(data, np.ndarray) or _is_array(data):
        return as_vectors(data), ids, None
    if isinstance(data, (list, tuple)) and (ids is not None or not _is_pair(data)):
        return as_vectors(data), ids, None
    if ids is not None:
        raise _refused("an iterable has its ids in its pairs: leave ids= out, or give a matrix")
    return None, None, data


def _is_pair(rows: Any) -> bool:
    """Whether the first row is an id and a vector, and no row of numbers."""
    if not len(rows):
        return True
    first = rows[0]
    return (
        isinstance(first, (list, tuple))
        and len(first) == 2
        and (hasattr(first[1], "__len__") or hasattr(first[1], "__array__"))
    )


def _is_array(data: Any) -> bool:
    names = ("__array__", "__dlpack__", "__array_interface__", "__arrow_c_array__")
    if any(hasattr(data, name) for name in names) or hasattr(data, "__arrow_c_stream__"):
        return True
    try:
        memoryview(data).release()
    except TypeError:
        return False
    return True


def _is_table(data: Any) -> bool:
    """Whether this has columns: a table or a record batch of pyarrow, or a frame of another
    library that gives Arrow's."""
    if type(data).__module__.partition(".")[0] == "pyarrow":
        return hasattr(data, "schema") or hasattr(data, "column_names")
    return hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns")


def _file(path: str, ids: Any, vectors: str | None) -> _Opened:
    if path.endswith(".npy"):
        if vectors is not None:
            raise _refused("vectors= names a column, and this is no table: leave it out")
        # Mapped: its pages are read when they are needed.
        return as_vectors(np.load(path, mmap_mode="r", allow_pickle=False)), ids, None
    if path.endswith((".parquet", ".pq")):
        _pyarrow()
        parquet = importlib.import_module("pyarrow.parquet")
        columns = _columns(ids, vectors)
        batches = parquet.ParquetFile(path).iter_batches(_BATCH_ROWS, columns=list(columns))
        return None, None, _pairs(batches, *columns)
    raise _refused(f"{path!r} is no .npy and no .parquet file: read it, and give an array")


def _columns(ids: Any, vectors: str | None) -> tuple[str, str]:
    if ids is not None and not isinstance(ids, str):
        raise _refused("the ids of a table are one of its columns: give its name")
    return ids or "id", vectors or "vector"


def _batches(table: Any, ids: Any, vectors: str | None) -> Iterator[tuple[Any, Any]]:
    arrow = _pyarrow()
    if hasattr(table, "to_batches"):
        batches = table.to_batches()
    elif hasattr(table, "__arrow_c_stream__"):
        batches = arrow.RecordBatchReader.from_stream(table)
    else:
        batches = [table]
    return _pairs(batches, *_columns(ids, vectors))


def _pairs(batches: Any, ids: str, vectors: str) -> Iterator[tuple[Any, Any]]:
    for batch in batches:
        for column in (ids, vectors):
            if column not in batch.schema.names:
                known = ", ".join(batch.schema.names)
                raise _refused(f"there is no column {column!r}: use one of {known}")
        names = batch.column(ids)
        arrow = _pyarrow()
        is_text = arrow.types.is_string(names.type) or arrow.types.is_large_string(names.type)
        yield (
            names.to_pylist() if is_text else names.to_numpy(zero_copy_only=False),
            arrow_matrix(batch.column(vectors)),
        )


def arrow_matrix(data: Any) -> np.ndarray[Any, Any]:
    """A column of Arrow's lists as a matrix: a view of its values, where lists have one length by
    their type."""
    arrow = _pyarrow()
    if hasattr(data, "__arrow_c_array__") and not isinstance(data, arrow.Array):
        data = arrow.array(data)
    elif hasattr(data, "__arrow_c_stream__") and not isinstance(data, arrow.Array):
        data = arrow.chunked_array(data)
    if isinstance(data, arrow.ChunkedArray):
        data = data.chunk(0) if data.num_chunks == 1 else data.combine_chunks()
    if isinstance(data, arrow.ExtensionArray):
        data = data.storage
    if data.null_count:
        raise _refused(f"{data.null_count} rows of the column have no vector: leave them out")
    kind = data.type
    if arrow.types.is_fixed_size_list(kind):
        width = kind.list_size
    elif arrow.types.is_list(kind) or arrow.types.is_large_list(kind):
        lengths = np.unique(np.diff(data.offsets.to_numpy()))
        if len(lengths) > 1:
            raise _refused("the lists of the column have several lengths: give rows of one")
        width = int(lengths[0]) if len(lengths) else 0
    else:
        # Numbers: one vector.
        return np.asarray(data.to_numpy(zero_copy_only=False))
    values = data.flatten()
    if values.null_count:
        raise _refused("a vector of the column has a null component: give numbers")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(data), width)


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        message = "tables, columns and Parquet files need pyarrow: pip install voisin[arrow]"
        raise _refused(message) from error


def _refused(message: str) -> Exception:
    return _exception("InvalidParameter", "caller", message, None, None)
