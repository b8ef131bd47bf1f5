//! Writes a parquet file of keys, vectors and records, a row group at a time, without Arrow.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use voisin::AnyKey;

/// The bytes of vectors and records in a row group: 16 MB, which readers keep in memory at a time.
const GROUP_BYTES: usize = 16 << 20;

/// Why a file could not be written.
pub(super) enum Failed {
    Io(io::Error),
    Parquet(ParquetError),
}

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(error) => Self::Parquet(ParquetError::External(error)),
            },
            error => Self::Parquet(error),
        }
    }
}

/// A file that is being written: a column `key`, of whole numbers or texts, and a column `vector`,
/// of lists of `float`, which have no nulls; and a column `record` of bytes, null where an item has
/// none.
pub(super) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    is_text: bool,
    has_records: bool,
    dimensions: usize,
    numbers: Vec<i64>,
    texts: Vec<ByteArray>,
    components: Vec<f32>,
    /// Those of the items that have one, and for each item whether it does.
    records: Vec<ByteArray>,
    recorded: Vec<i16>,
    record_bytes: usize,
}

impl<W: Write + Send> Writer<W> {
    pub(super) fn new(
        out: W,
        (is_text, has_records): (bool, bool),
        dimensions: usize,
    ) -> Result<Self, Failed> {
        let record = if has_records { "OPTIONAL BYTE_ARRAY record; " } else { "" };
        let key =
            if is_text { "BYTE_ARRAY key (STRING)" } else { "INT64 key (INTEGER(64, false))" };
        let schema = format!(
            "message items {{ REQUIRED {key}; REQUIRED GROUP vector (LIST) {{ REPEATED GROUP list \
             {{ REQUIRED FLOAT element; }} }} {record}}}"
        );
        let schema = Arc::new(parse_message_type(&schema)?);
        // Components are noise, which no compression makes smaller.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false);
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties.build()))?;
        let (numbers, texts, components) = (Vec::new(), Vec::new(), Vec::new());
        let (records, recorded, record_bytes) = (Vec::new(), Vec::new(), 0);
        Ok(Self {
            file,
            is_text,
            has_records,
            dimensions,
            numbers,
            texts,
            components,
            records,
            recorded,
            record_bytes,
        })
    }

    pub(super) fn add(
        &mut self,
        key: AnyKey,
        vector: Vec<f32>,
        record: Option<Vec<u8>>,
    ) -> Result<(), Failed> {
        self.recorded.push(i16::from(record.is_some()));
        self.record_bytes += record.as_ref().map_or(0, Vec::len);
        self.records.extend(record.map(ByteArray::from));
        match key {
            // Unsigned numbers have the bits of signed ones.
            AnyKey::Number(number) => self.numbers.push(number.cast_signed()),
            text => self.texts.push(ByteArray::from(text.to_string().into_bytes())),
        }
        self.components.extend(vector);
        let bytes = size_of_val(&self.components[..]) + self.record_bytes;
        if bytes >= GROUP_BYTES { self.group() } else { Ok(()) }
    }

    /// Writes what is collected as a row group.
    fn group(&mut self) -> Result<(), Failed> {
        let mut group = self.file.next_row_group()?;
        if let Some(mut column) = group.next_column()? {
            if self.is_text {
                column.typed::<ByteArrayType>().write_batch(&self.texts, None, None)?;
            } else {
                column.typed::<Int64Type>().write_batch(&self.numbers, None, None)?;
            }
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            let dimensions = self.dimensions.max(1);
            let defined = vec![1; self.components.len()];
            let repeated: Vec<i16> =
                (0..self.components.len()).map(|at| i16::from(at % dimensions > 0)).collect();
            let column_writer = column.typed::<FloatType>();
            column_writer.write_batch(&self.components, Some(&defined), Some(&repeated))?;
            column.close()?;
        }
        if self.has_records
            && let Some(mut column) = group.next_column()?
        {
            let column_writer = column.typed::<ByteArrayType>();
            column_writer.write_batch(&self.records, Some(&self.recorded), None)?;
            column.close()?;
        }
        group.close()?;
        self.numbers.clear();
        self.texts.clear();
        self.components.clear();
        self.records.clear();
        self.recorded.clear();
        self.record_bytes = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Failed> {
        if !self.components.is_empty() {
            self.group()?;
        }
        self.file.close()?;
        Ok(())
    }
}
