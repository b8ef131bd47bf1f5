"""Conditions on the fields of records, in Python's operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from voisin._voisin import Condition, _restored_condition
from voisin.errors import _exception

_Value = Any


class FieldRef:
    """A field that a condition is about: `field` makes one.

    A value is a str, an int, a float, a bool, or, for a field of timestamps, a `datetime`, a
    `date`, text such as `"2026-11-29T18:45:00Z"`, or milliseconds since 1970. A time without an
    offset is UTC. An item whose field has several values passes if one of them does.
    """

    __slots__ = ("_name",)
    # Its comparisons are conditions.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """The name of the field."""
        return self._name

    def _is(self, operator: str, value: _Value) -> Condition:
        return Condition({"field": self._name, operator: value})

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        """The field has this value."""
        return self._is("eq", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        """The field does not have this value: also of items without a record."""
        return ~self._is("eq", value)

    def __lt__(self, value: _Value) -> Condition:
        """The field has a value below this."""
        return self._is("below", value)

    def __le__(self, value: _Value) -> Condition:
        """The field has a value of at most this."""
        return self._is("at_most", value)

    def __gt__(self, value: _Value) -> Condition:
        """The field has a value above this."""
        return self._is("above", value)

    def __ge__(self, value: _Value) -> Condition:
        """The field has a value of at least this."""
        return self._is("at_least", value)

    def isin(self, values: Iterable[_Value]) -> Condition:
        """The field has one of these values, which are a list or another iterable of values, and no
        single text."""
        if isinstance(values, (str, bytes, bytearray, Mapping)):
            remedy = f"isin([{values!r:.100}])"
        elif isinstance(values, Iterable):
            return self._is("in", list(values))
        else:
            remedy = f"isin([{values!r:.100}]), or =="
        of = type(values).__name__
        message = f"the values of isin are {values!r:.100}, of type {of}: give a list, {remedy}"
        raise _exception("InvalidType", "caller", message, None, None)

    def between(self, lowest: _Value, highest: _Value) -> Condition:
        """The field has a value from `lowest` to `highest`, both included."""
        return self._is("between", [lowest, highest])

    def startswith(self, prefix: str) -> Condition:
        """The field, of keywords, has a value that begins with `prefix`."""
        return self._is("prefix", prefix)

    def exists(self) -> Condition:
        """The field has a value."""
        return self._is("exists", True)

    def __repr__(self) -> str:
        return f"field({self._name!r})"


def _restored(steps: list[tuple[str, int | None]]) -> Condition:
    """The condition of a pickle, which names this function."""
    return _restored_condition(steps)


def field(name: str) -> FieldRef:
    """Starts a condition on a field of records: compare it by `==`, `!=`, `<`, `<=`, `>` and `>=`,
    or by its methods, and combine conditions by `&`, `|` and `~`.

    >>> import tempfile, voisin
    >>> from voisin import field
    >>> fields = {"tag": "keyword", "year": "integer"}
    >>> index = voisin.create(tempfile.mkdtemp(), 2, fields=fields)
    >>> records = [{"tag": "news", "year": 1999}, {"tag": ["news", "late"], "year": 2026}]
    >>> index.add([1, 2], [[0.9, 0.1], [0.1, 0.9]], records)
    >>> index.search([0.9, 0.1], filter=(field("tag") == "news") & (field("year") >= 2000)).ids
    array([2])
    >>> index.count(~field("tag").isin(["late", "old"]))
    1
    """
    return FieldRef(name)
