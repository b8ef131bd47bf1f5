"""The sources of loads: arrays, files of numpy, tables of Arrow, Parquet files, iterables."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from voisin._arrays import as_vectors
from voisin.errors import _exception

# A matrix, its ids and its records; and None, or an iterable of rows, and three times None.
_Opened = tuple["np.ndarray[Any, Any] | None", Any, Any, Any]

# Rows that are read from a Parquet file at a time.
_BATCH_ROWS = 8192


def opened(data: Any, ids: Any, vectors: str | None, records: Any) -> _Opened:
    """What the native module loads of what a caller gives."""
    if data is None:
        raise _refused("None has no rows: give a matrix, a file, a table or an iterable")
    if isinstance(data, (str, os.PathLike)):
        return _file(os.fspath(data), ids, vectors, records)
    if _is_table(data):
        return _rows(_batches(data, _columns(ids, vectors, records)))
    if vectors is not None:
        raise _refused("vectors= names a column, and this is no table: leave it out")
    if isinstance(data, np.ndarray) or _is_array(data):
        return _matrix(data, ids, records)
    if isinstance(data, (list, tuple)) and (ids is not None or not _is_pair(data)):
        return _matrix(data, ids, records)
    if ids is not None or records is not None:
        raise _refused(
            "an iterable has its ids and records in its rows: leave ids= and records= out, or "
            "give a matrix"
        )
    return _rows(data)


def _rows(rows: Any) -> _Opened:
    return None, None, None, rows


def _matrix(data: Any, ids: Any, records: Any) -> _Opened:
    matrix = as_vectors(data)
    if records is not None:
        if isinstance(records, (str, bytes, dict, bool)):
            raise _refused("the records of a matrix are an iterable of one for each row: give one")
        if hasattr(records, "__len__") and matrix.ndim == 2 and len(records) != len(matrix):
            message = f"{len(matrix)} rows and {len(records)} records: give as many records as rows"
            raise _exception("LengthMismatch", "caller", message, len(records), len(matrix))
    return matrix, ids, records, None


def _is_pair(rows: Any) -> bool:
    """Whether the first row is an id and a vector, or also a record, and no row of numbers."""
    if not len(rows):
        return True
    first = rows[0]
    return (
        isinstance(first, (list, tuple))
        and len(first) in (2, 3)
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


def _file(path: str, ids: Any, vectors: str | None, records: Any) -> _Opened:
    if path.endswith((".npy", ".parquet", ".pq")) and not os.path.exists(path):
        message = f"there is no file {path!r} to load: give the path of one, or an array"
        raise _exception("MissingFile", "caller", message, path, None)
    if path.endswith(".npy"):
        if vectors is not None:
            raise _refused("vectors= names a column, and this is no table: leave it out")
        # Mapped: its pages are read when they are needed.
        return _matrix(np.load(path, mmap_mode="r", allow_pickle=False), ids, records)
    if path.endswith((".parquet", ".pq")):
        _pyarrow()
        parquet = importlib.import_module("pyarrow.parquet")
        columns = _columns(ids, vectors, records)
        only = None if columns.records is True else list(columns.names())
        batches = parquet.ParquetFile(path).iter_batches(_BATCH_ROWS, columns=only)
        return _rows(_pairs(batches, columns))
    raise _refused(f"{path!r} is no .npy and no .parquet file: read it, and give an array")


class _Columns(NamedTuple):
    """The columns of a table that are loaded."""

    ids: str
    vectors: str
    records: Literal[True] | str | list[str] | None
    """True for a dict of all other columns, a list for one of these, a name for what is in one."""

    def names(self) -> list[str]:
        records = self.records
        more = (
            [records] if isinstance(records, str) else records if isinstance(records, list) else []
        )
        return list(dict.fromkeys([self.ids, self.vectors, *more]))

    def of(self, batch: Any) -> Any:
        """The records of a batch."""
        if isinstance(self.records, str):
            return batch.column(self.records).to_pylist()
        names = self.records
        if names is True:
            names = [name for name in batch.schema.names if name not in (self.ids, self.vectors)]
        if names is None:
            return None
        columns = [batch.column(name).to_pylist() for name in names]
        if not columns:
            return [{}] * batch.num_rows
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _columns(ids: Any, vectors: str | None, records: Any) -> _Columns:
    if ids is not None and not isinstance(ids, str):
        raise _refused("the ids of a table are one of its columns: give its name")
    if not (records is None or records is True or isinstance(records, str)):
        if not isinstance(records, (list, tuple)) or not all(isinstance(it, str) for it in records):
            raise _refused("the records of a table are columns: give their names, or True for all")
        records = list(records)
    return _Columns(ids or "id", vectors or "vector", records)


def _batches(table: Any, columns: _Columns) -> Iterator[tuple[Any, ...]]:
    arrow = _pyarrow()
    if hasattr(table, "to_batches"):
        batches = table.to_batches()
    elif hasattr(table, "__arrow_c_stream__"):
        batches = arrow.RecordBatchReader.from_stream(table)
    else:
        batches = [table]
    return _pairs(batches, columns)


def _pairs(batches: Any, columns: _Columns) -> Iterator[tuple[Any, ...]]:
    arrow = _pyarrow()
    for batch in batches:
        for column in columns.names():
            if column not in batch.schema.names:
                known = ", ".join(batch.schema.names)
                raise _refused(f"there is no column {column!r}: use one of {known}")
        names = batch.column(columns.ids)
        is_text = arrow.types.is_string(names.type) or arrow.types.is_large_string(names.type)
        ids = names.to_pylist() if is_text else names.to_numpy(zero_copy_only=False)
        matrix = arrow_matrix(batch.column(columns.vectors))
        records = columns.of(batch)
        yield (ids, matrix) if records is None else (ids, matrix, records)


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
