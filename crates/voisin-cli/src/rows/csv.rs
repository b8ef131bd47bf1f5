//! Comma- or tab-separated values: a column for each component, or one with lists of numbers.
//!
//! The first record is a header if one of its values is no number. With a header, keys are in the
//! column of that name; without, in the first column if there is one more than components.

use voisin::AnyKey;

use super::columns::{record_of, value_of};
use super::{Name, Open, Row, Rows, Wanted};
use crate::failure::Result;

/// Which columns have what.
#[derive(Debug, Clone, PartialEq)]
struct Columns {
    key: Option<usize>,
    record: Option<usize>,
    vector: Vector,
    /// Those that become members of the records.
    members: Vec<(usize, String)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Vector {
    /// One column, with a list of numbers.
    List(usize),
    /// A column for each component.
    Each(Vec<usize>),
}

struct Csv {
    name: Name,
    reader: csv::Reader<Box<dyn std::io::BufRead>>,
    wanted: Wanted,
    columns: Columns,
    record: csv::StringRecord,
    /// Whether the record has been read, and not returned.
    is_ahead: bool,
}

pub(super) fn open(open: Open, wanted: Wanted, delimiter: u8) -> Result<Box<dyn Rows>> {
    let mut builder = csv::ReaderBuilder::new();
    let reader = builder.has_headers(false).delimiter(delimiter).trim(csv::Trim::All);
    let reader = reader.from_reader(open.reader);
    let (name, record) = (open.name, csv::StringRecord::new());
    let (key, record_column, vector) = (None, None, Vector::Each(Vec::new()));
    let columns = Columns { key, record: record_column, vector, members: Vec::new() };
    let mut rows = Csv { name, reader, wanted, columns, record, is_ahead: false };
    if rows.read()? {
        let is_header = rows.record.iter().any(|value| numbers(value).is_none());
        // A text key is no number either, so a header must name more than that.
        let has_values = rows.record.iter().skip(1).any(|value| numbers(value).is_some());
        if is_header && !has_values {
            rows.columns = rows.named()?;
        } else {
            rows.columns = rows.unnamed();
            rows.is_ahead = true;
        }
    }
    Ok(Box::new(rows))
}

/// The numbers of a list, such as `[1, 2]` or `1 2`.
fn numbers(text: &str) -> Option<Vec<f32>> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let words = inner.split([',', ' ', ';']).filter(|word| !word.is_empty());
    let numbers: Option<Vec<f32>> = words.map(|word| word.parse().ok()).collect();
    numbers.filter(|numbers| !numbers.is_empty())
}

impl Csv {
    /// Reads the next record. `false` at the end.
    fn read(&mut self) -> Result<bool> {
        self.reader.read_record(&mut self.record).map_err(|error| match error.kind() {
            csv::ErrorKind::Io(error) => self.name.unreadable(error),
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                let what = format_args!(
                    "it has {len} values, the first line has {expected_len}: give as many"
                );
                self.name.wrong_at("line", line, what)
            }
            _ => self.name.wrong(format_args!("it is not sound CSV ({error}): write it anew")),
        })
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    /// The columns by the names in the header.
    fn named(&self) -> Result<Columns> {
        let of = |is: &dyn Fn(&str) -> bool| self.record.iter().position(is);
        let key = of(&|name| self.wanted.is_key(name));
        let vector = of(&|name| self.wanted.is_vector(name));
        let record = of(&|name| self.wanted.is_record(name));
        let is_placed = |column: usize| [key, record, vector].contains(&Some(column));
        let names = || self.record.iter().enumerate().filter(|(column, _)| !is_placed(*column));
        // Without a column of lists, all that have no other place are components.
        let is_member = |name: &str| match (vector, &self.wanted.columns) {
            (None, columns) if columns.all => columns.type_of(name).is_some(),
            (_, columns) => columns.has(name),
        };
        let members = names().filter(|(_, name)| is_member(name));
        let members: Vec<(usize, String)> =
            members.map(|(column, name)| (column, name.to_owned())).collect();
        let is_there = |wanted: &str| members.iter().any(|(_, name)| name == wanted);
        self.wanted.columns.check(is_there).map_err(|what| self.name.wrong(what))?;
        let mut others = names().filter(|(_, name)| !is_member(name)).map(|(column, _)| column);
        let vector = match vector {
            Some(vector) => {
                let other = others.next().filter(|_| !self.wanted.shape.only_vectors);
                if let Some(other) = other {
                    let other = self.record.get(other).unwrap_or_default();
                    return Err(self.name.wrong(self.wanted.no_place("column", other)));
                }
                Vector::List(vector)
            }
            None if self.wanted.shape.vector_field.is_some() => {
                let what = format_args!(
                    "it has no column {:?}: give the name of one (--vector-field)",
                    self.wanted.vector_name()
                );
                return Err(self.name.wrong(what));
            }
            None => Vector::Each(others.collect()),
        };
        Ok(Columns { key, record, vector, members })
    }

    /// The columns by their number.
    fn unnamed(&self) -> Columns {
        let count = self.record.len();
        let first_is_text = self.record.get(0).is_some_and(|first| numbers(first).is_none());
        let has_key = first_is_text || self.wanted.dimensions == Some(count.saturating_sub(1));
        let is_list = count == if has_key { 2 } else { 1 };
        let key = has_key.then_some(0);
        let first = usize::from(has_key);
        let vector =
            if is_list { Vector::List(first) } else { Vector::Each((first..count).collect()) };
        Columns { key, record: None, vector, members: Vec::new() }
    }

    fn row(&self) -> Result<Row> {
        let line = self.line();
        let value = |column: usize| self.record.get(column).unwrap_or_default();
        let vector = match &self.columns.vector {
            Vector::List(column) => numbers(value(*column)).ok_or_else(|| {
                let what = format_args!(
                    "{:?} is no list of numbers: give such as [0.5, 1]",
                    short(value(*column))
                );
                self.name.wrong_at("line", line, what)
            })?,
            Vector::Each(columns) => {
                let component = |column: &usize| {
                    value(*column).parse::<f32>().map_err(|_| {
                        let what = format_args!(
                            "the value {:?} in column {} is no number: give a number, or name the \
                             columns in a first line",
                            short(value(*column)),
                            column + 1
                        );
                        self.name.wrong_at("line", line, what)
                    })
                };
                columns.iter().map(component).collect::<Result<_>>()?
            }
        };
        self.name.check("line", line, vector.len(), self.wanted.dimensions)?;
        let key = self.columns.key.map(|column| AnyKey::from(value(column)));
        let record = self.columns.record.map(|column| value(column).as_bytes().to_vec());
        let mut members = serde_json::Map::new();
        for (column, name) in &self.columns.members {
            let of = self.wanted.columns.type_of(name);
            let member = value_of(value(*column), of).map_err(|what| {
                let what = format_args!("the column {name:?}: {what}: give such a value");
                self.name.wrong_at("line", line, what)
            })?;
            members.extend(member.map(|member| (name.clone(), member)));
        }
        let record = match (record, record_of(members)) {
            (Some(_), Some(_)) => {
                let what = "it has a record and columns that become one: give one of the two";
                return Err(self.name.wrong_at("line", line, what));
            }
            (record, members) => record.or(members),
        };
        Ok(Row { key, vector, record })
    }
}

/// The begin of a value, for a message.
fn short(value: &str) -> String {
    const SHOWN: usize = 40;
    let begin: String = value.chars().take(SHOWN).collect();
    if begin.len() < value.len() { begin + "..." } else { begin }
}

impl Rows for Csv {
    fn next_row(&mut self) -> Result<Option<Row>> {
        if !std::mem::take(&mut self.is_ahead) && !self.read()? {
            return Ok(None);
        }
        let row = self.row()?;
        self.wanted.dimensions = Some(row.vector.len());
        Ok(Some(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{all, opened, wanted};

    fn rows(text: &str, dimensions: Option<usize>) -> Result<Vec<Row>> {
        all(super::open(opened(text.as_bytes()), wanted(dimensions), b',')?)
    }

    fn row(key: Option<&str>, vector: &[f32]) -> Row {
        Row { key: key.map(AnyKey::from), vector: vector.to_vec(), record: None }
    }

    #[test]
    fn columns_are_found_with_and_without_a_header() {
        let two = [row(Some("7"), &[1.0, 2.0]), row(Some("8"), &[3.0, 4.0])];
        assert_eq!(rows("id,x,y\n7,1,2\n8,3,4\n", None).unwrap(), two);
        assert_eq!(rows("7,1,2\n8,3,4\n", Some(2)).unwrap(), two);
        assert_eq!(rows("id,vector\n7,\"[1, 2]\"\n8,3 4\n", None).unwrap(), two);
        assert_eq!(rows("7,\"[1, 2]\"\n8,\"[3,4]\"\n", Some(1)).unwrap_err().exit() as i32, 2);
        assert_eq!(rows("1,2\n3,4\n", None).unwrap(), [row(None, &[1., 2.]), row(None, &[3., 4.])]);
        assert_eq!(rows("a b,1,2\n", None).unwrap(), [row(Some("a b"), &[1.0, 2.0])]);
        assert_eq!(rows("", None).unwrap(), []);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        for (text, told) in [
            ("1,2\n3,4,5\n", "line 2: it has 3 values"),
            ("1,2\n3,x\n", "line 2: the value \"x\" in column 2"),
            ("id,vector,title\n1,\"[1,2]\",a\n", "\"title\" has no place"),
            ("id,vector\n1,none\n", "line 2: \"none\" is no list"),
            ("1,2,3,4\n", "give 2 components"),
        ] {
            let error = rows(text, Some(2)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
