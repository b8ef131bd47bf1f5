//! The options to create and open an index with, and their check against the stored ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::build::check_parameters;
use crate::codes::{Codes, is_sound};
use crate::defaults;
use crate::distance::{Distance, Metric};
use crate::error::{Error, Result};
use crate::field::{Field, Schema};
use crate::format::catalog::{Entry, MAX_NAME_BYTES};
use crate::format::item_keys::Naming;
use crate::memory::budget_bytes;
use crate::store::edit::{check_kind, check_new};
use crate::types::{IndexKind, names};

/// The largest map that is tried, in bytes: half of what a process can address.
pub(super) const MAX_MAP_BYTES: usize = 1 << 46;

/// The options to create or open an [`Index`](crate::Index) with.
///
/// The name and the options of the index itself (dimensions, M, M0, `ef_construction`, alpha, seed)
/// are stored when it is created, as are its kinds, codes and fields. Opening it with a different
/// value of an option is an error; an option that is not set takes its stored value. The options of
/// the environment (map size, readers, waiting time, file system, the memory that searches count
/// on) are set by whoever opens it first in a process. The number of threads and
/// [`codes_from`](Self::codes_from) belong to the handle.
///
/// ```
/// use voisin::{Index, Options, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let options = Options::new(384).name("texts").m(24).ef_construction(200);
/// let texts = Index::<Cosine>::create(&path, options)?;
/// let again = Index::<Cosine>::open(&path, Options::default().name("texts"))?;
/// assert_eq!((again.dimensions(), again.m(), again.m0()), (384, 24, 48));
/// assert!(Index::<Cosine>::open(&path, Options::new(768).name("texts")).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Options {
    name: Option<String>,
    dimensions: Option<usize>,
    m: Option<usize>,
    m0: Option<usize>,
    ef_construction: Option<usize>,
    alpha: Option<f32>,
    seed: Option<u64>,
    codes: Option<Codes>,
    codes_from: Option<u64>,
    kinds: Option<Vec<IndexKind>>,
    fields: Vec<Field>,
    threads: usize,
    map_size_bytes: Option<u64>,
    max_readers: Option<u32>,
    max_databases: Option<u32>,
    growth_wait: Option<Duration>,
    any_file_system: bool,
    memory_bytes: Option<u64>,
    temp_dir: Option<PathBuf>,
    metrics: Vec<&'static Metric>,
}

impl Options {
    /// Options for vectors of `dimensions` components, 1 to 65 535, which creating an index
    /// requires. To open one, [`Options::default`] suffices.
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions: Some(dimensions), ..Self::default() }
    }

    /// The name of the index within its environment, 1 to 255 bytes;
    /// [`defaults::NAME`](crate::defaults::NAME) unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// M: the maximum degree of an item on each layer above the base, 2 to 2 048;
    /// [`defaults::M`](crate::defaults::M) unless set.
    pub fn m(mut self, m: usize) -> Self {
        self.m = Some(m);
        self
    }

    /// M0: the maximum degree of an item on the base layer, 2 to 2 048; twice M unless set.
    pub fn m0(mut self, m0: usize) -> Self {
        self.m0 = Some(m0);
        self
    }

    /// How many candidates the search for an item's neighbors keeps, at least 1;
    /// [`defaults::EF_CONSTRUCTION`](crate::defaults::EF_CONSTRUCTION) unless set. See
    /// [`Builder::ef_construction`](crate::Builder::ef_construction).
    pub fn ef_construction(mut self, ef: usize) -> Self {
        self.ef_construction = Some(ef);
        self
    }

    /// The pruning factor, 1 to 10; [`defaults::ALPHA`](crate::defaults::ALPHA) unless set. See
    /// [`Builder::alpha`](crate::Builder::alpha).
    pub fn alpha(mut self, alpha: f32) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// The seed of the random generator of builds; [`defaults::SEED`](crate::defaults::SEED) unless
    /// set. One seed and one sequence of changes give one graph.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The quantized codes of the index, for searches; none unless set. The index gets them with
    /// its 1 000th item, see [`codes_from`](Self::codes_from). They can be changed later:
    /// [`Batch::set_codes`](crate::Batch::set_codes).
    pub fn codes(mut self, codes: Codes) -> Self {
        self.codes = Some(codes);
        self
    }

    /// The kinds of the index: a graph ([`IndexKind::Hnsw`]) unless set. [`IndexKind::Flat`] is
    /// among them whether it is given or not. Without a graph, a write costs no more than storing
    /// its vectors, and nothing is ever pending. They can be changed later:
    /// [`Index::add_kind`](crate::Index::add_kind), [`Index::drop_kind`](crate::Index::drop_kind).
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = IndexKind>) -> Self {
        let mut kinds: Vec<IndexKind> = kinds.into_iter().chain([IndexKind::Flat]).collect();
        kinds.sort_unstable();
        kinds.dedup();
        self.kinds = Some(kinds);
        self
    }

    /// The fields of the records of the index, by which its items can be filtered: none unless set.
    /// They are added in the commit that creates it. An index that is opened must have them, and
    /// can have others; [`Batch::add_field`](crate::Batch::add_field) and
    /// [`drop_field`](crate::Batch::drop_field) change them.
    ///
    /// ```
    /// use voisin::{Error, Field, Index, Options, distances::Cosine};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let options = Options::new(3).fields([Field::keyword("tag"), Field::integer("year")]);
    /// let index = Index::<Cosine>::open_or_create(&path, options.clone())?;
    /// assert_eq!(index.snapshot()?.fields()?.len(), 2);
    /// Index::<Cosine>::open_or_create(&path, options)?;
    /// let other = Options::default().fields([Field::float("year")]);
    /// assert!(matches!(Index::<Cosine>::open(&path, other), Err(Error::OptionMismatch { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fields(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.fields = fields.into_iter().collect();
        self
    }

    /// The minimum number of items before a build by this handle makes the codes:
    /// [`defaults::CODES_FROM`](crate::defaults::CODES_FROM) unless set. Not stored.
    pub fn codes_from(mut self, items: u64) -> Self {
        self.codes_from = Some(items);
        self
    }

    /// The maximum number of threads with which this handle builds: when it writes, loads, links or
    /// optimizes. Not stored. Unless set, or 0, the default of
    /// [`Builder::threads`](crate::Builder::threads).
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The size of the memory map, in bytes of address space;
    /// [`defaults::MAP_SIZE_BYTES`](crate::defaults::MAP_SIZE_BYTES) unless set. This is not disk
    /// space: the file is as long as its contents. A full map is doubled.
    pub fn map_size_bytes(mut self, bytes: u64) -> Self {
        self.map_size_bytes = Some(bytes);
        self
    }

    /// The maximum number of read transactions at a time, over all processes;
    /// [`defaults::MAX_READERS`](crate::defaults::MAX_READERS) unless set. Only the first process
    /// that opens the environment sets it. All searches of a process share one, whichever index of
    /// the folder they search; each commit of which it holds a [`Snapshot`](crate::Snapshot) takes
    /// one, and so does long work such as [`check`](crate::Index::check).
    pub fn max_readers(mut self, readers: u32) -> Self {
        self.max_readers = Some(readers);
        self
    }

    /// The maximum number of databases of your own that this process can open beside the indexes,
    /// by [`Folder::database`](crate::Folder::database), 0 to 65 535;
    /// [`defaults::MAX_DATABASES`](crate::defaults::MAX_DATABASES) unless set. The first handle
    /// that a process opens on a folder sets it, for that process. Each costs every transaction
    /// some nanoseconds.
    pub fn max_databases(mut self, databases: u32) -> Self {
        self.max_databases = Some(databases);
        self
    }

    /// How long a write waits for [`Snapshot`](crate::Snapshot)s that this process holds when the
    /// map must grow; [`defaults::GROWTH_WAIT`](crate::defaults::GROWTH_WAIT) unless set. For
    /// searches in progress it waits as long, and at least a second. After that, the write fails
    /// with [`MapBusy`](Error::MapBusy). Other searches continue meanwhile, and wait for at most
    /// 50 ms.
    pub fn growth_wait(mut self, wait: Duration) -> Self {
        self.growth_wait = Some(wait);
        self
    }

    /// Opens the environment on any file system, including those on which LMDB is known to lose
    /// data.
    pub fn any_file_system(mut self) -> Self {
        self.any_file_system = true;
        self
    }

    /// The memory that the index should make do with, in bytes, the part of the file that the
    /// system keeps in memory included: what the machine or the control group (cgroup) of the
    /// process allows unless set. If the file is larger, searches read what they need ahead of
    /// themselves, many pages at a time, and the part that all searches need first. Set it where
    /// other programs need the rest. It is no limit for the system, which keeps as much of the file
    /// in memory as there is room for.
    ///
    /// If it is set, builds keep within it, too: see [`Loader::memory`](crate::Loader::memory),
    /// also for what it does not bound, which is making inverted lists and tables of hashes. A
    /// write that adds more than it holds leaves the rest of its items pending, for
    /// [`Index::link`](crate::Index::link) or later writes; `optimize`, which needs memory for the
    /// whole index, is refused with [`MemoryBudget`](Error::MemoryBudget) if it does not hold that.
    /// Not stored.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// The folder for temporary files, to which loads, `optimize` and first builds spill what
    /// exceeds memory: up to the bytes of all vectors. The folder of the index unless set. The
    /// files have no name, and disappear when the call ends, or the process.
    pub fn temp_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(path.into());
        self
    }

    /// Registers a metric of your own, for an [`AnyIndex`](crate::AnyIndex) that may use it; those
    /// that ship with voisin are known.
    pub fn metric<D: Distance>(mut self) -> Self {
        self.metrics.push(Metric::of::<D>());
        self
    }

    pub(super) fn known_metrics(&self) -> &[&'static Metric] {
        &self.metrics
    }

    pub(super) fn temp_folder(&self) -> Option<&Path> {
        self.temp_dir.as_deref()
    }

    /// # Errors
    /// [`Error::InvalidName`].
    pub(super) fn index_name(&self) -> Result<&str> {
        let name = self.name.as_deref().unwrap_or(defaults::NAME);
        if (1..=MAX_NAME_BYTES).contains(&name.len()) {
            Ok(name)
        } else {
            Err(Error::InvalidName { bytes: name.len(), max: MAX_NAME_BYTES })
        }
    }

    /// Checks that an index can be created with these options.
    ///
    /// # Errors
    /// [`Error::InvalidDimensions`], [`Error::InvalidParameter`], [`Error::KindUnsupported`],
    /// [`Error::InvalidField`], [`Error::CodesUnsupported`].
    pub(super) fn check_new(&self, metric: &Metric) -> Result<()> {
        check_new(metric, self.dimensions.unwrap_or(0))?;
        let m = self.m.unwrap_or(defaults::M);
        let (ef, alpha) = (
            self.ef_construction.unwrap_or(defaults::EF_CONSTRUCTION),
            self.alpha.unwrap_or(defaults::ALPHA),
        );
        check_parameters(ef, alpha, m, self.m0.unwrap_or(m.saturating_mul(2)))?;
        for kind in self.kinds.iter().flatten() {
            check_kind(*kind, metric)?;
        }
        let mut schema = Schema::default();
        for field in &self.fields {
            schema.add(field.clone())?;
        }
        match self.codes {
            Some(_) if !is_sound(metric) => Err(Error::CodesUnsupported { metric: metric.name() }),
            _ => Ok(()),
        }
    }

    /// The map size in whole megabytes, which are whole pages on every machine.
    pub(super) fn map_bytes(&self) -> usize {
        const UNIT: u64 = 1 << 20;
        let bytes = self
            .map_size_bytes
            .unwrap_or(defaults::MAP_SIZE_BYTES)
            .clamp(UNIT, MAX_MAP_BYTES as u64);
        usize::try_from(bytes.next_multiple_of(UNIT)).unwrap_or(1 << 30)
    }

    pub(super) fn readers(&self) -> u32 {
        self.max_readers.unwrap_or(defaults::MAX_READERS).max(1)
    }

    /// The number of databases of the caller's.
    pub(super) fn databases(&self) -> u32 {
        self.max_databases.unwrap_or(defaults::MAX_DATABASES).min(u16::MAX.into())
    }

    pub(super) fn wait(&self) -> Duration {
        self.growth_wait.unwrap_or(defaults::GROWTH_WAIT)
    }

    /// The budget of memory, in bytes.
    pub(super) fn memory_budget(&self) -> u64 {
        budget_bytes(self.memory_bytes)
    }

    /// The budget of builds, in bytes, if one was set.
    pub(super) fn build_memory(&self) -> Option<u64> {
        self.memory_bytes
    }

    pub(super) fn build_threads(&self) -> usize {
        self.threads
    }

    pub(super) fn least_coded(&self) -> u64 {
        self.codes_from.unwrap_or(defaults::CODES_FROM)
    }

    /// The codes of a new index.
    pub(super) fn wanted_codes(&self) -> Option<Codes> {
        self.codes
    }

    /// Checks that the stored codes are the requested ones, if any were requested.
    ///
    /// # Errors
    /// [`Error::OptionMismatch`].
    pub(super) fn check_codes(&self, name: &str, stored: Option<Codes>) -> Result<()> {
        match self.codes {
            Some(requested) if stored != Some(requested) => Err(Error::OptionMismatch {
                index: name.to_owned(),
                option: "codes of",
                stored: stored.map_or("no bits".to_owned(), |codes| codes.to_string()),
                requested: requested.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The kinds of a new index, if they were set.
    pub(super) fn wanted_kinds(&self) -> Option<&[IndexKind]> {
        self.kinds.as_deref()
    }

    /// Checks that the stored kinds are the requested ones, if any were requested.
    ///
    /// # Errors
    /// [`Error::OptionMismatch`].
    pub(super) fn check_kinds(&self, name: &str, stored: &[IndexKind]) -> Result<()> {
        match &self.kinds {
            Some(requested) if stored != requested => Err(Error::OptionMismatch {
                index: name.to_owned(),
                option: "the kinds",
                stored: names(stored),
                requested: names(requested),
            }),
            _ => Ok(()),
        }
    }

    /// The fields of a new index.
    pub(super) fn wanted_fields(&self) -> &[Field] {
        &self.fields
    }

    /// Checks that the requested fields are among the stored ones.
    ///
    /// # Errors
    /// [`Error::OptionMismatch`].
    pub(super) fn check_fields(&self, name: &str, stored: &Schema) -> Result<()> {
        let stored: Vec<&Field> = stored.0.iter().map(|stored| &stored.field).collect();
        let requested: Vec<&Field> = self.fields.iter().collect();
        if requested.iter().all(|field| stored.contains(field)) {
            return Ok(());
        }
        let words = |fields: &[&Field]| {
            let named =
                fields.iter().map(|field| format!("{:?}: {}", field.name, field.of.describe()));
            format!("{{{}}}", named.collect::<Vec<_>>().join(", "))
        };
        Err(Error::OptionMismatch {
            index: name.to_owned(),
            option: "the fields",
            stored: words(&stored),
            requested: words(&requested),
        })
    }

    pub(super) fn takes_any_file_system(&self) -> bool {
        self.any_file_system
    }

    /// The catalog entry of a new index. Numbers out of range saturate here, and are refused by
    /// [`check_new`](Self::check_new).
    pub(super) fn entry(&self, metric: &Metric, number: u16, naming: Naming) -> Entry {
        let m = self.m.unwrap_or(defaults::M);
        Entry {
            number,
            naming,
            metric: metric.name().to_owned(),
            dimensions: saturate(self.dimensions.unwrap_or(0)),
            m: saturate(m),
            m0: saturate(self.m0.unwrap_or(m.saturating_mul(2))),
            ef_construction: saturate(self.ef_construction.unwrap_or(defaults::EF_CONSTRUCTION)),
            alpha: self.alpha.unwrap_or(defaults::ALPHA),
            seed: self.seed.unwrap_or(defaults::SEED),
        }
    }

    /// Checks that every option that is set equals the stored one.
    ///
    /// # Errors
    /// [`Error::OptionMismatch`], [`Error::MetricMismatch`], [`Error::NamingMismatch`].
    pub(super) fn check(
        &self,
        metric: &Metric,
        name: &str,
        naming: Naming,
        stored: &Entry,
    ) -> Result<()> {
        if stored.metric != metric.name() {
            let (index, stored) = (stored.number, stored.metric.clone());
            return Err(Error::MetricMismatch {
                index,
                stored,
                requested: metric.name().to_owned(),
            });
        }
        if stored.naming != naming {
            let (stored, requested) = (stored.naming.describe(), naming.describe());
            return Err(Error::NamingMismatch { index: name.to_owned(), stored, requested });
        }
        self.check_stored(name, stored)
    }

    /// As [`check`](Self::check), for any metric and naming.
    ///
    /// # Errors
    /// [`Error::OptionMismatch`].
    pub(super) fn check_stored(&self, name: &str, stored: &Entry) -> Result<()> {
        fn check<T: PartialEq + ToString>(
            index: &str,
            option: &'static str,
            requested: Option<T>,
            stored: T,
        ) -> Result<()> {
            match requested.filter(|requested| *requested != stored) {
                Some(requested) => {
                    let (index, stored, requested) =
                        (index.to_owned(), stored.to_string(), requested.to_string());
                    Err(Error::OptionMismatch { index, option, stored, requested })
                }
                None => Ok(()),
            }
        }
        check(name, "dimensions", self.dimensions, stored.dimensions as usize)?;
        check(name, "M", self.m, stored.m.into())?;
        check(name, "M0", self.m0, stored.m0.into())?;
        check(name, "ef_construction", self.ef_construction, stored.ef_construction as usize)?;
        check(name, "alpha", self.alpha, stored.alpha)?;
        check(name, "seed", self.seed, stored.seed)
    }
}

/// Converts to a smaller integer; saturates at the largest one.
fn saturate<T: TryFrom<usize> + Bounded>(value: usize) -> T {
    T::try_from(value).unwrap_or(T::MAX)
}

/// An integer type with a largest value.
trait Bounded {
    const MAX: Self;
}

impl Bounded for u16 {
    const MAX: Self = u16::MAX;
}

impl Bounded for u32 {
    const MAX: Self = u32::MAX;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::{Cosine, Euclidean};

    #[test]
    fn what_is_set_must_be_what_is_stored_and_the_error_names_both() {
        let stored = Options::new(8).m(6).entry(Metric::of::<Euclidean>(), 3, Naming::Ids);
        assert_eq!((stored.m, stored.m0, stored.dimensions), (6, 12, 8));
        Options::default().check(Metric::of::<Euclidean>(), "a", Naming::Ids, &stored).unwrap();
        Options::new(8)
            .m(6)
            .m0(12)
            .alpha(1.0)
            .seed(defaults::SEED)
            .check(Metric::of::<Euclidean>(), "a", Naming::Ids, &stored)
            .unwrap();
        let message = Options::default()
            .m0(32)
            .check(Metric::of::<Euclidean>(), "a", Naming::Ids, &stored)
            .unwrap_err()
            .to_string();
        assert!(message.contains("M0 12, not 32"), "{message}");
        assert!(matches!(
            Options::default().check(Metric::of::<Cosine>(), "a", Naming::Ids, &stored),
            Err(Error::MetricMismatch { .. })
        ));
    }

    #[test]
    fn a_map_is_whole_megabytes_and_a_name_is_neither_empty_nor_long() {
        assert_eq!(Options::default().map_size_bytes(1).map_bytes(), 1 << 20);
        assert_eq!(Options::default().map_size_bytes((1 << 20) + 1).map_bytes(), 2 << 20);
        assert_eq!(Options::default().index_name().unwrap(), defaults::NAME);
        assert!(matches!(
            Options::default().name("").index_name(),
            Err(Error::InvalidName { bytes: 0, .. })
        ));
        assert!(Options::default().name("x".repeat(256)).index_name().is_err());
    }
}
