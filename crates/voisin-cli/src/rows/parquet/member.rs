//! Columns of a parquet file that become members of records: of truth values, numbers, texts, dates
//! and timestamps, or lists of such. Dates and timestamps become milliseconds since 1970.

use parquet::basic::{LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;
use serde_json::Value as Json;

use super::Value;

const DAY_MILLISECONDS: i64 = 86_400_000;

/// A column that becomes a member of records.
pub(super) struct Member {
    /// Its number.
    pub(super) column: usize,
    pub(super) name: String,
    /// Whether its values are lists.
    is_list: bool,
    /// The definition level of a value that is there.
    defined: i16,
    of: Of,
}

/// What whole numbers are.
#[derive(Clone, Copy)]
enum Of {
    Number,
    Unsigned,
    Days,
    /// A timestamp, in so many units a millisecond.
    Time(i64),
}

impl Member {
    /// `is_another` is whether it is a part of a column of which there has been one, such as a map.
    ///
    /// # Errors
    /// Why such a column cannot be a member.
    pub(super) fn new(
        column: usize,
        name: String,
        described: &ColumnDescPtr,
        is_another: bool,
    ) -> Result<Self, String> {
        let of = match described.logical_type_ref() {
            None
            | Some(
                LogicalType::String
                | LogicalType::Json
                | LogicalType::Enum
                | LogicalType::Integer { is_signed: true, .. },
            ) => Some(Of::Number),
            Some(LogicalType::Integer { is_signed: false, .. }) => Some(Of::Unsigned),
            Some(LogicalType::Date) => Some(Of::Days),
            Some(LogicalType::Timestamp { unit, .. }) => Some(Of::Time(match unit {
                TimeUnit::MILLIS => 1,
                TimeUnit::MICROS => 1_000,
                TimeUnit::NANOS => 1_000_000,
            })),
            Some(_) => None,
        };
        let is_value =
            !matches!(described.physical_type(), Type::INT96 | Type::FIXED_LEN_BYTE_ARRAY);
        let levels = described.max_rep_level();
        // A list has three parts by the standard, `tags.list.element`.
        let parts = described.path().parts().len();
        let is_flat = if levels == 0 { parts == 1 } else { parts <= 3 };
        match of {
            Some(of) if is_value && levels <= 1 && is_flat && !is_another => {
                let defined = described.max_def_level();
                Ok(Self { column, name, is_list: levels == 1, defined, of })
            }
            _ => Err(format!(
                "the column {:?} does not have truth values, numbers, texts, dates, timestamps or \
                 lists of these, as records can: leave it out of --columns",
                described.path().string()
            )),
        }
    }

    /// The next values of the column: none where there is none.
    pub(super) fn values(
        &self,
        column: &mut ColumnReader,
        most: usize,
    ) -> Result<Vec<Value<Option<Json>>>, ParquetError> {
        match column {
            ColumnReader::BoolColumnReader(column) => {
                self.read(column, most, |value| Ok(Json::from(*value)))
            }
            ColumnReader::Int32ColumnReader(column) => self.read(column, most, |value| {
                Ok(match self.of {
                    Of::Unsigned => Json::from(value.cast_unsigned()),
                    _ => self.whole((*value).into()),
                })
            }),
            ColumnReader::Int64ColumnReader(column) => {
                self.read(column, most, |value| Ok(self.whole(*value)))
            }
            ColumnReader::FloatColumnReader(column) => self.read(column, most, |value| {
                // The shortest number that is this one, as a person would write it.
                Ok(value.to_string().parse::<f64>().map_or(Json::Null, Json::from))
            }),
            ColumnReader::DoubleColumnReader(column) => {
                self.read(column, most, |value| Ok(Json::from(*value)))
            }
            ColumnReader::ByteArrayColumnReader(column) => {
                self.read(column, most, |value: &ByteArray| match value.as_utf8() {
                    Ok(text) => Ok(Json::from(text)),
                    Err(_) => Err(format!(
                        "the value of the column {:?} is not UTF-8: give texts in UTF-8",
                        self.name
                    )),
                })
            }
            _ => Err(ParquetError::General("a column of another type".to_owned())),
        }
    }

    fn whole(&self, number: i64) -> Json {
        match self.of {
            Of::Number => Json::from(number),
            Of::Unsigned => Json::from(number.cast_unsigned()),
            Of::Days => Json::from(number.saturating_mul(DAY_MILLISECONDS)),
            Of::Time(units) => Json::from(number.div_euclid(units)),
        }
    }

    fn read<T: DataType>(
        &self,
        column: &mut ColumnReaderImpl<T>,
        most: usize,
        decode: impl Fn(&T::T) -> Value<Json>,
    ) -> Result<Vec<Value<Option<Json>>>, ParquetError> {
        let mut rows: Vec<Value<Option<Json>>> = Vec::with_capacity(most);
        while rows.len() < most {
            let (mut defined, mut repeated, mut values) = (Vec::new(), Vec::new(), Vec::new());
            let repeats = self.is_list.then_some(&mut repeated);
            let left = most - rows.len();
            let (count, _, levels) =
                column.read_records(left, Some(&mut defined), repeats, &mut values)?;
            if count == 0 {
                break;
            }
            let mut values = values.iter();
            // A column without nulls has no levels.
            for level in 0..if self.is_list { levels } else { count } {
                let is_there = defined.get(level).is_none_or(|level| *level == self.defined);
                let value = if is_there { values.next().map(&decode) } else { None };
                let is_first = repeated.get(level).is_none_or(|level| *level == 0);
                if !self.is_list {
                    rows.push(value.transpose());
                    continue;
                }
                if is_first {
                    rows.push(Ok(None));
                }
                let (Some(value), Some(row)) = (value, rows.last_mut()) else { continue };
                match (value, row) {
                    (Ok(value), Ok(Some(Json::Array(list)))) => list.push(value),
                    (Ok(value), Ok(row)) => *row = Some(Json::Array(vec![value])),
                    (Err(what), row) => *row = Err(what),
                    (Ok(_), Err(_)) => {}
                }
            }
        }
        Ok(rows)
    }
}
