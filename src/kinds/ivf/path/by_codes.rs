//! The scan of lists by their codes, which lie one after the other in blocks of a page.
//!
//! Two passes. The first reads all codes and estimates their distances, each within a bound; it
//! knows the `k`-th smallest upper end so far, and keeps what may be as near (`Sifted`). The second
//! compares these by their vectors, in the order of their lower ends, until that of the next is
//! beyond the `k`-th distance (as the reranking of VA-files, Weber, Schek & Blott 1998). So nearly
//! no vector is read that is no result, and which ones are is known in time to fetch them.
//!
//! The bound is one of high probability: of the slots in the lists, a few in a thousand may be
//! missed where they are the last results. Where all lists are probed it always holds, so that the
//! answer is exact. The answer does not depend on the number of threads, nor on the order of lists.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::{self, AtomicUsize};

use crate::distance::{Finish, by_finish, prefetch_early};
use crate::error::{Error, Result};
use crate::graph::DistanceComputer;
use crate::kinds::ivf::format::list_codes::Block;
use crate::search::SearchContext;
use crate::store::prepared_query::PreparedQuery;
use crate::store::sections::codes::search::CodeComparer;
use crate::store::source::Source;
use crate::store::view::{ROWS_AHEAD, View};
use crate::threads;
use crate::top_k::{Found, Wanted};
use crate::types::Slot;

/// The number of blocks between two looks at the stop condition, which a thread takes at a time:
/// some microseconds.
const TOGETHER: usize = 16;
/// A scan of fewer bytes of codes for each thread ends before other threads have woken up.
const BYTES_PER_THREAD: usize = 2 << 20;
/// Vectors are fetched this many before they are compared.
const AHEAD: usize = 4;
/// The number of vectors that are compared between two looks at the stop condition.
const COMPARED_TOGETHER: usize = 64;

/// A scan of lists for one query: what it wants, and of whom.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) context: &'a SearchContext<'a>,
    pub(super) wanted: Wanted,
    /// The length of a code.
    pub(super) stride: usize,
    /// Whether nothing may be missed.
    pub(super) is_certain: bool,
}

/// The upper end of a distance.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Upper(f32);

impl Eq for Upper {}

impl Ord for Upper {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Upper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a pass over codes has kept.
#[derive(Debug, Default)]
struct Sifted {
    /// The smallest upper ends, as many as results are wanted: the largest is on top.
    uppers: BinaryHeap<Upper>,
    /// The lower ends of the distances of slots, and the slots.
    left: Vec<(f32, u32)>,
    estimates: u64,
}

impl Scan<'_> {
    /// Returns the nearest of the slots with codes in some blocks.
    pub(super) fn run<'s, 't, S: Source<'t>>(
        &self,
        view: &View<'s, 't, S>,
        query: &PreparedQuery<'_, 's, 't, S>,
        blocks: &[&'t [u8]],
    ) -> Result<Found> {
        let mut found = Found::nothing(self.wanted, query.resolution());
        let Some(codes) = view.code_queries()?.filter(|_| !self.wanted.is_nothing()) else {
            return Ok(found);
        };
        view.fetch_blocks(blocks.iter().copied());
        let comparer = codes.anywhere(query);
        let radius = found.top_k.limit().unwrap_or(f32::INFINITY);
        let resolution = query.resolution();
        let limit = |upper: f32| resolution.limit(resolution.high(upper)).min(radius);
        let runs: Vec<&[&[u8]]> = blocks.chunks(TOGETHER).collect();
        let bytes = blocks.iter().map(|block| block.len()).sum();
        let next = AtomicUsize::new(0);
        let take = || runs.get(next.fetch_add(1, atomic::Ordering::Relaxed)).copied();
        let each = threads::on_each(threads::for_items(bytes, BYTES_PER_THREAD), || {
            let runs = std::iter::from_fn(take).take_while(|_| !self.context.stop());
            Ok::<_, Error>(self.sift(&comparer, runs, radius, &limit))
        })?;
        let mut all = Sifted::default();
        for one in each {
            all.estimates += one.estimates;
            all.left.extend(one.left);
            one.uppers.into_iter().for_each(|upper| all.keep(upper, self.wanted.k));
        }
        found.estimates = all.estimates;
        let most = all.limit(self.wanted.k).map_or(radius, limit);
        let mut left = all.left;
        left.retain(|(least, _)| *least <= most);
        left.sort_unstable_by(|(a, x), (b, y)| a.total_cmp(b).then(x.cmp(y)));
        by_finish!(view.metric, F => self.compare::<F, S>(view, query, &left, &mut found))?;
        Ok(found)
    }

    /// Reads the codes of blocks, and keeps what may be a result.
    fn sift<'b, 'c: 'b>(
        &self,
        comparer: &CodeComparer<'_>,
        runs: impl Iterator<Item = &'b [&'c [u8]]>,
        radius: f32,
        limit: &dyn Fn(f32) -> f32,
    ) -> Sifted {
        let selection = &self.context.selection;
        let admits_all = selection.only().is_none() && !selection.bars_nodes();
        // What a predicate refuses must not rule out what it accepts.
        let is_settled = selection.predicate().is_none() && selection.asked().is_none();
        let mut sifted = Sifted::default();
        let (mut codes, mut estimates, mut admitted) = (Vec::new(), Vec::new(), Vec::new());
        let mut most = radius;
        for run in runs {
            for (at, body) in run.iter().enumerate() {
                prefetch_early(run.get(at + 1).into_iter().copied());
                // Whole entries: that was checked when the block was looked up.
                let Ok(block) = Block::decode(self.stride, body) else { continue };
                codes.clear();
                let all = block.codes.chunks_exact(self.stride);
                if admits_all {
                    codes.extend(all);
                } else {
                    admitted.clear();
                    let entries = block.slots().zip(all);
                    for (slot, code) in entries.filter(|(slot, _)| selection.admits(Slot(*slot))) {
                        admitted.push(slot);
                        codes.push(code);
                    }
                }
                comparer.estimates(&codes, &mut estimates);
                sifted.estimates += codes.len() as u64;
                for (entry, (code, estimate)) in codes.iter().zip(&estimates).enumerate() {
                    let bound = comparer.bound(code, self.is_certain);
                    let least = estimate - bound;
                    if least > most {
                        continue;
                    }
                    let slot = match admits_all {
                        true => block.slot(entry),
                        false => admitted.get(entry).copied(),
                    };
                    sifted.left.extend(slot.map(|slot| (least, slot)));
                    if is_settled {
                        sifted.keep(Upper(estimate + bound), self.wanted.k);
                        most = sifted.limit(self.wanted.k).map_or(radius, limit);
                    }
                }
            }
        }
        sifted
    }

    /// Compares slots by their vectors, in the order of the least distances that they can have.
    fn compare<'s, 't, F: Finish, S: Source<'t>>(
        &self,
        view: &View<'s, 't, S>,
        query: &PreparedQuery<'_, 's, 't, S>,
        left: &[(f32, u32)],
        found: &mut Found,
    ) -> Result<()> {
        let is_cold = view.cold().is_some();
        for (at, (least, slot)) in left.iter().enumerate() {
            if !found.top_k.may_keep(*least)
                || at % COMPARED_TOGETHER == 0 && at > 0 && self.context.stop()
            {
                break;
            }
            if is_cold && at % ROWS_AHEAD == 0 {
                let rows = left[at..].iter().take(ROWS_AHEAD).map(|(_, slot)| *slot);
                query.fetch_rows(&rows.collect::<Vec<u32>>());
            }
            if let Some((_, next)) = left.get(at + AHEAD) {
                query.prefetch(&[*next]);
            }
            let slot = Slot(*slot);
            found.distances += 1;
            let distance = query.distance::<F>(view.vector(slot)?);
            if !found.top_k.may_keep(distance) {
                continue;
            }
            let item = view.item(slot)?;
            if self.context.accepts(slot, item)? {
                let distance = query.corrected::<F>(slot, distance)?;
                found.top_k.offer(query, slot, item, distance)?;
            }
        }
        Ok(())
    }
}

impl Sifted {
    /// Keeps an upper end if it is among the `k` smallest.
    fn keep(&mut self, upper: Upper, k: usize) {
        if self.uppers.len() < k {
            self.uppers.push(upper);
        } else if let Some(mut largest) = self.uppers.peek_mut().filter(|largest| upper < **largest)
        {
            *largest = upper;
        }
    }

    /// The `k`-th smallest upper end, if there are as many.
    fn limit(&self, k: usize) -> Option<f32> {
        let largest = self.uppers.peek().filter(|_| self.uppers.len() >= k);
        largest.map(|largest| largest.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kth_smallest_upper_end_is_known_once_there_are_k() {
        let mut sifted = Sifted::default();
        for (upper, limit) in
            [(5.0, None), (1.0, None), (3.0, Some(5.0)), (9.0, Some(5.0)), (0.5, Some(3.0))]
        {
            sifted.keep(Upper(upper), 3);
            assert_eq!(sifted.limit(3), limit);
        }
        assert_eq!(sifted.limit(4), None);
    }
}
