//! Sets of pages, as runs: sorted, each page once, neighbors merged.
//!
//! A batch of hints is a set of byte ranges: neighbor lists, codes, vectors, from anywhere in the
//! map. Pages are numbers here, and whose they are does not matter.

use std::ops::Range;

/// A set of pages in the making.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<Range<usize>>,
    /// Whether the runs are sorted, disjoint and not adjacent.
    is_normal: bool,
}

impl Runs {
    /// Adds pages.
    #[inline]
    pub(crate) fn push(&mut self, pages: Range<usize>) {
        if pages.is_empty() {
            return;
        }
        match self.runs.last_mut() {
            // Values of one page, and those that lie one after the other.
            Some(last) if last.start <= pages.start && pages.start <= last.end => {
                last.end = last.end.max(pages.end);
            }
            _ => {
                self.runs.push(pages);
                self.is_normal = false;
            }
        }
    }

    /// The runs, sorted, disjoint and not adjacent. Runs with at most `gap` other pages between
    /// them are merged with those.
    pub(crate) fn normalized(&mut self, gap: usize) -> &[Range<usize>] {
        if !self.is_normal || gap > 0 {
            self.runs.sort_unstable_by_key(|run| run.start);
            self.runs.dedup_by(|next, run| {
                let is_near = next.start <= run.end.saturating_add(gap);
                if is_near {
                    run.end = run.end.max(next.end);
                }
                is_near
            });
            self.is_normal = true;
        }
        &self.runs
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The same, page by page.
    fn naive(pushed: &[Range<usize>], gap: usize) -> Vec<Range<usize>> {
        let pages: BTreeSet<usize> = pushed.iter().cloned().flatten().collect();
        let mut runs: Vec<Range<usize>> = Vec::new();
        for page in pages {
            match runs.last_mut() {
                Some(last) if page <= last.end + gap => last.end = page + 1,
                _ => runs.push(page..page + 1),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn runs_are_the_pages_that_were_added_in_order_and_each_once(
            pushed in prop::collection::vec((0..60usize, 0..5usize), 0..30),
            gap in 0..3usize,
        ) {
            let pushed: Vec<_> =
                pushed.into_iter().map(|(start, count)| start..start + count).collect();
            let mut runs = Runs::default();
            for (at, pages) in pushed.iter().enumerate() {
                runs.push(pages.clone());
                // Asked in between, too: the order must not matter.
                if at % 7 == 3 {
                    prop_assert_eq!(runs.normalized(0), naive(&pushed[..=at], 0));
                }
            }
            prop_assert_eq!(runs.normalized(gap), naive(&pushed, gap));
        }
    }
}
