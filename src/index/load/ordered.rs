//! The rows of a load within a memory budget: in a temporary file that is mapped, and in an order
//! by locality.
//!
//! The order begins with a *backbone*: one row in sixteen, at random. What is linked first decides
//! the long edges of the graph, and a training of codes on the first rows is one on all. The rest
//! follows cell by cell ([`Cells`]). The order follows from the rows and from nothing else, so that
//! a load that is repeated adds them in the same order.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::marker::PhantomData;
use std::path::Path;

use super::Row;
use super::aside::NO_RECORD;
use super::cells::Cells;
use crate::codec::Component;
use crate::distance::{Form, Metric};
use crate::error::{Error, Result};
use crate::store::temp_map::{TempFile, TempMap};
use crate::threads::{self, SEARCHES};

/// One row in this many is in the backbone.
const BACKBONE_DIVISOR: u64 = 16;
/// Rows that a thread reads at a time, and rows that are hinted before they are read.
const TASK: usize = 256;
/// Bytes that are hinted before they are read in order.
const AHEAD_BYTES: u64 = 4 << 20;

/// Where the rows begin in the file.
#[derive(Debug)]
enum Starts {
    /// All names have one length: each row has this many bytes.
    Even(u64),
    Each(Vec<u64>),
}

/// The rows while they are written: for each the length of its name in bytes, the name, the
/// components of its vector, the length of its record, and the record, all little-endian.
pub(super) struct RowsFile<T> {
    file: TempFile,
    starts: Starts,
    /// A hash of each name.
    hashes: Vec<u64>,
    /// Bytes of all records.
    record_bytes: u64,
    component: PhantomData<T>,
}

/// The rows, which can be read in any order.
pub(super) struct Rows<T> {
    map: TempMap,
    starts: Starts,
    count: usize,
    dimensions: usize,
    component: PhantomData<T>,
}

impl<T: Component> RowsFile<T> {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let (file, starts) = (TempFile::new(folder)?, Starts::Even(0));
        Ok(Self { file, starts, hashes: Vec::new(), record_bytes: 0, component: PhantomData })
    }

    /// # Errors
    /// Those of the file system.
    pub(super) fn put(&mut self, name: &[u8], vector: &[T], record: Option<&[u8]>) -> Result<()> {
        let (start, count) = (self.file.len(), self.hashes.len() as u64);
        let record_bytes = record.map_or(0, <[u8]>::len);
        let bytes = (2 + name.len() + size_of_val(vector) + 4 + record_bytes) as u64;
        match &mut self.starts {
            Starts::Even(each) if count == 0 || *each == bytes => *each = bytes,
            Starts::Even(each) => {
                let mut starts: Vec<u64> = (0..count).map(|number| number * *each).collect();
                starts.push(start);
                self.starts = Starts::Each(starts);
            }
            Starts::Each(starts) => starts.push(start),
        }
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.hashes.push(hasher.finish());
        self.file.write(&(name.len() as u16).to_le_bytes())?;
        self.file.write(name)?;
        vector.iter().try_for_each(|component| self.file.write(component.to_bytes().as_ref()))?;
        let length = record.map_or(NO_RECORD, |record| record.len() as u32);
        self.file.write(&length.to_le_bytes())?;
        self.record_bytes += record_bytes as u64;
        self.file.write(record.unwrap_or_default())
    }

    /// The mean length of a record.
    pub(super) fn record_bytes(&self) -> u64 {
        self.record_bytes.div_ceil(self.count().max(1))
    }

    pub(super) fn count(&self) -> u64 {
        self.hashes.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.len()
    }

    /// All rows, and those that a later row with the same name replaces.
    pub(super) fn finish(self, dimensions: usize) -> Result<(Rows<T>, HashSet<u32>)> {
        let count = self.hashes.len();
        let (map, starts) = (self.file.finish()?, self.starts);
        let rows = Rows { map, starts, count, dimensions, component: PhantomData };
        let replaced = rows.replaced(&self.hashes);
        Ok((rows, replaced))
    }
}

impl<T: Component> Rows<T> {
    fn start(&self, row: usize) -> usize {
        match &self.starts {
            Starts::Even(each) => row * *each as usize,
            Starts::Each(starts) => {
                starts.get(row).map_or(self.map.bytes().len(), |start| *start as usize)
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count as u64
    }

    /// The bytes of the name, of the vector, and of the record of a row.
    fn parts(&self, row: usize) -> (&[u8], &[u8], Option<&[u8]>) {
        let bytes = self.map.bytes().get(self.start(row)..).unwrap_or_default();
        let Some((length, rest)) = bytes.split_first_chunk() else { return Default::default() };
        let (name, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        let (vector, rest) = rest.split_at((self.dimensions * size_of::<T>()).min(rest.len()));
        let record = match rest.split_first_chunk() {
            Some((length, rest)) if *length != NO_RECORD.to_le_bytes() => {
                rest.get(..u32::from_le_bytes(*length) as usize)
            }
            _ => None,
        };
        (name, vector, record)
    }

    /// A row.
    pub(super) fn get(&self, row: u32) -> Row<T> {
        let (name, vector, record) = self.parts(row as usize);
        (name.to_vec(), T::of_bytes(vector), record.map(<[u8]>::to_vec))
    }

    /// Asks the system to read rows that are read next, in any order.
    pub(super) fn will_need(&self, rows: &[u32]) {
        for row in rows.iter().map(|row| *row as usize) {
            self.map.will_need(self.start(row), self.start(row + 1));
        }
    }

    /// All rows in the order in which they were written.
    pub(super) fn all(&self) -> impl Iterator<Item = Row<T>> {
        (0..self.count as u32).map(|row| {
            self.ahead(row as usize);
            self.get(row)
        })
    }

    /// Hints what follows a row, when a stretch of the file begins with it.
    fn ahead(&self, row: usize) {
        let stretch = |row: usize| self.start(row) as u64 / AHEAD_BYTES;
        if row == 0 || stretch(row) != stretch(row - 1) {
            let start = self.start(row);
            self.map.will_need(start, start + 2 * AHEAD_BYTES as usize);
        }
    }

    /// The rows of each name but the last.
    fn replaced(&self, hashes: &[u64]) -> HashSet<u32> {
        let mut sorted = hashes.to_vec();
        sorted.sort_unstable();
        let twice: HashSet<u64> =
            sorted.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
        drop(sorted);
        let (mut last, mut replaced) = (HashMap::new(), HashSet::new());
        for (row, _) in hashes.iter().enumerate().filter(|(_, hash)| twice.contains(*hash)) {
            replaced.extend(last.insert(self.parts(row).0, row as u32));
        }
        replaced
    }

    /// The components of a row as cells compare them.
    fn floats(&self, metric: &Metric, row: usize) -> Vec<f32> {
        let vector = T::of_bytes(self.parts(row).1);
        let mut floats = T::floats(&vector).into_owned();
        if metric.form == Form::Cosine {
            let norm = floats.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
            if norm > 0.0 && norm.is_finite() {
                floats.iter_mut().for_each(|x| *x /= norm);
            }
        }
        floats
    }

    /// All rows but the `replaced` ones, in the order in which they are added: see the module.
    /// Cells are made from at most `sample` rows. `report` is called with the number of rows done.
    pub(super) fn order(
        &self,
        metric: &Metric,
        replaced: &HashSet<u32>,
        sample: u64,
        report: impl Fn(u64) -> Result<()>,
    ) -> Result<Vec<u32>> {
        // One row of each stretch, at random: rows at even intervals could be all alike.
        let stretch = (self.count as u64).div_ceil(sample.max(1)).max(1) as usize;
        let in_stretch = |start: usize| {
            let rows = stretch.min(self.count - start) as u64;
            (start as u64 + mixed(start as u32) % rows) as u32
        };
        let numbers: Vec<u32> = (0..self.count).step_by(stretch).map(in_stretch).collect();
        let mut sampled = Vec::with_capacity(numbers.len() * self.dimensions);
        for numbers in numbers.chunks(TASK) {
            self.will_need(numbers);
            numbers.iter().for_each(|row| sampled.extend(self.floats(metric, *row as usize)));
        }
        let cells = Cells::of(&sampled, self.dimensions, self.count as u64)?;
        drop(sampled);
        let mut of_rows: Vec<u16> = Vec::with_capacity(self.count);
        while of_rows.len() < self.count {
            let first = of_rows.len();
            let end = self.count.min(first + 16 * TASK);
            self.map.will_need(self.start(end), self.start(end + 16 * TASK));
            report(first as u64)?;
            of_rows.extend(threads::map_range(end - first, SEARCHES, |at| {
                Ok::<_, Error>(cells.of_row(&self.floats(metric, first + at)) as u16)
            })?);
        }
        Ok(self.sorted(&of_rows, cells.count(), replaced))
    }

    /// The backbone in an order by a hash, then all other rows by their cells.
    fn sorted(&self, cells: &[u16], count: u32, replaced: &HashSet<u32>) -> Vec<u32> {
        let rows = || (0..self.count as u32).filter(|row| !replaced.contains(row));
        let is_backbone = |row: u32| mixed(row).is_multiple_of(BACKBONE_DIVISOR);
        let mut order: Vec<u32> = rows().filter(|row| is_backbone(*row)).collect();
        order.sort_unstable_by_key(|row| mixed(*row));
        // A counting sort, which keeps the order of rows within a cell.
        let mut ends = vec![0; count as usize];
        let others = || rows().filter(|row| !is_backbone(*row));
        others().for_each(|row| ends[usize::from(cells[row as usize])] += 1);
        let mut next = order.len();
        let mut places = Vec::with_capacity(ends.len());
        for count in ends {
            places.push(next);
            next += count;
        }
        order.resize(next, 0);
        for row in others() {
            let place = &mut places[usize::from(cells[row as usize])];
            order[*place] = row;
            *place += 1;
        }
        order
    }
}

/// A number with well mixed bits (the finalizer of SplitMix64; Steele, Lea, Flood 2014).
fn mixed(row: u32) -> u64 {
    let mut mixed = u64::from(row).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Euclidean;

    fn rows(names: impl Iterator<Item = Vec<u8>>) -> (Rows<f32>, HashSet<u32>) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RowsFile::new(folder.path()).unwrap();
        for (row, name) in names.enumerate() {
            let record = (row % 3 > 0).then(|| vec![row as u8; row % 7]);
            file.put(&name, &[(row % 10) as f32, row as f32 / 1e6], record.as_deref()).unwrap();
        }
        file.finish(2).unwrap()
    }

    #[test]
    fn rows_are_read_back_whatever_the_lengths_of_their_names() {
        for lengths in [1, 3] {
            let name = |row: usize| vec![row as u8; 4 + row % lengths];
            let (rows, replaced) = rows((0..200).map(name));
            assert!(replaced.is_empty());
            let mut all = rows.all();
            for row in 0..200usize {
                let record = (row % 3 > 0).then(|| vec![row as u8; row % 7]);
                let expected = (name(row), vec![(row % 10) as f32, row as f32 / 1e6], record);
                assert_eq!((rows.get(row as u32), all.next()), (expected.clone(), Some(expected)));
            }
            assert!(all.next().is_none());
        }
    }

    #[test]
    fn the_last_row_of_a_name_counts_and_each_other_row_comes_once() {
        let (rows, replaced) = rows((0..5000u32).map(|row| (row % 4000).to_le_bytes().to_vec()));
        assert_eq!(replaced, (0..1000).collect());
        let order = rows.order(Metric::of::<Euclidean>(), &replaced, 1000, |_| Ok(())).unwrap();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1000..5000).collect::<Vec<_>>());
        // The backbone is of all places, and the rest goes from place to place.
        let place = |row: &u32| row % 10;
        let backbone = order.iter().take(200).map(place).collect::<HashSet<_>>();
        assert_eq!(backbone.len(), 10);
        let rest = &order[400..];
        let way: u32 = rest.windows(2).map(|two| place(&two[0]).abs_diff(place(&two[1]))).sum();
        assert!(way < rest.len() as u32, "{way}, and some three times the length in no order");
    }
}
