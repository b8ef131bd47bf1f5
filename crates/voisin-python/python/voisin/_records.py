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
        if value.dtype.kind in "biufU":
            return value.tolist()
        plain = list(value)
        _check_keys(plain)
        return plain
    if isinstance(value, Set):
        return list(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no type of JSON")


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
).encode


# The deepest condition, as a dict: `&`, `|` and `~` make deeper ones.
_DEPTH = 100

# Nearly all keys and values are of these types, which costs no loop of Python's to see.
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def _check_keys(value: Any, deepest: int | None = None) -> None:
    """Refuses dicts with keys that are no text, as JSON would make text of them, and what is nested
    too deeply. Of what was encoded, so that it has no circles."""
    stack = [(value, 1)]
    while stack:
        value, depth = stack.pop()
        if deepest is not None and depth > deepest:
            raise ValueError(f"it is more than {deepest} levels deep, join conditions by & and |")
        if isinstance(value, dict):
            for key in () if _TEXT.issuperset(map(type, value)) else value:
                if not isinstance(key, str):
                    of = type(key).__name__
                    raise TypeError(
                        f"the key {_shown(key)} is of type {of}, and JSON has text only"
                    )
            value = value.values()
        if not _SCALARS.issuperset(map(type, value)):
            parts = (part for part in value if isinstance(part, (dict, list, tuple)))
            stack.extend((part, depth + 1) for part in parts)


def _shown(value: Any) -> str:
    """What a message has of a value."""
    try:
        return f"{value!r:.80}"
    except RecursionError:
        return f"of type {type(value).__name__}"


def encoded(record: Any) -> bytes:
    """The bytes of a record: of a dict, those of a JSON object."""
    if isinstance(record, Mapping):
        try:
            members = dict(record)
            text = _encode(members)
            _check_keys(members)
            return text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise _refused(
                "InvalidRecord", f"the record {_shown(record)}: {error}: {_REMEDY}"
            ) from error
    if isinstance(record, (bytearray, memoryview)):
        return bytes(record)
    raise _refused("InvalidRecord", f"{type(record).__name__} is no record: {_REMEDY}")


_REMEDY = "give a dict with keys of str and values that JSON can have, or bytes"


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
        members = dict(value)
        text = _encode(members)
        _check_keys(members, _DEPTH)
        # What UTF-8 has no bytes for is refused here.
        text.encode()
        return text
    except (TypeError, ValueError, RecursionError) as error:
        message = (
            f"no condition: {_shown(value)}: {error}: compare with text, numbers, bools, times"
        )
        raise _refused("InvalidCondition", message) from error


def merged(members: Mapping[str, Any]) -> Any:
    """A function of a record, which sets some members of it."""
    if not isinstance(members, Mapping):
        message = "records are updated by a dict of members, or by a function: give one of both"
        raise _refused("InvalidRecord", message)

    def update(record: dict[str, Any] | bytes | None) -> dict[str, Any]:
        if isinstance(record, bytes):
            message = f"the record {_shown(record)} has no members: update it by a function"
            raise _refused("InvalidRecord", message)
        return {**(record or {}), **members}

    return update


def _refused(kind: str, message: str) -> Exception:
    return _exception(kind, "caller", message, None, None)
