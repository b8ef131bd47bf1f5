//! Imports the items of an index written by hannoy or arroy, without depending on either crate.
//!
//! Only vectors are read; the graph is built anew. Both programs have keys of 8 bytes, `[index
//! u16][mode u8][n u32][last u8]`, big-endian, and these values:
//!
//! | mode | n | value |
//! |---|---|---|
//! | 0 | 0 | metadata (see below), from the first build on |
//! | 0 | 1 | version: three big-endian `u32`; arroy before 0.6 and early hannoy have none |
//! | 1 | item | pending: the item was changed since the last build |
//! | 2 | | hannoy's links (last = layer), arroy's trees |
//! | 3 | item | 0, the metric's header, the vector (see below) |
//!
//! The metadata are the metric's name and a zero byte, then, big-endian, the dimensions (`u32`),
//! the length of the following set in bytes (`u32`) and the set, then 4-byte words, and one more
//! byte if hannoy wrote them. A vector is of `f32`, or of bits in `u64` words (the signs, for the
//! binary quantized metrics), in the byte order of the machine.
//!
//! Adding writes mode 3 at once, and deleting deletes it: mode 3 alone holds all items, built or
//! not. The tests import what hannoy 0.3 and arroy 0.9 write; according to their sources, older
//! versions write the same items.
//!
//! This room owns the invariant that any bytes are items or an error. O(values) time, memory as for
//! adding.

use std::fmt;

use heed::types::Bytes;
use heed::{RoTxn, RwTxn};

use crate::codec::{Bits, Components, Decoded, F32, Signs, VectorRef};
use crate::distance::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, BinaryQuantizedManhattan, Cosine, Distance,
    DotProduct, Euclidean, Hamming, Manhattan,
};
use crate::error::{Error, Result, SourceDefect, VectorDefect};
use crate::format::meta::MAGIC;
use crate::types::ItemId;
use crate::writer::Writer;

const METADATA: [u8; 6] = [0; 6];
const VERSION: [u8; 6] = [0, 0, 0, 0, 1, 0];
const ITEM_MODE: u8 = 3;
const ITEM_TAG: u8 = 0;

/// An index written by hannoy (0.1 to 0.3) or arroy (0.5 to 0.9), opened to add its items to a
/// voisin index.
///
/// It is read through a transaction and a database of bytes, in the same environment as the target
/// or another. hannoy and arroy need not be linked: any `heed::Database<Bytes, Bytes>` opened under
/// the name of their database works.
///
/// ```no_run
/// use voisin::heed::{CommitOrAbort, EnvOpenOptions, types::Bytes};
/// use voisin::rand::{SeedableRng, rngs::StdRng};
/// use voisin::{Import, Reader, Writer, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // SAFETY: nobody changes the files in this folder but through LMDB.
/// let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).max_dbs(2).open("vectors")? };
/// // An index of hannoy's, with number 7.
/// let opened = env.open_databases_and_commit(env.read_txn()?, |opener, rtxn| {
///     opener
///         .open_database::<Bytes, Bytes>(rtxn, Some("hannoy"))
///         .map(|found| found.map_or(CommitOrAbort::Abort(()), CommitOrAbort::Commit))
/// })?;
/// let theirs = opened.commit().ok_or("hannoy has no such database")?;
/// let ours: voisin::Database<'_, Euclidean> = voisin::create_database(&env, Some("mine"))?;
///
/// let rtxn = env.read_txn()?;
/// let source = Import::open(&rtxn, 7, theirs)?;
/// let mut wtxn = env.write_txn()?;
/// let writer = Writer::new(ours, 0, source.dimensions());
/// let count = source.add_to(&writer, &mut wtxn)?;
/// writer.builder(&mut StdRng::seed_from_u64(42)).build::<16, 32>(&mut wtxn)?;
/// wtxn.commit()?;
/// drop(rtxn);
///
/// let rtxn = env.read_txn()?;
/// assert_eq!(Reader::open(&rtxn, 0, ours)?.n_items(), count);
/// # Ok(())
/// # }
/// ```
///
/// To replace the old index, in the same database and under the same number, delete its keys in the
/// write transaction first: the read transaction still sees them.
///
/// ```no_run
/// use std::ops::Bound::{Excluded, Included};
/// # use voisin::heed::{Database, RwTxn, types::Bytes};
/// # fn f(database: Database<'_, Bytes, Bytes>, wtxn: &mut RwTxn<'_>) -> voisin::heed::Result<()> {
/// let (first, end) = (7u16.to_be_bytes(), 8u16.to_be_bytes()); // of index 7
/// database.delete_range(wtxn, &(Included(&first[..]), Excluded(&end[..])))?;
/// # Ok(())
/// # }
/// ```
pub struct Import<'a> {
    rtxn: &'a RoTxn<'a>,
    database: heed::Database<'a, Bytes, Bytes>,
    index: u16,
    metric: Metric,
    dimensions: u32,
    skipped: Option<Box<dyn FnMut(ItemId, VectorDefect) + 'a>>,
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, metric, dimensions, .. } = self;
        f.debug_struct("Import")
            .field("index", index)
            .field("metric", metric)
            .field("dimensions", dimensions)
            .finish_non_exhaustive()
    }
}

impl<'a> Import<'a> {
    /// Opens index `index` of a hannoy or arroy database, as `rtxn` sees it. O(1).
    ///
    /// # Errors
    /// [`InvalidSource`](Error::InvalidSource) if there is none, if it is not built, or if its
    /// version or its metric cannot be imported, and [`CorruptSource`](Error::CorruptSource).
    ///
    /// # Panics
    /// In heed, if `rtxn` and `database` are not of the same environment.
    pub fn open(
        rtxn: &'a RoTxn<'_>,
        index: u16,
        database: heed::Database<'a, Bytes, Bytes>,
    ) -> Result<Self> {
        let invalid = |defect| Error::InvalidSource { index, defect };
        let corrupt = |what| Error::CorruptSource { index, item: None, what };
        let key = |rest: [u8; 6]| [&index.to_be_bytes()[..], &rest].concat();
        let Some(metadata) = database.get(rtxn, &key(METADATA))? else {
            let first = database.prefix_iter(rtxn, &index.to_be_bytes())?.next().transpose()?;
            return Err(invalid(match first {
                None => SourceDefect::Missing,
                // Before the first build, the lowest mode is that of pending items.
                Some((&[_, _, 1..=ITEM_MODE, _, _, _, _, _], _)) => SourceDefect::NotBuilt,
                Some(_) => SourceDefect::Unknown,
            }));
        };
        if metadata.starts_with(&MAGIC) {
            return Err(invalid(SourceDefect::Ours));
        }
        let Metadata { name, dimensions, program } = Metadata::decode(metadata).map_err(corrupt)?;
        if let Some(version) = database.get(rtxn, &key(VERSION))? {
            let found =
                decode_version(version).ok_or(corrupt("its version is not three numbers"))?;
            let (program, newest) = match program {
                Program::Hannoy => ("hannoy", 3),
                Program::Arroy => ("arroy", 9),
            };
            if found[0] > 0 || found[1] > newest {
                return Err(invalid(SourceDefect::Version { program, found, newest: [0, newest] }));
            }
        }
        let metric = match Metric::of(name) {
            Some(metric) => metric,
            None if name.starts_with("binary quantized ") => {
                return Err(invalid(SourceDefect::Quantized { metric: name.to_owned() }));
            }
            None => return Err(invalid(SourceDefect::UnknownMetric { metric: name.to_owned() })),
        };
        Ok(Self { rtxn, database, index, metric, dimensions, skipped: None })
    }

    /// The number of components of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions as usize
    }

    /// The name of the metric in voisin, which must equal the [`Distance::name`] of the writer's
    /// metric.
    #[must_use]
    pub fn metric(&self) -> &'static str {
        self.metric.name()
    }

    /// The items and their vectors, by id, for another target than a [`Writer`]: an
    /// [`Index`](crate::Index), or a file. See [`add_to`](Self::add_to) for what the vectors are.
    ///
    /// ```no_run
    /// # use voisin::{Import, Index, Options, distances::Euclidean};
    /// # fn f(source: Import) -> voisin::Result<()> {
    /// let index = Index::<Euclidean>::create("vectors", Options::new(source.dimensions()))?;
    /// let items = source.items()?.collect::<voisin::Result<Vec<_>>>()?;
    /// index.load(items, |_| {})?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of LMDB; of an item, [`CorruptSource`](Error::CorruptSource).
    pub fn items(&self) -> Result<impl Iterator<Item = Result<(ItemId, Vec<f32>)>> + '_> {
        items_of(self.rtxn, self.database, self.index, self.metric, self.dimensions)
    }

    /// Skips vectors that the writer's metric refuses, instead of returning an error at the first,
    /// and calls `skipped` with each, and the reason. The usual ones are zero vectors under cosine,
    /// which hannoy and arroy accept.
    ///
    /// ```no_run
    /// # use voisin::{Import, Writer, distances::Cosine, heed::RwTxn};
    /// # type Cosines<'a> = Writer<'a, Cosine>;
    /// # type Txn<'a> = RwTxn<'a>;
    /// # fn f(source: Import, writer: Cosines, wtxn: &mut Txn) -> voisin::Result<()> {
    /// let source = source.skip_invalid(|item, defect| eprintln!("without {item}: {defect}"));
    /// source.add_to(&writer, wtxn)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn skip_invalid(mut self, skipped: impl FnMut(ItemId, VectorDefect) + 'a) -> Self {
        self.skipped = Some(Box::new(skipped));
        self
    }

    /// Adds all items to the index of `writer`, or replaces them there, under their ids, and
    /// returns their number. Vectors are imported bit for bit, or rounded to the element type of
    /// the index: an index of [`I8`](crate::codec::I8) must be trained before. For the binary
    /// quantized metrics, signs are imported. The items are pending afterwards, like all added
    /// items: build when all are added. O(items) time, 1 MB of memory for vectors.
    ///
    /// # Errors
    /// [`InvalidSource`](Error::InvalidSource) if the writer has another metric or other
    /// dimensions, [`NotTrained`](Error::NotTrained): nothing has changed.
    /// [`CorruptSource`](Error::CorruptSource) for a value that is no item of the source,
    /// [`InvalidItem`](Error::InvalidItem) for a vector that cannot be stored or compared, with its
    /// item id: the items before it, by id, have been added to the transaction; drop it. See
    /// [`skip_invalid`](Self::skip_invalid). Also those of [`Writer::add_item`].
    ///
    /// # Panics
    /// If the closure of [`skip_invalid`](Self::skip_invalid) panics: see
    /// [`Writer::add_items_from`].
    pub fn add_to<D: Distance>(self, writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>) -> Result<u64> {
        let Self { rtxn, database, index, metric, dimensions, mut skipped } = self;
        if D::name() != metric.name() {
            let defect = SourceDefect::MetricMismatch {
                stored: metric.name(),
                requested: D::name().to_owned(),
            };
            return Err(Error::InvalidSource { index, defect });
        }
        if writer.dimensions() != dimensions as usize {
            let defect = SourceDefect::DimensionMismatch {
                stored: dimensions as usize,
                requested: writer.dimensions(),
            };
            return Err(Error::InvalidSource { index, defect });
        }
        if writer.needs_training(wtxn)? {
            return Err(Error::NotTrained { index: writer.place().index, name: None });
        }
        let of = writer.place().metric;
        // A source without items creates an index, too.
        let scale = writer.create(wtxn)?;
        let mut failure = None;
        let items = items_of(rtxn, database, index, metric, dimensions)?
            .map_while(|item| item.map_err(|error| failure = Some(error)).ok());
        let accepted = items.filter(|(item, vector)| {
            let Some(skipped) = &mut skipped else { return true };
            let checked = of.check(Components::F32(vector), scale);
            checked.map_err(|defect| skipped(*item, defect)).is_ok()
        });
        let added = writer.add_items_from(wtxn, accepted)?;
        failure.map_or(Ok(added), Err)
    }
}

/// The items of an index of a source, by id.
fn items_of<'a>(
    rtxn: &'a RoTxn<'_>,
    database: heed::Database<'a, Bytes, Bytes>,
    index: u16,
    metric: Metric,
    dimensions: u32,
) -> Result<impl Iterator<Item = Result<(ItemId, Vec<f32>)>> + use<'a>> {
    let [i0, i1] = index.to_be_bytes();
    let entries = database.prefix_iter(rtxn, &[i0, i1, ITEM_MODE])?;
    Ok(entries.map(move |entry| {
        let (key, value) = entry?;
        let corrupt = |item, what| Error::CorruptSource { index, item, what };
        let item =
            decode_key(key).ok_or(corrupt(None, "a key among those of its items is not one"))?;
        let vector = metric.decode(value, dimensions).map_err(|what| corrupt(Some(item), what))?;
        Ok((item, vector))
    }))
}

/// The metrics of hannoy and arroy that voisin has, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Cosine,
    DotProduct,
    Euclidean,
    Hamming,
    Manhattan,
    BinaryQuantizedCosine,
    BinaryQuantizedEuclidean,
    BinaryQuantizedManhattan,
}

impl Metric {
    const ALL: [Self; 8] = [
        Self::Cosine,
        Self::DotProduct,
        Self::Euclidean,
        Self::Hamming,
        Self::Manhattan,
        Self::BinaryQuantizedCosine,
        Self::BinaryQuantizedEuclidean,
        Self::BinaryQuantizedManhattan,
    ];

    /// By its name in the source.
    fn of(theirs: &str) -> Option<Self> {
        let is_it = |metric: &Self| match metric {
            Self::DotProduct => theirs == "dot-product",
            other => theirs == other.name(),
        };
        Self::ALL.into_iter().find(is_it)
    }

    /// Its name in voisin.
    fn name(self) -> &'static str {
        match self {
            Self::Cosine => <Cosine>::name(),
            Self::DotProduct => <DotProduct>::name(),
            Self::Euclidean => <Euclidean>::name(),
            Self::Hamming => Hamming::name(),
            Self::Manhattan => <Manhattan>::name(),
            Self::BinaryQuantizedCosine => BinaryQuantizedCosine::name(),
            Self::BinaryQuantizedEuclidean => BinaryQuantizedEuclidean::name(),
            Self::BinaryQuantizedManhattan => BinaryQuantizedManhattan::name(),
        }
    }

    /// The bytes between the tag and the vector.
    fn header_bytes(self) -> usize {
        match self {
            // A norm or an offset.
            Self::Cosine | Self::Euclidean | Self::Manhattan => size_of::<f32>(),
            Self::BinaryQuantizedCosine
            | Self::BinaryQuantizedEuclidean
            | Self::BinaryQuantizedManhattan => size_of::<f32>(),
            // A norm and one more component.
            Self::DotProduct => 2 * size_of::<f32>(),
            // A position, as wide as the machine's `usize`; LMDB's files depend on that width
            // themselves.
            Self::Hamming => size_of::<usize>(),
        }
    }

    /// Decodes the vector of an item's value.
    fn decode(self, value: &[u8], dimensions: u32) -> Result<Vec<f32>, &'static str> {
        let (&tag, rest) = value.split_first().ok_or("its value is empty")?;
        if tag != ITEM_TAG {
            return Err("its value is not marked as that of an item");
        }
        let vector = rest.get(self.header_bytes()..).ok_or("its value is cut short")?;
        let dimensions = dimensions as usize;
        let decoded = match self {
            Self::Hamming => stored::<Bits>(vector, dimensions),
            Self::BinaryQuantizedCosine
            | Self::BinaryQuantizedEuclidean
            | Self::BinaryQuantizedManhattan => stored::<Signs>(vector, dimensions),
            _ => stored::<F32>(vector, dimensions),
        };
        decoded.ok_or(
            "its value does not have the length that the metric and the dimensions of \
                       the index give",
        )
    }
}

/// The components of a stored vector; `None` if its number of bytes is wrong.
fn stored<C: Decoded>(bytes: &[u8], dimensions: usize) -> Option<Vec<f32>> {
    // A writer cannot have more dimensions than our maximum, and the product could overflow.
    (dimensions <= crate::format::meta::MAX_DIMENSIONS && bytes.len() == C::bytes(dimensions))
        .then(|| VectorRef::<C>::new(bytes).to_vec(dimensions))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Hannoy,
    Arroy,
}

#[derive(Debug, PartialEq, Eq)]
struct Metadata<'a> {
    name: &'a str,
    dimensions: u32,
    program: Program,
}

impl<'a> Metadata<'a> {
    fn decode(value: &'a [u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "its metadata is cut short";
        let end = value.iter().position(|byte| *byte == 0).filter(|end| *end > 0);
        let (name, rest) = end
            .and_then(|end| value.split_at_checked(end))
            .ok_or("its metadata does not begin with the name of a metric")?;
        let name = std::str::from_utf8(name).map_err(|_| "the name of its metric is not UTF-8")?;
        let rest = rest.get(1..).ok_or(SHORT)?;
        let dimensions = big_endian(rest, 0).ok_or(SHORT)?;
        let set_bytes = big_endian(rest, 4).ok_or(SHORT)? as usize;
        let tail = rest.get(8..).and_then(|rest| rest.get(set_bytes..)).ok_or(SHORT)?;
        let program = match tail.len() % size_of::<u32>() {
            0 => Program::Arroy,
            1 => Program::Hannoy,
            _ => return Err("its metadata has a length that neither hannoy nor arroy gives it"),
        };
        Ok(Self { name, dimensions, program })
    }
}

/// The major, minor and patch version.
fn decode_version(value: &[u8]) -> Option<[u32; 3]> {
    let part = |n| big_endian(value, n);
    let version = [part(0)?, part(4)?, part(8)?];
    (value.len() == size_of_val(&version)).then_some(version)
}

/// The item whose key this is.
fn decode_key(key: &[u8]) -> Option<ItemId> {
    match *key {
        [_, _, ITEM_MODE, n0, n1, n2, n3, 0] => Some(ItemId::from_be_bytes([n0, n1, n2, n3])),
        _ => None,
    }
}

fn big_endian(bytes: &[u8], offset: usize) -> Option<u32> {
    crate::format::take(bytes, offset).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metadata as written, with a set of `set_bytes` bytes and a tail.
    fn metadata(name: &str, dimensions: u32, set_bytes: u32, tail: &[u8]) -> Vec<u8> {
        let mut value =
            [name.as_bytes(), &[0], &dimensions.to_be_bytes(), &set_bytes.to_be_bytes()].concat();
        value.extend(vec![7; set_bytes as usize]);
        value.extend(tail);
        value
    }

    #[test]
    fn metadata_names_metric_dimensions_and_program() {
        for (tail, program) in [
            (&[][..], Program::Arroy),
            (&[1, 2, 3, 4], Program::Arroy),
            (&[9], Program::Hannoy),
            (&[1, 2, 3, 4, 9], Program::Hannoy),
        ] {
            let value = metadata("dot-product", 70_000, 16, tail);
            assert_eq!(
                Metadata::decode(&value),
                Ok(Metadata { name: "dot-product", dimensions: 70_000, program })
            );
        }
        let value = metadata("cosine", 3, 16, &[9]);
        for length in 0..value.len() {
            assert!(
                Metadata::decode(&value[..length]).is_err() || length == value.len() - 1,
                "cut off after {length} bytes"
            );
        }
        assert!(Metadata::decode(&metadata("cosine", 3, 16, &[1, 2])).is_err());
        assert!(Metadata::decode(&metadata("", 3, 16, &[])).is_err());
        let mut lying = metadata("cosine", 3, 16, &[]);
        lying[11..15].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Metadata::decode(&lying), Err("its metadata is cut short"));
    }

    #[test]
    fn a_vector_follows_its_tag_and_a_header_of_its_metric() {
        let vector = [1.5f32, -0.0, 3.0];
        let bytes: Vec<u8> = vector.iter().flat_map(|component| component.to_le_bytes()).collect();
        for metric in Metric::ALL {
            let (bytes, expected) = match metric {
                Metric::Hamming => (vec![0b101, 0, 0, 0, 0, 0, 0, 0], vec![1.0, 0.0, 1.0]),
                metric if metric.name().starts_with("binary quantized") => {
                    (vec![0b101, 0, 0, 0, 0, 0, 0, 0], vec![1.0, -1.0, 1.0])
                }
                _ => (bytes.clone(), vector.to_vec()),
            };
            let value = [vec![0], vec![9; metric.header_bytes()], bytes].concat();
            assert_eq!(metric.decode(&value, 3), Ok(expected), "{metric:?}");
            assert!(
                metric.decode(&value, 66).is_err()
                    && metric.decode(&value, 0).is_err()
                    && metric.decode(&value, u32::MAX).is_err()
            );
            assert!(
                metric.decode(&[&value[..], &[0]].concat(), 3).is_err(),
                "{metric:?}: a byte too many"
            );
            for length in 0..value.len() {
                assert!(
                    metric.decode(&value[..length], 3).is_err(),
                    "{metric:?}: cut off after {length} bytes"
                );
            }
            assert!(
                metric.decode(&[&[1], &value[1..]].concat(), 3).is_err(),
                "{metric:?}: another tag"
            );
        }
    }

    #[test]
    fn keys_and_versions_have_their_lengths() {
        assert_eq!(decode_key(&[0, 9, 3, 0, 0, 1, 2, 0]), Some(258));
        for key in [
            &[0, 9, 3, 0, 0, 1, 2, 1][..],
            &[0, 9, 3, 0, 0, 1, 2],
            &[0, 9, 3, 0, 0, 1, 2, 0, 0],
            &[],
        ] {
            assert_eq!(decode_key(key), None);
        }
        assert_eq!(decode_version(&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0]), Some([0, 9, 256]));
        assert_eq!((decode_version(&[0; 11]), decode_version(&[0; 13])), (None, None));
    }
}
