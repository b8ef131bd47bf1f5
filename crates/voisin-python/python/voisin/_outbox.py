"""An index that follows a table of a SQL database, through an *outbox*.

The outbox is a second table, into which triggers write the `idx` of each row that a transaction
adds, changes or deletes, whoever makes it. `sync` brings the index up to what the outbox names, and
then deletes that. A crash between the two leaves entries, and the next `sync` makes up for it:
applying an entry twice does no harm, as the row is read as it is then.

One process at a time applies entries, under a lock on the state file in the folder of the index.
SQLite and PostgreSQL have triggers here. With other databases, whoever changes the table must call
`log` in the same transaction.

Vectors are `float32`, little-endian, in a binary column: `4 * d` bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import orm

import voisin
from voisin.errors import VoisinError, _exception

Floats = npt.NDArray[np.float32]

logger = logging.getLogger("voisin.vekterdb")

# The largest id that an index has.
MAX_IDX = 2**32 - 1
# SQLite gives numbers by itself only to columns of this type.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# The file, in the folder of an index, that names its outbox.
_STATE = "vekterdb.json"
# Entries that are applied in one commit of the index.
_ENTRIES = 10_000
# PostgreSQL has names of up to 63 bytes, of which the outbox and its triggers add 24.
_MAX_TABLE_NAME = 39

# PostgreSQL's `TRUNCATE` is an entry without an idx.
_TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER {add} AFTER INSERT ON {table} BEGIN"
        " INSERT INTO {outbox} (idx) VALUES (NEW.{idx}); END",
        "CREATE TRIGGER {change} AFTER UPDATE OF {idx}, {vector} ON {table} BEGIN"
        " INSERT INTO {outbox} (idx) SELECT OLD.{idx} UNION SELECT NEW.{idx}; END",
        "CREATE TRIGGER {delete} AFTER DELETE ON {table} BEGIN"
        " INSERT INTO {outbox} (idx) VALUES (OLD.{idx}); END",
    ],
    "postgresql": [
        "CREATE FUNCTION {log}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path FROM CURRENT AS $$ BEGIN"
        " IF TG_OP = 'TRUNCATE' THEN INSERT INTO {outbox} (idx) VALUES (NULL);"
        " ELSIF TG_OP = 'INSERT' THEN INSERT INTO {outbox} (idx) VALUES (NEW.{idx});"
        " ELSIF TG_OP = 'DELETE' THEN INSERT INTO {outbox} (idx) VALUES (OLD.{idx});"
        " ELSE INSERT INTO {outbox} (idx) SELECT OLD.{idx} UNION SELECT NEW.{idx}; END IF;"
        " RETURN NULL; END $$",
        "CREATE TRIGGER {change} AFTER INSERT OR UPDATE OF {idx}, {vector} OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION {log}()",
        "CREATE TRIGGER {delete} AFTER TRUNCATE ON {table} EXECUTE FUNCTION {log}()",
    ],
}
_DROPS = {
    "sqlite": [f"DROP TRIGGER IF EXISTS {{{it}}}" for it in ("add", "change", "delete")],
    "postgresql": ["DROP FUNCTION IF EXISTS {log}() CASCADE"],
}


class Source:
    """A table, with its columns of ids and of vectors."""

    def __init__(self, engine: sa.Engine, table: sa.Table, idx: str, vector: str) -> None:
        name_bytes = len(table.name.encode())
        if name_bytes > _MAX_TABLE_NAME:
            text = f"a table has a name of {name_bytes} bytes: use at most {_MAX_TABLE_NAME}"
            raise _exception("InvalidParameter", "caller", text, name_bytes, _MAX_TABLE_NAME)
        self.engine, self.table = engine, table
        self.idx, self.vector = table.columns[idx], table.columns[vector]

    def has(self, table_name: str) -> bool:
        return sa.inspect(self.engine).has_table(table_name)

    def create_outbox(self) -> str:
        """Creates an outbox with an entry for each row there is, and its triggers, in place of
        those of earlier indexes. Returns its name."""
        self.drop_outboxes()
        outbox = outbox_table(f"{self.table.name}_voisin_{uuid.uuid4().hex[:8]}")
        with self.engine.begin() as sql:
            outbox.create(sql)
            for statement in _TRIGGERS.get(self.engine.dialect.name, []):
                sql.exec_driver_sql(statement.format_map(self._quoted(outbox.name)))
            sql.execute(sa.insert(outbox).from_select(["idx"], sa.select(self.idx)))
        return outbox.name

    def drop_outboxes(self) -> None:
        """Drops all outboxes of the table, and their triggers."""
        pattern = re.compile(re.escape(self.table.name) + "_voisin_[0-9a-f]{8}")
        names = sa.inspect(self.engine).get_table_names()
        with self.engine.begin() as sql:
            for name in filter(pattern.fullmatch, names):
                for statement in _DROPS.get(self.engine.dialect.name, []):
                    sql.exec_driver_sql(statement.format_map(self._quoted(name)))
                outbox_table(name).drop(sql)

    def _quoted(self, outbox: str) -> dict[str, str]:
        names = {"table": self.table.name, "outbox": outbox}
        names |= {"idx": self.idx.name, "vector": self.vector.name}
        names |= {it: f"{outbox}_{it}" for it in ("add", "change", "delete", "log")}
        quote = self.engine.dialect.identifier_preparer.quote
        return {key: quote(name) for key, name in names.items()}


def outbox_table(name: str) -> sa.Table:
    """The entries that wait, in order. Those that cannot be applied say why."""
    columns = [sa.Column("idx", sa.BigInteger), sa.Column("refused", sa.Text)]
    return sa.Table(name, sa.MetaData(), sa.Column("id", BIG, primary_key=True), *columns)


class Follower:
    """An index that follows a table: opens it, and brings it up to the table."""

    def __init__(self, source: Source, path: Path) -> None:
        self.source, self.path = source, path
        try:
            state = json.loads((path / _STATE).read_text())
        except FileNotFoundError as error:
            text = f"{str(path)!r} is no index of a table: make one by create_index"
            raise _exception("MissingIndex", "caller", text, str(path), None) from error
        self._outbox = outbox_table(state["outbox"])
        self._check_outbox()
        self.index = voisin.open(path)
        try:
            self.sync()
        except BaseException:
            self.index.close()
            raise

    @staticmethod
    def create(path: Path, outbox: str, training: Iterable[Any], **options: Any) -> None:
        """Creates an index that is empty, until it is opened. It has its name as soon as it can be
        opened, and not before."""
        partial = path.with_name(path.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        with voisin.create(partial, **options) as index:
            if index.dtype == "i8":
                index.train(np.stack(list(training)))
        (partial / _STATE).write_text(json.dumps({"outbox": outbox}))
        os.rename(partial, path)

    def _check_outbox(self) -> None:
        if not self.source.has(self._outbox.name):
            text = f"the index {str(self.path)!r} is not that of the table "
            text += f"{self.source.table.name!r}, or that has another one since: open that, or "
            text += "make a new one by create_index"
            raise _exception("OptionMismatch", "caller", text, str(self.path), None)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Held while entries are applied. The system releases it when the process ends."""
        with open(self.path / _STATE) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def log(self, sql: sa.Connection | orm.Session, rows: Iterable[int]) -> None:
        """Adds an entry for each row."""
        entries = [{"idx": idx} for idx in rows]
        if entries:
            sql.execute(sa.insert(self._outbox), entries)

    @property
    def is_told(self) -> bool:
        """Whether changes are seen only if `log` tells them."""
        return self.source.engine.dialect.name not in _TRIGGERS

    def sync(self) -> int:
        """Applies all entries. Returns how many there were."""
        source, outbox, count, waits = self.source, self._outbox, 0, False
        # The row as it is when its entry is read: one that changes later has another entry.
        entries = (
            sa.select(outbox.c.id, outbox.c.idx, source.vector)
            .select_from(outbox.outerjoin(source.table, source.idx == outbox.c.idx))
            .where(outbox.c.refused.is_(None))
            .order_by(outbox.c.id)
            .limit(_ENTRIES)
        )
        with self._lock():
            self._check_outbox()
            while True:
                with source.engine.connect() as sql:
                    rows = sql.execute(entries).all()
                if not rows:
                    break
                # What comes in several parts is linked as a whole, at the end.
                links = len(rows) < _ENTRIES and not waits
                waits = not links
                self._forget(rows, self._apply({it[1]: it[2] for it in rows}, links))
                count += len(rows)
        if waits:
            self.index.link()
        return count

    def _apply(self, rows: dict[int | None, bytes | None], links: bool) -> dict[int, str]:
        """Brings the index up to these rows. Returns those that it refuses, and why."""
        refused: dict[int, str] = {}
        vectors: dict[int, Floats] = {}
        for idx, data in rows.items():
            if idx is not None and data is not None:
                try:
                    vectors[valid_idx(idx)] = decoded(data, self.index.dimensions)
                except VoisinError as error:
                    refused[idx] = str(error)
        gone = [it for it in rows if it is not None and it not in vectors and 0 <= it <= MAX_IDX]
        try:
            with self.index.batch(link=links) as batch:
                batch.delete(gone)
                if vectors:
                    batch.add(list(vectors), np.stack(list(vectors.values())))
        except voisin.CallerError:
            # One of them: which?
            self.index.delete(gone)
            for idx, vector in vectors.items():
                try:
                    self.index.add(idx, vector, link=links)
                except voisin.CallerError as error:
                    self.index.delete(idx)
                    refused[idx] = str(error)
        for idx, why in refused.items():
            logger.warning("row %d of %s is not in the index: %s", idx, self.source.table.name, why)
        return refused

    def _forget(self, rows: Sequence[Any], refused: Mapping[int, str]) -> None:
        """Deletes entries that have been applied, or marks them. One without an idx becomes an
        entry for each row that differs."""
        outbox = self._outbox
        more = self._differences() if any(it[1] is None for it in rows) else []
        is_old, of = outbox.c.refused.is_not(None), sa.bindparam("of")
        done = [{"of": it[0]} for it in rows if it[1] not in refused]
        marks = [{"of": it[0], "why": refused[it[1]]} for it in rows if it[1] in refused]
        with self.source.engine.begin() as sql:
            if sql.scalar(sa.select(outbox.c.id).where(is_old).limit(1)) is not None:
                earlier = sa.delete(outbox).where(is_old, outbox.c.idx == of)
                sql.execute(earlier, [{"of": it[1]} for it in rows])
            if done:
                sql.execute(sa.delete(outbox).where(outbox.c.id == of), done)
            if marks:
                marked = sa.update(outbox).where(outbox.c.id == of)
                sql.execute(marked.values(refused=sa.bindparam("why")), marks)
            self.log(sql, more)

    def refused(self) -> dict[int, str]:
        """The rows that cannot be in the index, and why."""
        marked = sa.select(self._outbox.c.idx, self._outbox.c.refused)
        with self.source.engine.connect() as sql:
            rows = sql.execute(marked.where(self._outbox.c.refused.is_not(None)))
            return {it[0]: it[1] for it in rows}

    def _differences(self) -> list[int]:
        """The rows whose vectors in the table and in the index are not the same."""
        source, differing = self.source, list[int]()
        chosen = sa.select(source.idx, source.vector).where(source.vector.is_not(None))
        with self.index.snapshot() as snapshot, source.engine.connect() as sql:
            left = set(snapshot.ids().tolist())
            rows = sql.execution_options(yield_per=_ENTRIES).execute(chosen)
            for part in rows.partitions():
                vectors = {}
                for idx, data in part:
                    with contextlib.suppress(VoisinError):
                        vectors[valid_idx(idx)] = decoded(data, self.index.dimensions)
                there = [it for it in vectors if it in left]
                differing += vectors.keys() - left
                left.difference_update(there)
                if there:
                    given = np.stack([vectors[it] for it in there])
                    is_same = self._are_same(given, snapshot.vectors(there))
                    differing += np.array(there)[~is_same].tolist()
        # Also the rows that have become such as no index can have.
        return differing + sorted(left)

    def _are_same(self, given: Floats, stored: Floats) -> npt.NDArray[np.bool_]:
        """Whether rows of a matrix are stored as they would be."""
        if self.index.dtype == "f16":
            return np.asarray((given.astype(np.float16) == stored).all(axis=1))
        span = self.index.stats().range if self.index.dtype == "i8" else None
        if span is not None:
            given = np.clip(given, span.lowest, span.highest)
            return np.asarray((np.abs(given - stored) <= span.step).all(axis=1))
        return np.asarray((given == stored).all(axis=1))

    def check(self) -> list[str]:
        """What is not as it should be, but for entries that wait."""
        with self._lock():
            differing = set(self._differences())
            with self.source.engine.connect() as sql:
                differing -= set(sql.scalars(sa.select(self._outbox.c.idx)))
        found = [f"row {it} is not as in the index" for it in sorted(differing)]
        return found + [str(it) for it in self.index.check()]

    def repair(self) -> int:
        """Finds the rows that differ, and brings the index up to them. Returns how many."""
        with self._lock():
            differing = self._differences()
            with self.source.engine.begin() as sql:
                self.log(sql, differing)
        self.sync()
        return len(differing)


def valid_idx(idx: Any) -> int:
    """An id that an index can have."""
    number = int(idx)
    if not 0 <= number <= MAX_IDX:
        text = f"the idx {number} of a row is not from 0 to {MAX_IDX}: use such a number"
        raise _exception("InvalidId", "caller", text, number, MAX_IDX)
    return number


def decoded(data: bytes, dimensions: int) -> Floats:
    """A vector of a row."""
    if len(data) != 4 * dimensions:
        text = f"a vector has {len(data)} bytes: give {dimensions} components of float32, "
        text += f"{4 * dimensions} bytes"
        raise _exception("DimensionMismatch", "caller", text, len(data), 4 * dimensions)
    vector = np.frombuffer(data, dtype="<f4")
    if not np.isfinite(vector).all():
        text = "a vector has a component that is no finite number: give finite ones"
        raise _exception("InvalidVector", "caller", text, None, None)
    return vector
