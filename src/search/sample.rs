//! Samples of the items that may be results, and the radius of a range search: what range searches
//! and counts have in common.

use roaring::RoaringBitmap;

use super::SearchContext;
use super::selection::Selection;
use super::slot_set::SlotSet;
use crate::distance::Form;
use crate::error::{Error, Result};
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::Slot;

/// Checks a radius under a metric.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(super) fn check_radius(form: Form, radius: f32) -> Result<()> {
    let has_negative = matches!(form, Form::NegatedProducts | Form::Other);
    let remedy = match (radius.is_nan(), has_negative) {
        (false, true) => return Ok(()),
        (false, false) if radius >= 0.0 => return Ok(()),
        (_, true) => "use a number, in the unit of the distances that answers have",
        (_, false) => "use a number of at least 0, in the unit of the distances that answers have",
    };
    Err(Error::InvalidParameter { name: "radius", value: radius.into(), remedy })
}

/// The quantile of the normal distribution for intervals that hold in 95 % of all cases.
const Z: f64 = 1.96;

/// The interval in which a share is, in 95 % of all cases, if it is this among so many independent
/// trials (Wilson 1927, "Probable inference, the law of succession, and statistical inference").
pub(super) fn share_interval(share: f64, trials: f64) -> [f64; 2] {
    let scale = 1.0 + Z * Z / trials;
    let center = (share + Z * Z / (2.0 * trials)) / scale;
    let spread = share * (1.0 - share) / trials + Z * Z / (4.0 * trials * trials);
    let half = Z / scale * spread.sqrt();
    [(center - half).max(0.0), (center + half).min(1.0)]
}

/// A pseudo-random number for each number: the finalizer of splitmix64.
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A sample of the numbers below `count`, ascending: one of each of `size` parts of about equal
/// size.
pub(super) fn sample(count: u32, size: u32) -> impl Iterator<Item = u32> {
    let size = u64::from(size.min(count));
    (0..size).map(move |part| {
        let bound = |part: u64| part * u64::from(count) / size;
        let (from, to) = (bound(part), bound(part + 1));
        (from + mixed(part) % (to - from).max(1)) as u32
    })
}

/// What a sample is taken of: the slots that candidates restrict a search to, or all.
pub(super) struct Population<'a> {
    selection: &'a Selection<'a>,
    only: Option<&'a [u32]>,
    slots: u32,
    /// Slots without a live item.
    dead: RoaringBitmap,
}

impl<'a> Population<'a> {
    pub(super) fn of<'t, S: Source<'t>>(
        view: &View<'_, 't, S>,
        context: &'a SearchContext<'a>,
    ) -> Result<Self> {
        let selection = &context.selection;
        let only = selection.only().map(SlotSet::list);
        let dead = if only.is_some() { RoaringBitmap::new() } else { view.dead()? };
        Ok(Self { selection, only, slots: view.snapshot.meta.slots, dead })
    }

    /// The number of slots, of which some may have no item.
    pub(super) fn len(&self) -> u32 {
        self.only.map_or(self.slots, |only| only.len() as u32)
    }

    /// The slots of these numbers that may be results, as far as no predicate is asked.
    pub(super) fn live(&self, numbers: &[u32]) -> impl Iterator<Item = u32> {
        let slot = |number: &u32| match self.only {
            Some(only) => only.get(*number as usize).copied(),
            None => Some(*number).filter(|slot| !self.dead.contains(*slot)),
        };
        numbers.iter().filter_map(slot).filter(|slot| self.selection.admits(Slot(*slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample is without repetition, within bounds, and has all where there are no more.
    #[test]
    fn a_sample_has_one_of_each_part() {
        for (count, size) in [(0, 8), (1, 8), (7, 8), (8, 8), (1000, 8), (100_000, 256)] {
            let sampled: Vec<u32> = sample(count, size).collect();
            assert_eq!(sampled.len() as u32, size.min(count));
            assert!(sampled.is_sorted_by(|a, b| a < b), "{sampled:?}");
            assert!(sampled.iter().all(|slot| *slot < count));
        }
        // Not every n-th.
        let steps: Vec<u32> =
            sample(100_000, 256).collect::<Vec<_>>().windows(2).map(|w| w[1] - w[0]).collect();
        assert!(steps.iter().any(|step| *step != steps[0]));
    }

    /// Under metrics whose distances are never negative, a negative radius is a mistake.
    #[test]
    fn a_radius_is_a_number_that_the_metric_has() {
        let refused = |form, radius| check_radius(form, radius).is_err();
        for form in [Form::SquaredDifferences, Form::Differences, Form::Cosine] {
            assert!(refused(form, -1.0) && refused(form, f32::NAN) && !refused(form, 0.0));
        }
        for form in [Form::NegatedProducts, Form::Other] {
            assert!(!refused(form, -1.0) && refused(form, f32::NAN));
        }
        assert!(!refused(Form::Cosine, f32::INFINITY));
    }
}
