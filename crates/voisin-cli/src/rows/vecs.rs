//! fvecs, bvecs and ivecs: each row begins with its number of components, as a little-endian 4-byte
//! integer.

use super::{Element, Open, Row, Rows, Wanted};
use crate::failure::Result;

/// The most components that a row can have: as many as an index can have dimensions.
const MAX_COMPONENTS: i32 = 65_535;

struct Vecs {
    open: Open,
    element: Element,
    dimensions: usize,
    /// The length of the first row, which was read when the input was opened.
    is_begun: bool,
    done: u64,
    bytes: Vec<u8>,
}

impl Vecs {
    /// Reads the length of the next row. `None` at the end.
    fn length(&mut self) -> Result<Option<usize>> {
        let mut bytes = [0; 4];
        if !self.open.fill(&mut bytes, self.done)? {
            return Ok(None);
        }
        let length = i32::from_le_bytes(bytes);
        if !(1..=MAX_COMPONENTS).contains(&length) {
            let what = format_args!(
                "it begins with a length of {length}, the limit is 1 to {MAX_COMPONENTS}: give a \
                 file of this format (--format)"
            );
            return Err(self.open.name.wrong_at("row", self.done + 1, what));
        }
        Ok(usize::try_from(length).ok())
    }
}

impl Rows for Vecs {
    fn next_row(&mut self) -> Result<Option<Row>> {
        if self.dimensions == 0 {
            return Ok(None);
        }
        if !std::mem::take(&mut self.is_begun) {
            let Some(length) = self.length()? else { return Ok(None) };
            self.open.name.check("row", self.done + 1, length, Some(self.dimensions))?;
        }
        self.bytes.resize(self.dimensions * self.element.bytes(), 0);
        let name = &self.open.name;
        let cut = name.wrong_at(
            "row",
            self.done + 1,
            "the input ends after the length of the row: it was cut off, give all of it",
        );
        if !self.open.fill(&mut self.bytes, self.done)? {
            return Err(cut);
        }
        self.done += 1;
        let vector = self.element.decode(&self.bytes, false);
        let vector = vector.map_err(|what| self.open.name.wrong_at("row", self.done, what))?;
        Ok(Some(Row { vector, ..Row::default() }))
    }

    fn dimensions(&self) -> Option<usize> {
        (self.dimensions > 0).then_some(self.dimensions)
    }

    fn count(&self) -> Option<u64> {
        let row_bytes = 4 + self.dimensions * self.element.bytes();
        self.open.bytes.map(|bytes| bytes / row_bytes as u64)
    }
}

/// Opens rows that begin with their length.
pub(super) fn open(open: Open, wanted: &Wanted, element: Element) -> Result<Box<dyn Rows>> {
    let mut rows =
        Vecs { open, element, dimensions: 0, is_begun: true, done: 0, bytes: Vec::new() };
    if let Some(length) = rows.length()? {
        rows.open.name.check("row", 1, length, wanted.dimensions)?;
        rows.dimensions = length;
        let row_bytes = (4 + length * element.bytes()) as u64;
        if let Some(bytes) = rows.open.bytes.filter(|bytes| !bytes.is_multiple_of(row_bytes)) {
            let what = format_args!(
                "its {bytes} bytes are no whole number of rows of {row_bytes} bytes, {length} \
                 components each: it was cut off, or is of another format (--format)"
            );
            return Err(rows.open.name.wrong(what));
        }
    }
    Ok(Box::new(rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{all, opened, wanted};

    #[test]
    fn rows_begin_with_their_length() {
        let file = [&2i32.to_le_bytes()[..], &[7, 8], &2i32.to_le_bytes(), &[9, 10]].concat();
        let rows = super::open(opened(&file), &wanted(None), Element::U8).unwrap();
        assert_eq!((rows.dimensions(), rows.count()), (Some(2), Some(2)));
        let vectors: Vec<_> = all(rows).unwrap().into_iter().map(|row| row.vector).collect();
        assert_eq!(vectors, [[7.0, 8.0], [9.0, 10.0]]);
        assert!(super::open(opened(&file), &wanted(Some(3)), Element::U8).is_err());
        assert!(super::open(opened(&file[..11]), &wanted(None), Element::U8).is_err());
        assert!(super::open(opened(&[255; 8]), &wanted(None), Element::U8).is_err());
        assert!(
            all(super::open(opened(&[]), &wanted(None), Element::U8).unwrap()).unwrap().is_empty()
        );
        let uneven = [&2i32.to_le_bytes()[..], &[7, 8], &1i32.to_le_bytes(), &[9, 1]].concat();
        let error = all(super::open(opened(&uneven), &wanted(None), Element::U8).unwrap());
        assert!(error.unwrap_err().to_string().contains("row 2"));
    }
}
