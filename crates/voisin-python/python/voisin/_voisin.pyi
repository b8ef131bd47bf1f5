from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, final, overload
from uuid import UUID

import numpy as np
import numpy.typing as npt
from typing_extensions import Self, disjoint_base

from voisin._types import (
    Certificate,
    Count,
    Explanation,
    Finding,
    Groups,
    Hit,
    Inspected,
    Progress,
    Recall,
    Stats,
)

_T = TypeVar("_T")
_Path: TypeAlias = str | PathLike[str]
_Id: TypeAlias = int | str | bytes | UUID | np.integer[Any]
_IdType: TypeAlias = (
    Literal["int", "u32", "u64", "str", "bytes", "uuid"]
    | type[int]
    | type[str]
    | type[bytes]
    | type[UUID]
)
# An array, a list, a set or another iterable of ids.
_Names: TypeAlias = Iterable[Any]
# A condition: of `field`, or as JSON has it.
_Condition: TypeAlias = Condition | dict[str, Any]
_Set: TypeAlias = Iterable[Any] | _Id | Filter | _Condition
_Restriction: TypeAlias = _Set | Callable[[Any], object]
# A dict is stored as JSON.
_Record: TypeAlias = Mapping[str, Any] | bytes | bytearray | memoryview | None
_Records: TypeAlias = _Record | Iterable[_Record]
_FieldType: TypeAlias = (
    Literal["keyword", "integer", "float", "timestamp", "bool"]
    | type[str]
    | type[int]
    | type[float]
    | type[bool]
)
# The number of dimensions of an array is not known by its type, so what it finds is `Any`: a
# `Found` or a `FoundMany`.
_Vector: TypeAlias = list[float] | tuple[float, ...]
_Matrix: TypeAlias = list[list[float]] | list[tuple[float, ...]]
# Whatever becomes an array: of numpy, Arrow, DLPack; or lists.
_Vectors: TypeAlias = Any

__all__ = [
    "Batch",
    "CancelToken",
    "Condition",
    "Filter",
    "Folder",
    "FolderSnapshot",
    "FolderWrite",
    "Found",
    "FoundMany",
    "Index",
    "Pages",
    "Query",
    "Report",
    "Searcher",
    "Snapshot",
    "Table",
    "TableWrite",
    "Tenant",
    "TenantBatch",
    "__version__",
    "_restored_condition",
    "_run_command",
    "create",
    "inspect",
    "remove_index",
    "open",
    "open_or_create",
    "tenant_of",
    "verify_file",
]

__version__: str

@final
class CancelToken:
    def __new__(cls) -> Self: ...
    def cancel(self) -> None: ...
    @property
    def is_cancelled(self) -> bool: ...

@final
class Condition:
    def __new__(cls, condition: _Condition | str, /) -> Self: ...
    def to_dict(self) -> dict[str, Any]: ...
    def __and__(self, other: _Condition, /) -> Condition: ...
    def __or__(self, other: _Condition, /) -> Condition: ...
    def __rand__(self, other: _Condition, /) -> Condition: ...
    def __ror__(self, other: _Condition, /) -> Condition: ...
    def __invert__(self) -> Condition: ...
    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Filter: ...

@final
class Found:
    @property
    def ids(self) -> npt.NDArray[Any]: ...
    @property
    def distances(self) -> npt.NDArray[np.float32]: ...
    @property
    def vectors(self) -> npt.NDArray[np.float32] | None: ...
    @property
    def records(self) -> list[dict[str, Any] | bytes | None] | None: ...
    @property
    def raw_records(self) -> list[bytes | None] | None: ...
    @property
    def strategy(self) -> str: ...
    @property
    def commit(self) -> int: ...
    @property
    def certificate(self) -> Certificate | None: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def is_cancelled(self) -> bool: ...
    @property
    def timed_out(self) -> bool: ...
    @property
    def has_more(self) -> bool: ...
    @property
    def pending(self) -> int: ...
    @property
    def cost(self) -> tuple[int, int, int]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, at: int, /) -> Hit: ...
    def __iter__(self) -> Iterator[Hit]: ...
    def _repr_html_(self) -> str: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class FoundMany:
    @property
    def ids(self) -> npt.NDArray[Any]: ...
    @property
    def distances(self) -> npt.NDArray[np.float32]: ...
    @property
    def counts(self) -> npt.NDArray[np.int64]: ...
    @property
    def vectors(self) -> npt.NDArray[np.float32] | None: ...
    @property
    def records(self) -> list[list[dict[str, Any] | bytes | None]] | None: ...
    @property
    def raw_records(self) -> list[list[bytes | None]] | None: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def is_cancelled(self) -> bool: ...
    @property
    def timed_out(self) -> bool: ...
    def __len__(self) -> int: ...
    def __getitem__(self, at: int, /) -> Found: ...
    def _repr_html_(self) -> str: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Query:
    @overload
    def search(self, vector: _Vector) -> Found: ...
    @overload
    def search(self, vector: _Matrix) -> FoundMany: ...
    @overload
    def search(self, vector: _Vectors) -> Any: ...
    def similar(self, id: _Id) -> Found: ...
    def pages(self, vector: _Vectors, *, after: str | None = None) -> Pages: ...
    def similar_pages(self, id: _Id) -> Pages: ...
    def groups(
        self, vector: _Vectors, *, by: str | Callable[[Any], Hashable], per_group: int = 1
    ) -> Groups: ...
    def nearest_of(self, vectors: _Vectors) -> Found: ...
    def weighted(self, vectors: _Vectors, weights: Iterable[float] | None = None) -> Found: ...
    def diverse(self, vector: _Vectors, *, relevance: float = 0.5, among: int = 50) -> Found: ...
    def count_within(
        self, vector: _Vectors, radius: float, *, sample: int | None = None
    ) -> Count: ...
    def measure_recall(self, sample: int = 200) -> Recall: ...
    def explain(self, vector: _Vectors) -> Explanation: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Report:
    @property
    def html(self) -> str: ...
    def save(self, path: _Path) -> None: ...
    def _repr_html_(self) -> str: ...

@final
class Pages:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Found: ...
    @property
    def position(self) -> int: ...
    @property
    def token(self) -> str | None: ...

@disjoint_base
class Searcher:
    @property
    def dimensions(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def id_type(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    @overload
    def search(
        self,
        vector: _Vector,
        k: int = 10,
        *,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool | None = None,
        kind: str | None = None,
        nprobe: int | None = None,
        parameters: str | None = None,
        filter: _Restriction | None = None,
        exclude: _Set | None = None,
        prefix: str | None = None,
        radius: float | None = None,
        vectors: bool = False,
        records: bool = False,
        deadline: float | None = None,
        codes: bool = True,
        cancel: CancelToken | None = None,
    ) -> Found: ...
    @overload
    def search(
        self,
        vector: _Matrix,
        k: int = 10,
        *,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool | None = None,
        kind: str | None = None,
        nprobe: int | None = None,
        parameters: str | None = None,
        filter: _Restriction | None = None,
        exclude: _Set | None = None,
        prefix: str | None = None,
        radius: float | None = None,
        vectors: bool = False,
        records: bool = False,
        deadline: float | None = None,
        codes: bool = True,
        cancel: CancelToken | None = None,
    ) -> FoundMany: ...
    @overload
    def search(
        self,
        vector: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool | None = None,
        kind: str | None = None,
        nprobe: int | None = None,
        parameters: str | None = None,
        filter: _Restriction | None = None,
        exclude: _Set | None = None,
        prefix: str | None = None,
        radius: float | None = None,
        vectors: bool = False,
        records: bool = False,
        deadline: float | None = None,
        codes: bool = True,
        cancel: CancelToken | None = None,
    ) -> Any: ...
    def similar(
        self,
        id: _Id,
        k: int = 10,
        *,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool | None = None,
        kind: str | None = None,
        nprobe: int | None = None,
        parameters: str | None = None,
        filter: _Restriction | None = None,
        exclude: _Set | None = None,
        prefix: str | None = None,
        radius: float | None = None,
        vectors: bool = False,
        records: bool = False,
        deadline: float | None = None,
        codes: bool = True,
        cancel: CancelToken | None = None,
    ) -> Found: ...
    def query(
        self,
        k: int = 10,
        *,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool | None = None,
        kind: str | None = None,
        nprobe: int | None = None,
        parameters: str | None = None,
        filter: _Restriction | None = None,
        exclude: _Set | None = None,
        prefix: str | None = None,
        radius: float | None = None,
        vectors: bool = False,
        records: bool = False,
        deadline: float | None = None,
        codes: bool = True,
        cancel: CancelToken | None = None,
    ) -> Query: ...
    async def asearch(self, vector: _Vectors, k: int = 10, **options: Any) -> Any: ...
    def filter(
        self, ids: _Names | _Condition | None = None, *, prefix: str | None = None
    ) -> Filter: ...
    def ids(self, filter: _Condition | None = None) -> npt.NDArray[Any]: ...
    def vector(self, id: _Id) -> npt.NDArray[np.float32] | None: ...
    def vectors(self, ids: _Names) -> npt.NDArray[np.float32]: ...
    @overload
    def get_record(
        self, id: _Id, *, raw: Literal[False] = False
    ) -> dict[str, Any] | bytes | None: ...
    @overload
    def get_record(self, id: _Id, *, raw: Literal[True]) -> bytes | None: ...
    @overload
    def get_records(
        self, ids: _Names, *, raw: Literal[False] = False
    ) -> list[dict[str, Any] | bytes | None]: ...
    @overload
    def get_records(self, ids: _Names, *, raw: Literal[True]) -> list[bytes | None]: ...
    def fields(self) -> dict[str, str]: ...
    def kinds(self) -> list[str]: ...
    def count(self, filter: _Condition | None = None) -> int: ...
    def facet(self, field: str, *, filter: _Condition | None = None) -> dict[Any, int]: ...
    def split_into(
        self, targets: Sequence[Index], choose: Callable[[Any], int | None]
    ) -> list[int]: ...
    def __getitem__(self, id: _Id, /) -> npt.NDArray[np.float32]: ...
    def __contains__(self, id: _Id, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __bool__(self) -> bool: ...
    def tenant(self, name: str | bytes) -> Tenant: ...
    def tenants(self) -> list[Any]: ...

@final
class Index(Searcher):
    def drop_tenant(self, name: str | bytes) -> int: ...
    def erase_tenant(self, name: str | bytes) -> int: ...
    def rename_tenant(self, name: str | bytes, new: str | bytes) -> int: ...
    def move_tenant(
        self, name: str | bytes, target: Index, new: str | bytes | None = None
    ) -> int: ...
    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    def names(self) -> list[str]: ...
    @property
    def connectivity(self) -> tuple[int, int]: ...
    def add(
        self,
        ids: _Id | _Names,
        vectors: _Vectors,
        records: _Records = None,
        *,
        link: bool = True,
    ) -> None: ...
    def update(
        self,
        ids: _Id | _Names,
        vectors: _Vectors,
        records: _Records = None,
        *,
        link: bool = True,
    ) -> None: ...
    @overload
    def insert_unless_within(
        self,
        ids: _Id,
        vectors: _Vector,
        records: _Record = None,
        *,
        radius: float,
        replace: bool = False,
        approximate: bool = False,
        link: bool = True,
    ) -> Hit | None: ...
    @overload
    def insert_unless_within(
        self,
        ids: _Names,
        vectors: _Matrix,
        records: Iterable[_Record] | None = None,
        *,
        radius: float,
        replace: bool = False,
        approximate: bool = False,
        link: bool = True,
    ) -> list[Hit | None]: ...
    @overload
    def insert_unless_within(
        self,
        ids: _Id | _Names,
        vectors: _Vectors,
        records: _Records = None,
        *,
        radius: float,
        replace: bool = False,
        approximate: bool = False,
        link: bool = True,
    ) -> Any: ...
    def set_record(self, ids: _Id | _Names, records: _Records) -> None: ...
    def update_records(
        self,
        filter: _Condition,
        update: Mapping[str, Any] | Callable[[Any], _Record],
    ) -> int: ...
    def add_field(self, name: str, type: _FieldType) -> None: ...
    def drop_field(self, name: str) -> None: ...
    def delete(
        self, ids: _Id | _Names | _Condition | None = None, *, filter: _Condition | None = None
    ) -> int: ...
    def erase(
        self, ids: _Id | _Names | _Condition | None = None, *, filter: _Condition | None = None
    ) -> int: ...
    def merge(
        self,
        source: Searcher,
        *,
        offset: int = 0,
        progress: bool | Callable[[Progress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> int: ...
    def copy_from(
        self,
        source: Searcher,
        ids: _Id | _Names | _Condition | None = None,
        *,
        filter: _Condition | None = None,
        rename: Callable[[Any], Any] | None = None,
        progress: bool | Callable[[Progress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> int: ...
    def batch(self, *, link: bool = True, timeout: float | None = None) -> Batch: ...
    def load(
        self,
        data: Any,
        ids: _Names | None = None,
        *,
        vectors: str | None = None,
        records: Iterable[Any] | str | bool | None = None,
        progress: bool | Callable[[Progress], object] | None = None,
        optimize: bool = False,
        commit_every: int | None = None,
        memory: int | None = None,
        temp_dir: _Path | None = None,
        threads: int = 0,
        cancel: CancelToken | None = None,
    ) -> int: ...
    def link(self, *, cancel: CancelToken | None = None) -> int: ...
    def optimize(self, *, cancel: CancelToken | None = None) -> None: ...
    def rebuild(self) -> None: ...
    def calibrate(self) -> None: ...
    def train(self, sample: _Vectors) -> None: ...
    def set_codes(self, codes: Literal["fast", 1, 2, 4, 7, 8] | None) -> None: ...
    def add_kind(self, kind: str) -> bool: ...
    def drop_kind(self, kind: str) -> bool: ...
    @property
    def pending(self) -> int: ...
    def stats(self) -> Stats: ...
    def report(self, *, recall: bool = True, cancel: CancelToken | None = None) -> Report: ...
    def _repr_html_(self) -> str: ...
    def check(self) -> list[Finding]: ...
    def repair(self) -> bool: ...
    def copy_to(self, path: _Path) -> int: ...
    def snapshot(self) -> Snapshot: ...
    def folder(self) -> Folder: ...
    def release(self) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Snapshot(Searcher):
    @property
    def commit(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Tenant(Searcher):
    @property
    def name(self) -> str | bytes: ...
    def add(
        self,
        ids: _Id | _Names,
        vectors: _Vectors,
        records: _Records = None,
        *,
        link: bool = True,
    ) -> None: ...
    def set_record(self, ids: _Id | _Names, records: _Records) -> None: ...
    def delete(self, ids: _Id | _Names) -> int: ...
    def drop(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Batch:
    def add(self, ids: _Id | _Names, vectors: _Vectors, records: _Records = None) -> None: ...
    def update(self, ids: _Id | _Names, vectors: _Vectors, records: _Records = None) -> None: ...
    def set_record(self, ids: _Id | _Names, records: _Records) -> None: ...
    def delete(
        self, ids: _Id | _Names | _Condition | None = None, *, filter: _Condition | None = None
    ) -> None: ...
    def tenant(self, name: str | bytes) -> TenantBatch: ...
    def drop_tenant(self, name: str | bytes) -> None: ...
    def rename_tenant(self, name: str | bytes, new: str | bytes) -> None: ...
    def commit(self) -> int: ...
    def discard(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...

@final
class TenantBatch:
    @property
    def name(self) -> str | bytes: ...
    def add(self, ids: _Id | _Names, vectors: _Vectors, records: _Records = None) -> None: ...
    def update(self, ids: _Id | _Names, vectors: _Vectors, records: _Records = None) -> None: ...
    def set_record(self, ids: _Id | _Names, records: _Records) -> None: ...
    def delete(self, ids: _Id | _Names) -> None: ...
    def drop(self) -> None: ...

@final
class Folder:
    def __new__(
        cls,
        path: _Path,
        *,
        max_databases: int | None = None,
        memory: int | None = None,
        map_size: int | None = None,
        max_readers: int | None = None,
        growth_wait: float | None = None,
        any_file_system: bool = False,
    ) -> Self: ...
    @property
    def path(self) -> Path: ...
    def names(self) -> list[str]: ...
    def __getitem__(self, name: str, /) -> Index: ...
    def write(self, *, link: bool = True, timeout: float | None = None) -> FolderWrite: ...
    def snapshot(self) -> FolderSnapshot: ...
    def table(self, name: str) -> Table: ...
    def swap_names(self, one: str, other: str) -> None: ...
    def close(self) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class FolderWrite:
    def __getitem__(self, index: str | Index, /) -> Batch: ...
    def table(self, name: str) -> TableWrite: ...
    def commit(self) -> int: ...
    def discard(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class FolderSnapshot:
    @property
    def commit(self) -> int: ...
    def __getitem__(self, index: str | Index, /) -> Snapshot: ...
    def table(self, name: str) -> Table: ...
    def close(self) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

# What a table has: bytes, or text as its UTF-8.
_Bytes: TypeAlias = bytes | bytearray | str

@final
class Table:
    @property
    def name(self) -> str: ...
    @overload
    def get(self, key: _Bytes) -> bytes | None: ...
    @overload
    def get(self, key: _Bytes, default: _T) -> bytes | _T: ...
    def items(self, *, prefix: _Bytes | None = None) -> list[tuple[bytes, bytes]]: ...
    def __getitem__(self, key: _Bytes, /) -> bytes: ...
    def __contains__(self, key: _Bytes, /) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class TableWrite:
    def __setitem__(self, key: _Bytes, value: _Bytes, /) -> None: ...
    def __delitem__(self, key: _Bytes, /) -> None: ...

def create(
    path: _Path,
    dimensions: int,
    *,
    metric: str = "cosine",
    dtype: npt.DTypeLike | None = None,
    ids: _IdType | None = None,
    codes: Literal["auto", "fast", 1, 2, 4, 7, 8] | None = ...,
    fields: dict[str, _FieldType] | None = None,
    kinds: Sequence[str] | str | None = None,
    name: str | None = None,
    m: int | None = None,
    m0: int | None = None,
    ef_construction: int | None = None,
    alpha: float | None = None,
    seed: int | None = None,
    threads: int = 0,
    memory: int | None = None,
    temp_dir: _Path | None = None,
    map_size: int | None = None,
    max_readers: int | None = None,
    growth_wait: float | None = None,
    any_file_system: bool = False,
) -> Index: ...
def open_or_create(
    path: _Path,
    dimensions: int,
    *,
    metric: str = "cosine",
    dtype: npt.DTypeLike | None = None,
    ids: _IdType | None = None,
    codes: Literal["auto", "fast", 1, 2, 4, 7, 8] | None = ...,
    fields: dict[str, _FieldType] | None = None,
    kinds: Sequence[str] | str | None = None,
    name: str | None = None,
    m: int | None = None,
    m0: int | None = None,
    ef_construction: int | None = None,
    alpha: float | None = None,
    seed: int | None = None,
    threads: int = 0,
    memory: int | None = None,
    temp_dir: _Path | None = None,
    map_size: int | None = None,
    max_readers: int | None = None,
    growth_wait: float | None = None,
    any_file_system: bool = False,
) -> Index: ...
def open(
    path: _Path,
    *,
    name: str | None = None,
    read_only: bool = False,
    threads: int = 0,
    memory: int | None = None,
    temp_dir: _Path | None = None,
    map_size: int | None = None,
    max_readers: int | None = None,
    growth_wait: float | None = None,
    any_file_system: bool = False,
) -> Index: ...
def inspect(path: _Path) -> list[Inspected]: ...
def remove_index(path: _Path, name: str = "main") -> None: ...
def _restored_condition(steps: list[tuple[str, int | None]]) -> Condition: ...
def _run_command(arguments: Sequence[str | bytes]) -> int: ...
@overload
def tenant_of(id: str, /) -> tuple[str, str] | None: ...
@overload
def tenant_of(id: bytes, /) -> tuple[bytes, bytes] | None: ...
def verify_file(path: _Path) -> list[str]: ...
