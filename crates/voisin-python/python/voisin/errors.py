"""The exceptions of voisin, by who must act.

A message names the value, the limit and the remedy. So do the attributes of each exception:

- ``kind``: the name of the error, such as ``"DimensionMismatch"``, as the documentation of voisin
  has it;
- ``value`` and ``limit``: what is blamed, and the limit that it misses, where there are such;
- ``remedy``: what to do;
- ``responsible``: who must act: ``"caller"``, ``"operator"``, ``"data"`` or ``"control"``.

A call that raises has changed nothing, unless its documentation says otherwise.

>>> import tempfile, voisin
>>> index = voisin.create(tempfile.mkdtemp(), 3)
>>> try:
...     index.add(7, [1.0, 2.0])
... except voisin.CallerError as error:
...     print(type(error).__name__, error.value, error.limit)
...     print(error.remedy)
DimensionMismatch 2 3
give a vector of 3 components
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal


class VoisinError(Exception):
    """Every exception of voisin."""

    kind: str = "VoisinError"
    value: int | float | str | None = None
    limit: int | float | str | None = None
    remedy: str = ""
    responsible: ClassVar[Literal["caller", "operator", "data", "control"]] = "data"

    def __str__(self) -> str:
        # A KeyError would show the representation of its message.
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), self.args, self.__dict__)


class CallerError(VoisinError, ValueError):
    """The caller must act: a value that was given, or the order of calls. The same call raises
    again."""

    responsible = "caller"


class OperatorError(VoisinError, OSError):
    """The operator of the program must act: the disk, the file system, permissions, limits, other
    processes. The same call can succeed later."""

    responsible = "operator"


class DataError(VoisinError):
    """The owner of the file must act: what is stored is damaged, or of another program or version.
    The same call raises until the file is replaced."""

    responsible = "data"


class Cancelled(VoisinError):
    """Nobody must act: a `CancelToken` ended the call, and nothing has changed."""

    responsible = "control"


class DimensionMismatch(CallerError):
    """A vector has another number of components than the index."""


class InvalidVector(CallerError):
    """A vector that cannot be stored or compared: it has a NaN, or a norm of zero under `"cosine"`,
    or it is no array of numbers."""


class InvalidId(CallerError):
    """No item can have such a name."""


class MissingItem(CallerError, KeyError):
    """There is no item with this id."""


class MissingKey(CallerError, KeyError):
    """A table has no such key."""


class InvalidRecord(CallerError):
    """A record that an item cannot have: it is no dict and no bytes, is too long, or does not fit
    the fields of the index."""


class InvalidCondition(CallerError):
    """What is no condition, or compares a field with a value of another type."""


class UnknownField(CallerError, KeyError):
    """The index has no such field."""


class InvalidParameter(CallerError):
    """An option is out of its range."""


class InvalidType(InvalidParameter, TypeError):
    """An argument is of a type that it cannot have."""


class LengthMismatch(CallerError):
    """There are not as many rows as ids."""


class Mismatch(CallerError):
    """An index was created with other values than it is opened or used with."""


class NamingMismatch(Mismatch, TypeError):
    """Items are named by another type."""


class AlreadyThere(CallerError, FileExistsError):
    """There is an index of this name, or a file to which something was to be copied."""


class NotThere(CallerError, FileNotFoundError):
    """There is no such folder, no such index in it, or no such file to load."""


class ReadOnly(CallerError, PermissionError):
    """A change to an index that was opened read-only."""


class Closed(CallerError):
    """An index, a snapshot or a batch was used after its end."""


class Forked(CallerError):
    """An index was used in a fork of the process that has opened it, or opened there. Open indexes
    after forking, or start processes by `"spawn"` or `"forkserver"`."""


class NestedWrite(CallerError):
    """A change was begun inside another one of the same thread."""


class NotTrained(CallerError):
    """An index of `dtype="i8"` must be trained first, by `Index.train` or a load."""


class MemoryBudget(CallerError, MemoryError):
    """A budget of memory is too small."""


class PagesExpired(CallerError):
    """The index has changed since the page that a token is of: ask for the first page again, or for
    pages of a snapshot."""


class DiskFull(OperatorError):
    """The disk is full, or a quota is used up."""


class MapBusy(OperatorError):
    """The map must grow, and snapshots or searches of this process still use it."""


class ReadersFull(OperatorError):
    """Every entry of the reader table is in use."""


class WriteTimeout(OperatorError, TimeoutError):
    """Another writer has not ended within the time that a write was to wait for it."""


class Corrupt(DataError):
    """What is stored is damaged."""


class FormatVersion(DataError):
    """The index was written by another version of voisin."""


class InternalError(DataError):
    """A bug of voisin."""


_CLASSES: dict[str, type[VoisinError]] = {
    "AlreadyThere": AlreadyThere,
    "Cancelled": Cancelled,
    "CatalogVersion": FormatVersion,
    "Closed": Closed,
    "ConnectivityMismatch": Mismatch,
    "Corrupt": Corrupt,
    "CorruptCatalog": Corrupt,
    "CorruptItemKey": Corrupt,
    "DamagedFile": Corrupt,
    "DimensionMismatch": DimensionMismatch,
    "DiskFull": DiskFull,
    "DiskRoom": DiskFull,
    "Exists": AlreadyThere,
    "FieldMismatch": InvalidCondition,
    "Forked": Forked,
    "FormatVersion": FormatVersion,
    "InternalError": InternalError,
    "InvalidCondition": InvalidCondition,
    "InvalidDatabaseName": InvalidParameter,
    "InvalidDimensions": InvalidParameter,
    "InvalidField": InvalidParameter,
    "InvalidId": InvalidId,
    "InvalidItem": InvalidVector,
    "InvalidItemKey": InvalidId,
    "InvalidKeyedItem": InvalidVector,
    "InvalidName": InvalidParameter,
    "InvalidPageToken": InvalidParameter,
    "InvalidParameter": InvalidParameter,
    "InvalidParameters": InvalidParameter,
    "InvalidQuery": InvalidVector,
    "InvalidRecord": InvalidRecord,
    "InvalidRow": InvalidVector,
    "InvalidSample": InvalidVector,
    "InvalidTenant": InvalidId,
    "InvalidType": InvalidType,
    "InvalidVector": InvalidVector,
    "ItemExists": AlreadyThere,
    "KindMismatch": InvalidParameter,
    "KindUnsupported": InvalidParameter,
    "LengthMismatch": LengthMismatch,
    "MapBusy": MapBusy,
    "MemoryBudget": MemoryBudget,
    "MetricMismatch": Mismatch,
    "MissingEnvironment": NotThere,
    "MissingIndex": NotThere,
    "MissingFile": NotThere,
    "MissingItem": MissingItem,
    "MissingKey": MissingKey,
    "MissingName": NotThere,
    "NameTaken": AlreadyThere,
    "NamingMismatch": NamingMismatch,
    "NestedGrowth": NestedWrite,
    "NestedWrite": NestedWrite,
    "NoTenants": NamingMismatch,
    "NotTrained": NotTrained,
    "OptionMismatch": Mismatch,
    "OtherFolder": Mismatch,
    "PagesExpired": PagesExpired,
    "QueryMetric": InvalidParameter,
    "ReadOnly": ReadOnly,
    "ReadersFull": ReadersFull,
    "Removed": NotThere,
    "Renamed": NotThere,
    "TenantExists": AlreadyThere,
    "TornEdit": Corrupt,
    "Truncated": Corrupt,
    "UnknownField": UnknownField,
    "UnknownKind": FormatVersion,
    "UnknownType": InvalidParameter,
    "WriteTimeout": WriteTimeout,
}

_GROUPS: dict[str, type[VoisinError]] = {
    "caller": CallerError,
    "control": Cancelled,
    "data": DataError,
    "operator": OperatorError,
}


# What a message has of one value: texts in quotes, paths, and the whole of what is longer.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.){101,}"|\'(?:[^\'\\]|\\.){101,}\'')
_WORD = re.compile(r"\S{301,}")
_SHOWN = 100
_LONGEST = 2000


def _cut(message: str) -> str:
    """A message whose parts are short enough to read, whatever a caller has given."""
    if len(message) <= _SHOWN:
        return message

    def quoted(found: re.Match[str]) -> str:
        text = found[0]
        return f"{text[: _SHOWN + 1]}…{text[0]} ({len(text) - 2} characters)"

    def word(found: re.Match[str]) -> str:
        return f"{found[0][:_SHOWN]}… ({len(found[0])} characters)"

    message = _WORD.sub(word, _QUOTED.sub(quoted, message))
    if len(message) > _LONGEST:
        # The remedy is at the end.
        half = _LONGEST // 2
        message = f"{message[:half]}… ({len(message)} characters) …{message[-half:]}"
    return message


def _exception(
    kind: str,
    responsible: str,
    message: str,
    value: int | float | str | None,
    limit: int | float | str | None,
) -> VoisinError:
    """The exception of an error: called by the native module."""
    message = _cut(message)
    error = _CLASSES.get(kind, _GROUPS[responsible])(message)
    error.kind, error.value, error.limit = kind, value, limit
    # Every message ends with a colon and the remedy.
    error.remedy = message.rpartition(": ")[2]
    return error
