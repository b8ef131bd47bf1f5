"""Records and conditions as JSON: called by the native module."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from voisin.errors import _exception


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know."""
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[ms]"))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind in "biufU" else list(value)
    if isinstance(value, Set):
        return list(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no type of JSON")


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
).encode


def encoded(record: Any) -> bytes:
    """The bytes of a record: of a dict, those of a JSON object."""
    if isinstance(record, Mapping):
        try:
            return _encode(dict(record)).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise _refused(
                "InvalidRecord", f"the record {record!r:.80}: {error}: {_REMEDY}"
            ) from error
    if isinstance(record, (bytearray, memoryview)):
        return bytes(record)
    raise _refused("InvalidRecord", f"{type(record).__name__} is no record: {_REMEDY}")


_REMEDY = "give a dict of what JSON can have, or bytes"


def decoded(record: bytes) -> dict[str, Any] | bytes:
    """A dict, if the bytes are a JSON object."""
    try:
        found = json.loads(record.decode())
    except (ValueError, RecursionError):
        return record
    return found if isinstance(found, dict) else record


def condition(value: Mapping[str, Any]) -> str:
    """A condition as JSON."""
    try:
        text = _encode(dict(value))
        # What UTF-8 has no bytes for is refused here.
        text.encode()
        return text
    except (TypeError, ValueError, RecursionError) as error:
        message = f"no condition: {value!r:.80}: {error}: compare with text, numbers, bools, times"
        raise _refused("InvalidCondition", message) from error


def merged(members: Mapping[str, Any]) -> Any:
    """A function of a record, which sets some members of it."""
    if not isinstance(members, Mapping):
        message = "records are updated by a dict of members, or by a function: give one of both"
        raise _refused("InvalidRecord", message)

    def update(record: dict[str, Any] | bytes | None) -> dict[str, Any]:
        if isinstance(record, bytes):
            message = f"the record {record!r:.80} has no members: update it by a function"
            raise _refused("InvalidRecord", message)
        return {**(record or {}), **members}

    return update


def _refused(kind: str, message: str) -> Exception:
    return _exception(kind, "caller", message, None, None)
