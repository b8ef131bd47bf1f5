//! Parquet: a column of lists of numbers, and a column of keys if there is one.
//!
//! Columns are read page by page, a batch of rows at a time, through parquet's own column readers,
//! without Arrow. Memory: one page and one batch of each column that is
//! used. `member` has the columns that become records.

mod member;

use std::fs::File;
use std::path::Path;

use half::f16;
use parquet::basic::{LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescPtr;
use voisin::AnyKey;

use self::member::Member;
use super::columns::record_of;
use super::{Name, Row, Rows, Wanted};
use crate::failure::{Failure, Result};

/// The components that are read at a time, if a row has no more: 1 MB of `f32`.
const BATCH_COMPONENTS: usize = 1 << 18;

struct Parquet {
    name: Name,
    file: SerializedFileReader<File>,
    vector: usize,
    key: Option<usize>,
    record: Option<usize>,
    members: Vec<Member>,
    /// The definition level of a component that is there.
    defined: i16,
    /// Whether keys are unsigned numbers.
    is_unsigned: bool,
    wanted: Wanted,
    rows: u64,
    /// The next row group, and the readers of the current one.
    group: usize,
    current: Option<Group>,
    /// Rows that are read and not returned, in reverse order.
    batch: Vec<Row>,
    done: u64,
}

/// The column readers of a row group.
struct Group {
    vector: ColumnReader,
    key: Option<ColumnReader>,
    record: Option<ColumnReader>,
    members: Vec<ColumnReader>,
    left: usize,
}

/// Opens a file.
pub(super) fn open(path: &Path, name: Name, wanted: Wanted) -> Result<Box<dyn Rows>> {
    let file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
    let file = SerializedFileReader::new(file).map_err(|error| unsound(&name, &error))?;
    let metadata = file.metadata().file_metadata();
    let schema = metadata.schema_descr();
    let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
    let (mut vector, mut key, mut record, mut members) = (None, None, None, Vec::new());
    for column in 0..schema.num_columns() {
        let described = schema.column(column);
        let root = described.path().parts().first().cloned().unwrap_or_default();
        if wanted.is_vector(&root) {
            check_vector(&name, &described)?;
            vector = Some(column);
        } else if wanted.is_key(&root) {
            check_key(&name, &described)?;
            key = Some(column);
        } else if wanted.is_record(&root) {
            check_record(&name, &described)?;
            record = Some(column);
        } else if wanted.is_member(&root) {
            let is_another = members.iter().any(|member: &Member| member.name == root);
            let member = Member::new(column, root, &described, is_another);
            members.push(member.map_err(|what| name.wrong(what))?);
        } else if !wanted.shape.only_vectors {
            return Err(name.wrong(wanted.no_place("column", &root)));
        }
    }
    let is_there = |wanted: &str| members.iter().any(|member| member.name == wanted);
    wanted.columns.check(is_there).map_err(|what| name.wrong(what))?;
    if let (Some(_), Some(member)) = (record, members.first()) {
        return Err(name.wrong(format_args!(
            "it has a column of records, and the column {:?} that would become one: give one of \
             the two",
            member.name
        )));
    }
    let vector = vector.ok_or_else(|| {
        name.wrong(format_args!(
            "it has no column {:?}: give the name of the one that has the vectors (--vector-field)",
            wanted.vector_name()
        ))
    })?;
    let (current, batch) = (None, Vec::new());
    let defined = schema.column(vector).max_def_level();
    let is_unsigned = key.is_some_and(|key| {
        let column = schema.column(key);
        matches!(column.logical_type_ref(), Some(LogicalType::Integer { is_signed: false, .. }))
    });
    Ok(Box::new(Parquet {
        name,
        file,
        vector,
        key,
        record,
        members,
        defined,
        is_unsigned,
        wanted,
        rows,
        group: 0,
        current,
        batch,
        done: 0,
    }))
}

fn unsound(name: &Name, error: &ParquetError) -> Failure {
    name.wrong(format_args!("it is not a sound parquet file ({error}): write it anew"))
}

fn check_vector(name: &Name, column: &ColumnDescPtr) -> Result<()> {
    let is_number = match column.physical_type() {
        Type::FLOAT | Type::DOUBLE | Type::INT32 => true,
        Type::FIXED_LEN_BYTE_ARRAY => {
            matches!(column.logical_type_ref(), Some(LogicalType::Float16))
        }
        _ => false,
    };
    if column.max_rep_level() == 1 && is_number {
        return Ok(());
    }
    Err(name.wrong(format_args!(
        "the column {:?} does not have lists of float, double, float16 or int32: give another one \
         (--vector-field), or write such a column",
        column.path().string()
    )))
}

fn check_key(name: &Name, column: &ColumnDescPtr) -> Result<()> {
    let is_key = matches!(column.physical_type(), Type::INT32 | Type::INT64 | Type::BYTE_ARRAY);
    if column.max_rep_level() == 0 && is_key {
        return Ok(());
    }
    Err(name.wrong(format_args!(
        "the column {:?} does not have whole numbers or texts, as keys are: give another one \
         (--key-field), or write such a column",
        column.path().string()
    )))
}

fn check_record(name: &Name, column: &ColumnDescPtr) -> Result<()> {
    if column.max_rep_level() == 0 && column.physical_type() == Type::BYTE_ARRAY {
        return Ok(());
    }
    Err(name.wrong(format_args!(
        "the column {:?} does not have texts or bytes, as records are: give another one \
         (--record-field), or write such a column",
        column.path().string()
    )))
}

impl Rows for Parquet {
    fn next_row(&mut self) -> Result<Option<Row>> {
        while self.batch.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        self.done += 1;
        Ok(self.batch.pop())
    }

    fn count(&self) -> Option<u64> {
        Some(self.rows)
    }
}

impl Parquet {
    /// Reads the next batch. `false` at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        let name = self.name.clone();
        let sound = |error| unsound(&name, &error);
        let Some(group) = &mut self.current else {
            if self.group == self.file.num_row_groups() {
                return Ok(false);
            }
            let group = self.file.get_row_group(self.group).map_err(sound)?;
            self.group += 1;
            let key = self.key.map(|key| group.get_column_reader(key)).transpose();
            let record = self.record.map(|record| group.get_column_reader(record)).transpose();
            let members = self.members.iter().map(|member| group.get_column_reader(member.column));
            self.current = Some(Group {
                members: members.collect::<Result<_, _>>().map_err(sound)?,
                vector: group.get_column_reader(self.vector).map_err(sound)?,
                key: key.map_err(sound)?,
                record: record.map_err(sound)?,
                left: usize::try_from(group.metadata().num_rows()).unwrap_or(0),
            });
            return Ok(true);
        };
        let dimensions = self.wanted.dimensions.unwrap_or(1).max(1);
        let most = (BATCH_COMPONENTS / dimensions).max(1).min(group.left);
        if most == 0 {
            self.current = None;
            return Ok(true);
        }
        let at = |row: usize| self.done + 1 + row as u64;
        let vectors = vectors_of(&mut group.vector, most, self.defined).map_err(sound)?;
        if vectors.is_empty() {
            let what = "it has fewer rows than its table of contents says: write it anew";
            return Err(self.name.wrong(what));
        }
        let keys = group.key.as_mut().map(|keys| keys_of(keys, vectors.len(), self.is_unsigned));
        let mut keys = keys.transpose().map_err(sound)?.map(Vec::into_iter);
        let records = group.record.as_mut().map(|records| records_of(records, vectors.len()));
        let mut records = records.transpose().map_err(sound)?.map(Vec::into_iter);
        let mut members = Vec::new();
        for (member, column) in self.members.iter().zip(&mut group.members) {
            let values = member.values(column, vectors.len()).map_err(sound)?;
            members.push((member, values.into_iter()));
        }
        group.left -= vectors.len();
        for (row, vector) in vectors.into_iter().enumerate() {
            let vector = vector.map_err(|what| self.name.wrong_at("row", at(row), what))?;
            self.name.check("row", at(row), vector.len(), self.wanted.dimensions)?;
            self.wanted.dimensions = Some(vector.len());
            let key = match &mut keys {
                None => None,
                Some(keys) => {
                    let missing = || "it has no key: give a key to each row".to_owned();
                    let key = keys.next().unwrap_or_else(|| Err(missing()));
                    Some(key.map_err(|what| self.name.wrong_at("row", at(row), what))?)
                }
            };
            let record = records.as_mut().and_then(|records| records.next()?.ok());
            let record = match record {
                Some(record) => Some(record),
                None => record_of_members(&mut members)
                    .map_err(|what| self.name.wrong_at("row", at(row), what))?,
            };
            self.batch.push(Row { key, vector, record });
        }
        self.batch.reverse();
        Ok(true)
    }
}

/// The record of the next value of each member.
fn record_of_members(
    members: &mut [(&Member, std::vec::IntoIter<Value<Option<serde_json::Value>>>)],
) -> Value<Option<Vec<u8>>> {
    let mut record = serde_json::Map::new();
    for (member, values) in members {
        if let Some(value) = values.next().transpose()?.flatten() {
            record.insert(member.name.clone(), value);
        }
    }
    Ok(record_of(record))
}

/// A value of a column, or what is wrong with it.
type Value<T> = std::result::Result<T, String>;

/// The next lists of a column.
fn vectors_of(
    column: &mut ColumnReader,
    most: usize,
    full: i16,
) -> Result<Vec<Value<Vec<f32>>>, ParquetError> {
    match column {
        ColumnReader::FloatColumnReader(column) => lists(column, most, full, |value| *value),
        ColumnReader::DoubleColumnReader(column) => {
            lists(column, most, full, |value| *value as f32)
        }
        ColumnReader::Int32ColumnReader(column) => lists(column, most, full, |value| *value as f32),
        ColumnReader::FixedLenByteArrayColumnReader(column) => {
            lists(column, most, full, |value: &FixedLenByteArray| {
                let bytes = value.data().first_chunk();
                bytes.map_or(f32::NAN, |bytes| f16::from_le_bytes(*bytes).to_f32())
            })
        }
        _ => Err(ParquetError::General("a column of another type".to_owned())),
    }
}

fn lists<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    most: usize,
    full: i16,
    number: impl Fn(&T::T) -> f32,
) -> Result<Vec<Value<Vec<f32>>>, ParquetError> {
    let (mut defined, mut repeated, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let read = column.read_records(most, Some(&mut defined), Some(&mut repeated), &mut values)?;
    let (count, _, levels) = read;
    let mut values = values.iter();
    let mut lists: Vec<Value<Vec<f32>>> = Vec::with_capacity(count);
    for level in 0..levels {
        if repeated.get(level).is_none_or(|level| *level == 0) {
            lists.push(Ok(Vec::new()));
        }
        let Some(list) = lists.last_mut() else { break };
        if defined.get(level).is_none_or(|level| *level == full) {
            if let (Ok(list), Some(value)) = (list, values.next()) {
                list.push(number(value));
            }
        } else {
            *list = Err("a component or the whole vector is null: give numbers only".to_owned());
        }
    }
    Ok(lists)
}

/// The next keys of a column.
fn keys_of(
    column: &mut ColumnReader,
    most: usize,
    is_unsigned: bool,
) -> Result<Vec<Value<AnyKey>>, ParquetError> {
    let of_number = |number: i64| {
        let wrong = |_| format!("the key {number} is negative: give whole numbers from 0 on");
        u64::try_from(number).map(AnyKey::Number).map_err(wrong)
    };
    match column {
        ColumnReader::Int32ColumnReader(column) if is_unsigned => {
            scalars(column, most, |value| Ok(AnyKey::Number(value.cast_unsigned().into())))
        }
        ColumnReader::Int32ColumnReader(column) => {
            scalars(column, most, |value| of_number(i64::from(*value)))
        }
        // Unsigned numbers have the bits of signed ones.
        ColumnReader::Int64ColumnReader(column) if is_unsigned => {
            scalars(column, most, |value| Ok(AnyKey::Number(value.cast_unsigned())))
        }
        ColumnReader::Int64ColumnReader(column) => scalars(column, most, |value| of_number(*value)),
        ColumnReader::ByteArrayColumnReader(column) => {
            scalars(column, most, |value: &ByteArray| match value.as_utf8() {
                Ok(text) => Ok(AnyKey::from(text)),
                Err(_) => Err("the key is not UTF-8: give texts in UTF-8".to_owned()),
            })
        }
        _ => Err(ParquetError::General("a column of another type".to_owned())),
    }
}

/// The next records of a column: an error for a row that has none.
fn records_of(column: &mut ColumnReader, most: usize) -> Result<Vec<Value<Vec<u8>>>, ParquetError> {
    match column {
        ColumnReader::ByteArrayColumnReader(column) => {
            scalars(column, most, |value: &ByteArray| Ok(value.data().to_vec()))
        }
        _ => Err(ParquetError::General("a column of another type".to_owned())),
    }
}

fn scalars<T: DataType, V>(
    column: &mut ColumnReaderImpl<T>,
    most: usize,
    decode: impl Fn(&T::T) -> Value<V>,
) -> Result<Vec<Value<V>>, ParquetError> {
    let (mut defined, mut values, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    while keys.len() < most {
        defined.clear();
        values.clear();
        let left = most - keys.len();
        let (count, _, _) = column.read_records(left, Some(&mut defined), None, &mut values)?;
        if count == 0 {
            break;
        }
        let mut values = values.iter();
        for row in 0..count {
            let is_there = defined.get(row).is_none_or(|level| *level > 0);
            let value = if is_there { values.next() } else { None };
            let missing = || Err("it has no key (null): give a key to each row".to_owned());
            keys.push(value.map_or_else(missing, &decode));
        }
    }
    Ok(keys)
}
