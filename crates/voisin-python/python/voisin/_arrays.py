"""Arrays of vectors from whatever a caller gives: called by the native module for what it cannot
take as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from voisin.errors import _exception

# What the native module reads in place.
_TAKEN = tuple(np.dtype(name) for name in ("float32", "float64", "float16", "int8", "uint8"))


def as_vectors(data: Any) -> np.ndarray[Any, Any]:
    """An array that the native module takes: contiguous rows of one of its types. A copy only where
    it must be."""
    if data is None:
        raise _invalid("vectors is None: give an array of numbers, such as float32")
    if has_mask(data):
        raise _invalid(
            "vectors have masked elements, which no vector can have: give vectors.filled(0.0), or "
            "leave their rows out"
        )
    if not isinstance(data, np.ndarray):
        data = _as_array(data)
    if data.dtype == object:
        data = _stacked(data)
    if data.dtype not in _TAKEN:
        data = data.astype(_nearest(data.dtype), copy=False)
    return np.require(data, requirements=["C_CONTIGUOUS", "ALIGNED"])


def has_mask(data: Any) -> bool:
    """Whether an array, or one of the rows of a list, has masked elements: numpy drops the mask
    when it converts them."""
    if isinstance(data, (list, tuple)):
        return any(np.ma.is_masked(row) for row in data if isinstance(row, np.ma.MaskedArray))
    return bool(np.ma.is_masked(data)) if isinstance(data, np.ma.MaskedArray) else False


def _as_array(data: Any) -> np.ndarray[Any, Any]:
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        # A data frame, each row of which is a vector.
        return np.asarray(data.to_numpy())
    if hasattr(data, "__arrow_c_array__") or hasattr(data, "__arrow_c_stream__"):
        from voisin._sources import arrow_matrix

        return arrow_matrix(data)
    if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
        return np.from_dlpack(data)
    try:
        return np.asarray(data)
    except ValueError as error:
        raise _uneven(error) from error


def _stacked(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers, or vectors that are elements of an array, as those of a column of pandas."""
    try:
        return np.asarray(data.tolist())
    except ValueError as error:
        raise _uneven(error) from error


def _uneven(error: ValueError) -> Exception:
    """Rows of several lengths."""
    return _invalid(f"this is no vector or matrix ({error}): give rows of one length")


def _nearest(dtype: np.dtype[Any]) -> type[np.generic]:
    """The type to convert components to: with no loss, where there is one."""
    if dtype.kind == "b":
        return np.uint8
    if dtype.kind in "iuf":
        return np.float32 if dtype.itemsize <= 2 else np.float64
    if dtype.name == "bfloat16":
        return np.float32
    raise _invalid(f"vectors cannot have components of {dtype.name}: give numbers, such as float32")


def _invalid(message: str) -> Exception:
    return _exception("InvalidVector", "caller", message, None, None)
