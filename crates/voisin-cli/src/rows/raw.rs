//! Rows of numbers without a header: the dimensions come from the index.

use super::{Element, Open, Row, Rows, Wanted};
use crate::failure::Result;

/// Rows of one length and one type, from the place where the input stands.
pub(super) struct Fixed {
    pub(super) open: Open,
    pub(super) element: Element,
    pub(super) is_big_endian: bool,
    pub(super) dimensions: usize,
    /// The number of rows, if it is known.
    pub(super) count: Option<u64>,
    pub(super) done: u64,
    pub(super) bytes: Vec<u8>,
}

impl Rows for Fixed {
    fn next_row(&mut self) -> Result<Option<Row>> {
        if self.count == Some(self.done) {
            return Ok(None);
        }
        self.bytes.resize(self.dimensions * self.element.bytes(), 0);
        if !self.open.fill(&mut self.bytes, self.done)? {
            return match self.count {
                None => Ok(None),
                Some(count) => {
                    let what = format_args!(
                        "the input ends after {} of {count} rows: it was cut off, give all of it",
                        self.done
                    );
                    Err(self.open.name.wrong(what))
                }
            };
        }
        self.done += 1;
        let vector = self.element.decode(&self.bytes, self.is_big_endian);
        let vector = vector.map_err(|what| self.open.name.wrong_at("row", self.done, what))?;
        Ok(Some(Row { vector, ..Row::default() }))
    }

    fn dimensions(&self) -> Option<usize> {
        Some(self.dimensions)
    }

    fn count(&self) -> Option<u64> {
        self.count
    }
}

/// Opens rows without a header.
pub(super) fn open(open: Open, wanted: &Wanted, element: Element) -> Result<Box<dyn Rows>> {
    let Some(dimensions) = wanted.dimensions.filter(|dimensions| *dimensions > 0) else {
        return Err(open.name.wrong(
            "rows without a header do not tell their length: give --dimensions, or create the \
             index first",
        ));
    };
    let row_bytes = (dimensions * element.bytes()) as u64;
    if let Some(bytes) = open.bytes.filter(|bytes| !bytes.is_multiple_of(row_bytes)) {
        let what = format_args!(
            "its {bytes} bytes are no whole number of rows of {row_bytes} bytes, {dimensions} \
             components each: give rows of the dimensions of the index, and the type of their \
             components (--format)"
        );
        return Err(open.name.wrong(what));
    }
    let count = open.bytes.map(|bytes| bytes / row_bytes);
    Ok(Box::new(Fixed {
        open,
        element,
        is_big_endian: false,
        dimensions,
        count,
        done: 0,
        bytes: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{all, opened, wanted};

    #[test]
    fn rows_without_a_header_have_the_dimensions_of_the_index() {
        let rows = all(super::open(opened(&[1, 2, 3, 4]), &wanted(Some(2)), Element::U8).unwrap());
        let vectors: Vec<_> = rows.unwrap().into_iter().map(|row| row.vector).collect();
        assert_eq!(vectors, [[1.0, 2.0], [3.0, 4.0]]);
        assert!(super::open(opened(&[1, 2, 3]), &wanted(Some(2)), Element::U8).is_err());
        assert!(super::open(opened(&[1, 2]), &wanted(None), Element::U8).is_err());
        // A pipe that ends within a row.
        let mut cut = opened(&[1, 2, 3]);
        cut.bytes = None;
        let error = all(super::open(cut, &wanted(Some(2)), Element::U8).unwrap()).unwrap_err();
        assert!(error.to_string().contains("row 2"), "{error}");
    }
}
