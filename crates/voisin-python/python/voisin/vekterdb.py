"""A table of a SQL database beside an index of its vectors, in the shape of VekterDB.

The table is the truth, and the index follows it: see `voisin._outbox`. `insert`, `update` and
`delete` bring the index up to the table after their commit, and so does opening: what a crash has
left between the two is made up for. After changes by other means, call `sync`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import voisin
from voisin.errors import VoisinError, _exception

try:
    import sqlalchemy as sa
    from sqlalchemy import orm
except ImportError as error:
    message = "voisin.vekterdb needs SQLAlchemy: pip install 'voisin[vekterdb]'"
    raise ImportError(message) from error

from voisin._outbox import BIG, Floats, Follower, Source, decoded, valid_idx


class VekterDB:
    """A table with a vector in each row, and an index of them.

    Args:
        table_name: the table, which is created if there is none.
        idx_name: the column of numbers from 0 to 4 294 967 295 that name the rows, in the table
            and in the index: its primary key. They need not be consecutive, and a new table
            gives those that are left out.
        vector_name: the column of vectors.
        columns_dict: further columns of a new table: for each name the arguments of SQLAlchemy's
            `Column`, with the type as `"type"`.
        url: the database, as `sqlalchemy.create_engine` takes it.
        connect_args: further arguments of `sqlalchemy.create_engine`.
        faiss_index: the folder of an index that `create_index` has made.

    `table`, `columns` (by name), `Record` (a class that SQLAlchemy maps), `Session` and `engine`
    are SQLAlchemy's; `index` is the `voisin.Index`, `d` the number of dimensions; both are None
    before there are any.
    """

    def __init__(
        self,
        table_name: str,
        idx_name: str = "idx",
        vector_name: str = "vector",
        columns_dict: Mapping[str, Mapping[str, Any]] | None = None,
        url: str | sa.URL = "sqlite:///:memory:",
        connect_args: Mapping[str, Any] | None = None,
        faiss_index: str | os.PathLike[str] | None = None,
    ) -> None:
        self.idx_name, self.vector_name = idx_name, vector_name
        self.engine = sa.create_engine(url, **dict(connect_args or {}))
        self.Session = orm.sessionmaker(bind=self.engine)
        self.table = self._table(table_name, columns_dict or {})
        self.columns: dict[str, sa.Column[Any]] = {it.name: it for it in self.table.columns}
        self._source = Source(self.engine, self.table, idx_name, vector_name)
        self.Record = type(table_name, (), {})
        primary_key = [self._source.idx]
        orm.registry().map_imperatively(self.Record, self.table, primary_key=primary_key)
        self._follower: Follower | None = None
        self.faiss_index: str | None = None
        self.faiss_runtime_parameters = ""
        self.d = self._dimensions()
        if faiss_index is not None:
            self._open(Path(faiss_index))

    def _table(self, name: str, columns: Mapping[str, Mapping[str, Any]]) -> sa.Table:
        metadata = sa.MetaData()
        if sa.inspect(self.engine).has_table(name):
            table = sa.Table(name, metadata, autoload_with=self.engine)
            for column in (self.idx_name, self.vector_name):
                if column not in table.columns:
                    raise _refused(f"the table {name!r} has no column {column!r}: name another one")
            return table
        kinds = {key: dict(arguments) for key, arguments in columns.items()}
        table = sa.Table(
            name,
            metadata,
            sa.Column(self.idx_name, BIG, primary_key=True),
            *(sa.Column(key, it.pop("type"), **it) for key, it in kinds.items()),
            sa.Column(self.vector_name, sa.LargeBinary, nullable=False),
        )
        table.create(self.engine)
        return table

    def _dimensions(self) -> int | None:
        vector = self._source.vector
        with self.engine.connect() as sql:
            data = sql.scalar(sa.select(vector).where(vector.is_not(None)).limit(1))
        return None if data is None else len(data) // 4

    # The index and its outbox.

    def create_index(
        self,
        faiss_index: str | os.PathLike[str],
        faiss_factory_str: str | None = None,
        metric: str = "inner_product",
        sample_size: int = 0,
        batch_size: int = 10_000,
        faiss_runtime_params: str | None = None,
    ) -> None:
        """Makes the index of the table, and the triggers that keep it in step. If this is
        interrupted, opening the index goes on with it. An index that the table had before is not
        kept in step any longer.

        Args:
            faiss_index: the folder of the index, which is created.
            faiss_factory_str: `"Flat"`, which searches exactly, `"HNSW32"`, a graph with so many
                edges an item, or `"IVF"`, lists around centers, whose number voisin chooses and
                changes, so that one that is given (`"IVF1000"`) says nothing. The latter two alone
                or with `",Flat"`, `",SQfp16"` or `",SQ8"`, which store 2 or 1 bytes a component. A
                graph with voisin's defaults unless given.
            metric: `"inner_product"`, of which more is nearer, or `"L2"`, the length of the
                difference.
            sample_size: vectors of the table, taken at random, on which `"SQ8"` is trained. 0 takes
                all.
            batch_size: how many of these are read at a time.
            faiss_runtime_params: `"efConstruction=200"`: how many candidates a new item has.
        """
        path = Path(faiss_index)
        if self.index is not None or path.exists():
            text = f"{self.faiss_index or str(path)!r} is there: open it with faiss_index="
            raise _exception("Exists", "caller", text, str(path), None)
        self.d = self.d or self._dimensions()
        if self.d is None:
            raise _refused(f"the table {self.table.name!r} has no vectors: insert some first")
        if metric.lower() not in ("inner_product", "l2"):
            raise _refused(f"there is no metric {metric!r}: use 'inner_product' or 'L2'")
        options = _factory(faiss_factory_str)
        options |= _parameters(faiss_runtime_params or "", {"efConstruction": "ef_construction"})
        options["metric"] = "dot" if metric.lower() == "inner_product" else "l2"
        training = self.sample_vectors(sample_size, batch_size) if "dtype" in options else ()
        outbox = self._source.create_outbox()
        try:
            Follower.create(path, outbox, training, dimensions=self.d, **options)
        except BaseException:
            self._source.drop_outboxes()
            raise
        self._open(path)

    def drop_index(self) -> None:
        """Deletes the index, its outbox and the triggers. The table stays."""
        follower = self._created()
        follower.index.close()
        self._source.drop_outboxes()
        shutil.rmtree(follower.path)
        self._follower = self.faiss_index = None

    def _open(self, path: Path) -> None:
        self._follower = Follower(self._source, path)
        self.faiss_index, self.d = str(path), self._follower.index.dimensions

    @property
    def index(self) -> voisin.Index | None:
        """The index, or None if there is none."""
        return self._follower.index if self._follower else None

    def _created(self) -> Follower:
        if self._follower is None:
            text = "there is no index: make one by create_index, or open one with faiss_index="
            raise _exception("MissingIndex", "caller", text, None, None)
        return self._follower

    def sync(self) -> int:
        """Brings the index up to the table: applies what others have changed, or what a crash has
        left. Returns how many changes there were. A row whose vector cannot be stored is not in the
        index: a warning is logged, and `refused` lists it."""
        return self._created().sync()

    def refused(self) -> dict[int, str]:
        """The rows whose vectors cannot be in the index, by their `idx`, and why."""
        return self._created().refused()

    def check(self) -> list[str]:
        """Compares each row with the index, and verifies that. Returns what is wrong; changes that
        wait for `sync` are not."""
        return self._created().check()

    def repair(self) -> int:
        """Compares each row with the index, and brings that up to the table. Returns how many rows
        differed. Needed where changes were not seen: without triggers, or for SQLite's `REPLACE` of
        a row by another unique column."""
        return self._created().repair()

    # Changes.

    @staticmethod
    def serialize_vector(vector: npt.ArrayLike) -> bytes:
        """The bytes of a vector, of shape `(d,)`: `4 * d`, of `float32`, little-endian."""
        return np.asarray(vector).astype("<f4").tobytes()

    @staticmethod
    def deserialize_vector(vector_bytes: bytes) -> Floats:
        """The vector of these bytes, of shape `(d,)`."""
        return np.frombuffer(vector_bytes, dtype="<f4")

    def _row(self, record: Mapping[str, Any], serializes: bool) -> dict[str, Any]:
        """A row to write, such as an index can have."""
        row = dict(record)
        if self.idx_name in row:
            row[self.idx_name] = valid_idx(row[self.idx_name])
        if self.vector_name in row:
            data = row[self.vector_name]
            data = self.serialize_vector(data) if serializes else bytes(data)
            if self.d is None:
                self.d = len(data) // 4
            decoded(data, self.d)
            row[self.vector_name] = data
        return row

    def _changed(self, session: orm.Session, ids: Iterable[int]) -> None:
        if self._follower is not None and self._follower.is_told:
            self._follower.log(session, ids)

    def _after_changes(self) -> None:
        if self._follower is not None:
            self._follower.sync()

    def insert(
        self,
        records: Iterable[Mapping[str, Any]],
        batch_size: int = 10_000,
        serialize_vectors: bool = True,
    ) -> int:
        """Inserts rows, in one transaction, and adds them to the index if there is one. Returns
        how many there were.

        Args:
            records: for each row its columns by name, from a list, a generator or another iterable.
            batch_size: how many rows a statement inserts.
            serialize_vectors: False if vectors are bytes already.
        """
        count, d, rows = 0, self.d, iter(records)
        try:
            with self.Session.begin() as session:
                while batch := list(itertools.islice(rows, batch_size)):
                    batch = [self._row(it, serialize_vectors) for it in batch]
                    session.execute(sa.insert(self.table), batch)
                    self._changed(session, (it[self.idx_name] for it in batch))
                    count += len(batch)
        except BaseException:
            self.d = d
            raise
        self._after_changes()
        return count

    def update(self, records: Iterable[Mapping[str, Any]], serialize_vectors: bool = True) -> int:
        """Changes columns of rows, in one transaction, and the index with them. Returns how many
        rows there were. Each record has the `idx` of its row, and the columns that change."""
        count = 0
        with self.Session.begin() as session:
            for record in records:
                row = self._row(record, serialize_vectors)
                is_it = self._source.idx == row.pop(self.idx_name)
                found = session.scalars(sa.select(self._source.idx).where(is_it)).all()
                session.execute(sa.update(self.table).where(is_it).values(row))
                self._changed(session, found)
                count += len(found)
        self._after_changes()
        return count

    def delete(self, fetch_column: str, fetch_values: Iterable[Any]) -> int:
        """Deletes the rows with one of these values in a column, in one transaction, and from the
        index. Returns how many there were."""
        column, values, count = self._column(fetch_column), iter(fetch_values), 0
        with self.Session.begin() as session:
            while batch := list(itertools.islice(values, 10_000)):
                is_it = column.in_(batch)
                found = session.scalars(sa.select(self._source.idx).where(is_it)).all()
                session.execute(sa.delete(self.table).where(is_it))
                self._changed(session, found)
                count += len(found)
        self._after_changes()
        return count

    # Reading.

    def _column(self, name: str) -> sa.Column[Any]:
        if name not in self.columns:
            known = ", ".join(self.columns)
            raise _refused(f"the table {self.table.name!r} has no column {name!r}: use {known}")
        return self.columns[name]

    def fetch_records(
        self,
        fetch_column: str,
        fetch_values: Iterable[Any],
        *col_names: str,
        batch_size: int = 10_000,
    ) -> Iterator[dict[str, Any]]:
        """The rows with one of these values in a column, of any column, in the order of their
        `idx` within each batch.

        Args:
            fetch_column: the column.
            fetch_values: its values.
            col_names: the columns of the results, all unless given. Vectors are arrays.
            batch_size: how many values a statement asks for.
        """
        column, values = self._column(fetch_column), iter(fetch_values)
        columns = [self._column(it) for it in col_names or self.columns]
        with self.engine.connect() as sql:
            while batch := list(itertools.islice(values, batch_size)):
                chosen = sa.select(*columns).where(column.in_(batch)).order_by(self._source.idx)
                for row in sql.execute(chosen).mappings().all():
                    record = dict(row)
                    if self.vector_name in record and record[self.vector_name] is not None:
                        record[self.vector_name] = self.deserialize_vector(record[self.vector_name])
                    yield record

    def sample_vectors(self, sample_size: int = 0, batch_size: int = 10_000) -> Floats:
        """Vectors of the table, taken at random: an array of shape `(sample_size, d)`, or of all
        rows for 0."""
        with self.engine.connect() as sql:
            chosen = sa.select(self._source.idx).where(self._source.vector.is_not(None))
            ids = sql.scalars(chosen).all()
        if 0 < sample_size < len(ids):
            ids = np.random.default_rng().choice(ids, sample_size, replace=False).tolist()
        names = (self.idx_name, ids, self.vector_name)
        rows = self.fetch_records(*names, batch_size=batch_size)
        return self._stacked(rows)

    def _stacked(self, records: Iterable[Mapping[str, Any]]) -> Floats:
        """The vectors of records, of shape `(n, d)`."""
        vectors = (it[self.vector_name] for it in records)
        return np.stack([decoded(it.tobytes(), self.d or len(it)) for it in vectors])

    @property
    def metric(self) -> str | None:
        """`"inner_product"` or `"l2"`, or None without an index."""
        if self.index is None:
            return None
        return "l2" if self.index.metric == "euclidean" else "inner_product"

    def similarity(
        self, v1: npt.ArrayLike, v2: npt.ArrayLike, threshold: float | None = None
    ) -> float | None:
        """The inner product of two vectors, or the length of their difference, as the index has
        it. None if it is worse than a threshold."""
        self._created()
        one, two = np.ravel(v1).astype(np.float32), np.ravel(v2).astype(np.float32)
        value = float(np.linalg.norm(one - two) if self.metric == "l2" else one @ two)
        return value if self._meets(value, threshold) else None

    def _meets(self, value: float, threshold: float | None) -> bool:
        if threshold is None:
            return True
        return value <= threshold if self.metric == "l2" else value >= threshold

    def set_faiss_runtime_parameters(self, runtime_params_str: str) -> None:
        """Sets what later searches do: of a graph `"efSearch=100"`, how many candidates they keep,
        of lists `"nprobe=16"`, how many they scan. voisin chooses unless it is set."""
        _parameters(runtime_params_str, self._runtime_names())
        self.faiss_runtime_parameters = runtime_params_str

    def _runtime_names(self) -> dict[str, str]:
        """The parameters that searches of the index have."""
        names = {"hnsw": ("efSearch", "ef"), "ivf": ("nprobe", "nprobe")}
        return dict(names[it] for it in self._created().index.kinds() if it in names)

    def search(
        self,
        query_vectors: npt.ArrayLike,
        k_nearest_neighbors: int,
        *col_names: str,
        k_extra_neighbors: int = 0,
        rerank: bool = True,
        threshold: float | None = None,
        search_parameters: Any = None,
    ) -> list[list[dict[str, Any]]]:
        """The nearest rows of each query, nearest first: their columns, and `"metric"`, the inner
        product or the length of the difference.

        Args:
            query_vectors: an array of shape `(d,)` or `(n, d)`.
            k_nearest_neighbors: how many rows a query has at most.
            col_names: the columns of the results, all unless given.
            k_extra_neighbors: how many more the index is asked for. It matters where it stores
                fewer bytes than the table has: then `rerank` may bring one of them forward.
            rerank: whether neighbors are in the order of their metrics, or in that of the index.
            threshold: leaves out neighbors whose inner product is smaller, or whose distance is
                larger.
            search_parameters: options of `voisin.Index.search`, such as `{"recall": 0.95}`, or an
                object with `efSearch` or `nprobe`.
        """
        options = self._options(search_parameters)
        k = (k_nearest_neighbors, k_nearest_neighbors + k_extra_neighbors)
        queries = np.asarray(query_vectors, dtype=np.float32)
        queries = queries[None, :] if queries.ndim == 1 else queries
        return self._neighbors(queries, k, col_names, (rerank, threshold), options, None)

    def nearest_neighbors(
        self,
        fetch_column: str,
        fetch_values: Iterable[Any],
        k_nearest_neighbors: int,
        *col_names: str,
        k_extra_neighbors: int = 0,
        rerank: bool = True,
        threshold: float | None = None,
        search_parameters: Any = None,
        batch_size: int = 10_000,
    ) -> list[dict[str, Any]]:
        """The rows with one of these values in a column, of any column, each with its nearest
        others as `"neighbors"`: see `search` and `fetch_records`."""
        options = self._options(search_parameters)
        columns = col_names or tuple(self.columns)
        own = (self.idx_name, self.vector_name)
        if fetch_column == self.idx_name and self._is_in_index(columns):
            records = self._of_index(fetch_values)
        else:
            wanted = dict.fromkeys((*columns, *own))
            rows = self.fetch_records(fetch_column, fetch_values, *wanted, batch_size=batch_size)
            records = [it for it in rows if it[self.vector_name] is not None]
        if not records:
            return []
        queries = self._stacked(records)
        ids = [it[self.idx_name] for it in records]
        k = (k_nearest_neighbors, k_nearest_neighbors + k_extra_neighbors)
        found = self._neighbors(queries, k, columns, (rerank, threshold), options, ids)
        return [
            {name: record[name] for name in columns} | {"neighbors": neighbors}
            for record, neighbors in zip(records, found, strict=True)
        ]

    def _neighbors(
        self,
        queries: Floats,
        k: tuple[int, int],
        columns: Sequence[str],
        how: tuple[bool, float | None],
        options: dict[str, Any],
        own: Sequence[int] | None,
    ) -> list[list[dict[str, Any]]]:
        columns = columns or tuple(self.columns)
        asked = k[1] + (own is not None)
        for _ in range(3):
            found = self._found(queries, asked, options)
            ids = {it for row, _ in found for it in row}
            rows = self._rows(ids, columns)
            if len(rows) == len(ids):
                break
            # Somebody has deleted rows, and the index has not followed yet.
            self.sync()
        answers = []
        for at, (row, metrics) in enumerate(found):
            if self._is_rounded():
                vectors = [rows[it][self.vector_name] if it in rows else None for it in row]
                metrics = [
                    0.0 if it is None else self.similarity(queries[at], it) or 0.0 for it in vectors
                ]
            pairs = [
                (idx, metric)
                for idx, metric in zip(row, metrics, strict=True)
                if idx in rows and (own is None or idx != own[at]) and self._meets(metric, how[1])
            ]
            if how[0] and self._is_rounded():
                pairs.sort(key=lambda it: it[1], reverse=self.metric != "l2")
            answers.append(
                [
                    {name: rows[idx][name] for name in columns} | {"metric": metric}
                    for idx, metric in pairs[: k[0]]
                ]
            )
        return answers

    def _found(
        self, queries: Floats, k: int, options: dict[str, Any]
    ) -> list[tuple[list[int], list[float]]]:
        """For each query the rows that the index finds, and their metrics."""
        index = self._created().index
        if len(queries) == 1:
            found = [index.search(queries[0], k, **options)]
        else:
            found = list(index.search(queries, k, **options))
        to_metric = np.sqrt if self.metric == "l2" else np.negative
        return [(it.ids.tolist(), to_metric(it.distances).tolist()) for it in found]

    def _is_rounded(self) -> bool:
        """Whether the index has other numbers than the table."""
        return self._created().index.dtype != "f32"

    def _is_in_index(self, columns: Iterable[str]) -> bool:
        return all(it == self.idx_name for it in columns) and not self._is_rounded()

    def _rows(self, ids: Iterable[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
        """These columns of rows. The table is not asked for what the index knows."""
        if self._is_in_index(columns):
            return {it: {self.idx_name: it} for it in ids}
        wanted = dict.fromkeys((self.idx_name, *columns))
        if self._is_rounded():
            wanted[self.vector_name] = None
        rows = self.fetch_records(self.idx_name, sorted(ids), *wanted)
        return {it[self.idx_name]: it for it in rows}

    def _of_index(self, ids: Iterable[Any]) -> list[dict[str, Any]]:
        """Rows with their vectors, as the index has them, in the order of their ids."""
        index = self._created().index
        there = sorted({int(it) for it in ids if it in index})
        rows = zip(there, index.vectors(there), strict=True) if there else []
        return [{self.idx_name: idx, self.vector_name: vector} for idx, vector in rows]

    def _options(self, given: Any) -> dict[str, Any]:
        self._created()
        if given is None:
            if not self.faiss_runtime_parameters:
                return {}
            return _parameters(self.faiss_runtime_parameters, self._runtime_names())
        if isinstance(given, Mapping):
            return dict(given)
        names = (("efSearch", "ef"), ("nprobe", "nprobe"))
        return {to: getattr(given, name) for name, to in names if hasattr(given, name)}

    # Its end, and its beginning.

    def save(self, config_file: str | os.PathLike[str] | None = None) -> None:
        """Writes what `load` needs to a JSON file, by default `TABLE.json`: the names of the table,
        its columns and the folder of the index, and the parameters of searches; no address of the
        database."""
        config = {
            "table_name": self.table.name,
            "idx_name": self.idx_name,
            "vector_name": self.vector_name,
            "faiss_index": self.faiss_index,
            "faiss_runtime_parameters": self.faiss_runtime_parameters,
        }
        Path(config_file or f"{self.table.name}.json").write_text(json.dumps(config))

    @staticmethod
    def load(
        config_file: str | os.PathLike[str],
        url: str | sa.URL,
        connect_args: Mapping[str, Any] | None = None,
    ) -> VekterDB:
        """Opens what `save` has written."""
        config = json.loads(Path(config_file).read_text())
        parameters = config.pop("faiss_runtime_parameters", "")
        opened = VekterDB(**config, url=url, connect_args=connect_args)
        opened.set_faiss_runtime_parameters(parameters)
        return opened

    def close(self) -> None:
        """Closes the index and the connections."""
        if self.index is not None:
            self.index.close()
        self.engine.dispose()

    def __enter__(self) -> VekterDB:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _factory(text: str | None) -> dict[str, Any]:
    """The options to create an index of FAISS's name with."""
    if text is None:
        return {}
    if text == "Flat":
        return {"kinds": ["flat"]}
    found = re.fullmatch(r"(HNSW|IVF)(\d+)?(?:,(Flat|SQ8|SQfp16))?", text)
    if found is None:
        form = "use 'Flat', 'HNSW32', 'HNSW32,SQ8', 'HNSW32,SQfp16', 'IVF', ..., or leave it out"
        raise _refused(f"there is no index {text!r} here: {form}")
    options: dict[str, Any] = {}
    if found[1] == "IVF":
        options["kinds"] = ["ivf"]
    elif found[2]:
        options["m"] = int(found[2])
    if found[3] in ("SQ8", "SQfp16"):
        options["dtype"] = "i8" if found[3] == "SQ8" else "f16"
    return options


def _parameters(text: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Parameters such as `"efSearch=100"`, by the names that voisin has for them."""
    options = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.strip().partition("=")
        if name not in names or not value.isdecimal():
            known = " or ".join(f"'{it}=100'" for it in names) or "none"
            raise _refused(f"{part!r} is no parameter here: use {known}")
        options[names[name]] = int(value)
    return options


def _refused(text: str) -> VoisinError:
    return _exception("InvalidParameter", "caller", text, None, None)
