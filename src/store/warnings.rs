//! What the statistics of an index warn of: parameters and trainings that cost recall, each with
//! its value, its limit and a remedy. `docs/decisions/0042-i8-range-by-rows.md` has the
//! measurements that the limits follow from.

use std::fmt;

use super::stats::{CodeStats, RangeStats, Stats};
use crate::codes::Codes;

/// M0 below this is warned of: recall@10 at `ef` 100, of 10 000 vectors of two sets, is .88 and
/// .999 at 8, .76 and .99 at 6, .51 and .92 at 4, .03 and .05 at 2. M costs no recall there, not
/// even 2, if M0 is 32.
const MIN_M0: usize = 8;
/// `ef_construction` below this: recall is .98 and .99 at 16, .84 and .89 at 8, .44 and .71 at 4.
const MIN_EF_CONSTRUCTION: usize = 16;
/// The relative error of `i8` above this: recall@10 of an exact search is then below .9.
const MAX_RANGE_ERROR: f64 = 0.05;
/// The share of saturated components above this. Training clips one row in 1 000 at each end at
/// most.
const MAX_SATURATED: f64 = 0.01;
/// The drift of codes from this on: the squared error of estimates is twice that at training.
const MAX_DRIFT: f64 = 2.0;
/// Number of items below which what was learned from data is not judged: a scan finds them, and a
/// sample says little.
const MIN_JUDGED: u64 = 100;

/// A parameter or a training of an index that costs recall: see [`Stats::warnings`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// M0 is too small for a graph that searches can find their way in.
    FewNeighbors {
        /// M0 of the index.
        m0: usize,
        /// The smallest that is not warned of.
        least: usize,
    },
    /// The last build kept too few candidates.
    FewCandidates {
        /// `ef_construction` of the last build.
        ef_construction: usize,
        /// The smallest that is not warned of.
        least: usize,
    },
    /// The range of an `i8` index is so wide that its vectors lose resolution.
    CoarseRange {
        /// [`RangeStats::error`](crate::RangeStats::error).
        error: f64,
        /// The largest that is not warned of.
        limit: f64,
    },
    /// The range of an `i8` index is so narrow that many components are clipped.
    NarrowRange {
        /// [`RangeStats::saturated`](crate::RangeStats::saturated).
        saturated: f64,
        /// The largest that is not warned of.
        limit: f64,
    },
    /// The part of the index that all searches read does not fit into memory.
    HotExceedsMemory {
        /// [`Stats::hot_bytes`].
        hot_bytes: u64,
        /// [`Stats::memory_bytes`].
        memory_bytes: u64,
        /// Codes with which it would fit: see [`Codes::for_memory`].
        codes: Option<Codes>,
    },
    /// The vectors have moved away from those that the codes were trained on.
    DriftedCodes {
        /// [`CodeStats::drift`](crate::CodeStats::drift).
        drift: f64,
        /// The smallest that is warned of.
        limit: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FewNeighbors { m0, least } => write!(
                f,
                "M0 is {m0}, and below {least} searches miss items: create the index anew with 32"
            ),
            Self::FewCandidates { ef_construction, least } => write!(
                f,
                "ef_construction is {ef_construction}, and below {least} searches miss items: \
                 create the index anew, or rebuild its graph, with 100"
            ),
            Self::CoarseRange { error, limit } => write!(
                f,
                "the relative error of the components, stored as i8, is {error:.3}, above {limit}: \
                 train on a sample like the vectors, without outliers, and add the items again"
            ),
            Self::NarrowRange { saturated, limit } => write!(
                f,
                "{:.1} % of the components are clipped to the range of i8, more than {:.1} %: \
                 train on a sample like the vectors, and add the items again",
                100.0 * saturated,
                100.0 * limit
            ),
            Self::HotExceedsMemory { hot_bytes, memory_bytes, codes } => {
                write!(
                    f,
                    "searches read from all of {hot_bytes} bytes, and there is memory for \
                     {memory_bytes}, so that they wait for the disk: "
                )?;
                match codes {
                    Some(codes) => write!(f, "set codes of {codes}, which fit, or use more memory"),
                    None => write!(f, "use more memory, or several indexes on several machines"),
                }
            }
            Self::DriftedCodes { drift, limit } => write!(
                f,
                "the spread of the vectors is {drift:.1} times that which the codes were trained \
                 on, from {limit} on searches by them miss items: optimize the index"
            ),
        }
    }
}

impl Stats {
    /// What costs recall, and what to do about it; empty if nothing does.
    ///
    /// ```
    /// use voisin::{Index, Options, Warning, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let options = Options::new(1).m(2).m0(2).ef_construction(1);
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), options)?;
    /// index.write(|batch| batch.add_items_from((0..100).map(|item| (item, [item as f32]))))?;
    /// let warnings = index.stats()?.warnings();
    /// assert!(matches!(warnings[0], Warning::FewNeighbors { m0: 2, .. }));
    /// for warning in warnings {
    ///     eprintln!("{warning}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |is_due: bool, warning| warnings.extend(is_due.then_some(warning));
        let Self { m0, ef_construction, .. } = *self;
        // Both are 0 before the first build.
        let is_small = (1..MIN_M0).contains(&m0);
        warn(is_small, Warning::FewNeighbors { m0, least: MIN_M0 });
        let least = MIN_EF_CONSTRUCTION;
        let is_small = (1..least).contains(&ef_construction);
        warn(is_small, Warning::FewCandidates { ef_construction, least });
        warnings.extend(self.of_memory());
        let learned = self.range.as_ref().map(of_range).into_iter().flatten();
        let learned = learned.chain(self.codes.as_ref().and_then(of_codes));
        warnings.extend(learned.filter(|_| self.items >= MIN_JUDGED));
        warnings
    }

    fn of_memory(&self) -> Option<Warning> {
        let (hot_bytes, memory_bytes) = (self.hot_bytes(), self.memory_bytes);
        let codes = Codes::for_memory(memory_bytes, self.items, self.dimensions, self.m0);
        // Those that it has are too large, whatever an estimate says.
        let codes =
            codes.filter(|codes| self.codes.is_none_or(|has| codes.bits() < has.codes.bits()));
        (hot_bytes > memory_bytes).then_some(Warning::HotExceedsMemory {
            hot_bytes,
            memory_bytes,
            codes,
        })
    }
}

fn of_range(range: &RangeStats) -> impl Iterator<Item = Warning> + use<> {
    let RangeStats { error, saturated, .. } = *range;
    let (limit, most) = (MAX_RANGE_ERROR, MAX_SATURATED);
    let coarse = (error > limit).then_some(Warning::CoarseRange { error, limit });
    let narrow = saturated > most;
    let narrow = narrow.then_some(Warning::NarrowRange { saturated, limit: most });
    coarse.into_iter().chain(narrow)
}

fn of_codes(codes: &CodeStats) -> Option<Warning> {
    let (drift, limit) = (codes.drift(), MAX_DRIFT);
    (drift >= limit).then_some(Warning::DriftedCodes { drift, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_have_drifted_are_warned_of() {
        let at = |spread| CodeStats {
            codes: Codes::Bits4,
            trained_on: 1000,
            older: 0,
            trained_spread: 2.0,
            spread,
            error: 0.1,
        };
        assert_eq!(of_codes(&at(3.9)), None);
        let drifted = Warning::DriftedCodes { drift: 2.5, limit: MAX_DRIFT };
        assert_eq!(of_codes(&at(5.0)), Some(drifted));
    }
}
