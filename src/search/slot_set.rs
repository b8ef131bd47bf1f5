//! A set of live slots of one snapshot: what a filter resolves to.
//!
//! A search asks a set for its members in order, for a scan, and whether a slot is a member, for a
//! walk of the graph. A set is built in the form that is cheaper to build, a list or one bit a
//! slot, and converted on first use of the other. Invariant: every member holds a live item, linked
//! or pending, so that the number of members is the number of possible results.

use std::borrow::Cow;
use std::sync::OnceLock;

use roaring::RoaringBitmap;

use super::deadline::Due;
use crate::error::Result;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::Slot;

/// A set of fewer members than one in this many slots is built as a list, as sorting it then takes
/// less time than clearing the bits of all slots.
const SLOTS_PER_LISTED: u64 = 256;

/// Fewer ids than this take less time to look up than to sample.
const MIN_GIVEN: u64 = 1000;
/// The number of ids sampled to tell how many of many the index has.
const SAMPLED: u64 = 8;

/// A set of slots: see the module.
#[derive(Debug, Default)]
pub(crate) struct SlotSet {
    /// The members, ascending.
    list: OnceLock<Vec<u32>>,
    /// One bit a slot.
    bits: OnceLock<Vec<u64>>,
    /// Whether it was built as a list.
    is_listed: bool,
    /// About how many of the ids that it was looked up from the index has, if these are many: see
    /// [`given`].
    given: Option<u64>,
    count: usize,
    /// The members that are pending, ascending.
    pending: Vec<u32>,
}

impl SlotSet {
    /// The slots of the live items of a set: some of them, if the time is over.
    pub(crate) fn of<'t, S: Source<'t>>(
        view: &View<'_, 't, S>,
        items: &RoaringBitmap,
        due: Due,
    ) -> Result<Self> {
        let meta = &view.snapshot.meta;
        let set = Self { given: given(view, items)?, ..Self::default() };
        if items.len().min(meta.items.into()) * SLOTS_PER_LISTED < u64::from(meta.slots) {
            let mut list = Vec::new();
            view.each_slot(items, || due.is_over(), |slot| list.push(slot.0))?;
            list.sort_unstable();
            _ = set.list.set(list);
        } else {
            let mut bits = vec![0u64; (meta.slots as usize).div_ceil(64)];
            view.each_slot(
                items,
                || due.is_over(),
                |slot| {
                    if let Some(word) = bits.get_mut(slot.index() / 64) {
                        *word |= 1 << (slot.0 % 64);
                    }
                },
            )?;
            _ = set.bits.set(bits);
        }
        Ok(set.counted(&view.snapshot.pending))
    }

    /// The slots of all live items.
    pub(crate) fn all<'t, S: Source<'t>>(view: &View<'_, 't, S>) -> Result<Self> {
        let slots = view.snapshot.meta.slots as usize;
        let mut bits = vec![u64::MAX; slots.div_ceil(64)];
        if let (Some(last), 1..) = (bits.last_mut(), slots % 64) {
            *last = (1 << (slots % 64)) - 1;
        }
        for slot in view.dead()? {
            bits[slot as usize / 64] &= !(1 << (slot % 64));
        }
        let set = Self { bits: bits.into(), ..Self::default() };
        Ok(set.counted(&view.snapshot.pending))
    }

    /// The slots of an ascending list, all of which hold live items.
    pub(crate) fn listed(list: Vec<u32>, pending: &[u32]) -> Self {
        Self { list: list.into(), ..Self::default() }.counted(pending)
    }

    /// The members that are in another set, too.
    pub(crate) fn within(&self, other: &Self, pending: &[u32]) -> Self {
        let left = self.list().iter().copied().filter(|slot| other.contains(*slot));
        Self::listed(left.collect(), pending)
    }

    /// The members that are not in another set.
    pub(crate) fn without(&self, other: &Self, pending: &[u32]) -> Self {
        let left = self.list().iter().copied().filter(|slot| !other.contains(*slot));
        Self::listed(left.collect(), pending)
    }

    /// Counts the members, and those that are pending.
    fn counted(mut self, pending: &[u32]) -> Self {
        self.count = match (self.list.get(), self.bits.get()) {
            (Some(list), _) => list.len(),
            (None, bits) => bits.into_iter().flatten().map(|word| word.count_ones() as usize).sum(),
        };
        self.is_listed = self.list.get().is_some();
        self.pending = pending.iter().copied().filter(|slot| self.contains(*slot)).collect();
        self
    }

    /// The number of members.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// What [`given`] says of the ids that it was looked up from, if it was.
    pub(crate) fn given(&self) -> Option<u64> {
        self.given
    }

    /// The members that are pending, ascending.
    pub(crate) fn pending(&self) -> &[u32] {
        &self.pending
    }

    /// Whether a slot is a member.
    #[inline]
    pub(crate) fn contains(&self, slot: u32) -> bool {
        match self.bits.get() {
            Some(bits) => {
                bits.get(slot as usize / 64).is_some_and(|word| *word >> (slot % 64) & 1 == 1)
            }
            None => self.list().binary_search(&slot).is_ok(),
        }
    }

    /// The members, ascending.
    pub(crate) fn list(&self) -> &[u32] {
        self.list.get_or_init(|| {
            let mut list = Vec::with_capacity(self.count);
            for (number, &word) in self.bits.get().into_iter().flatten().enumerate() {
                let (first, mut left) = (64 * number as u32, word);
                while left != 0 {
                    list.push(first + left.trailing_zeros());
                    left &= left - 1;
                }
            }
            list
        })
    }

    /// One bit a slot, for a walk that asks of many slots.
    pub(crate) fn bits(&self) -> &[u64] {
        self.bits.get_or_init(|| {
            let list = self.list();
            let mut bits = vec![0; list.last().map_or(0, |last| *last as usize / 64 + 1)];
            for slot in list {
                bits[*slot as usize / 64] |= 1 << (slot % 64);
            }
            bits
        })
    }

    /// Some members that are linked, evenly spread over the slots, at most `most`.
    pub(crate) fn sample(&self, most: usize) -> Vec<u32> {
        let is_linked = |slot: &u32| self.pending.binary_search(slot).is_err();
        // By the form in which it was built, so that a set that is kept gives one sample.
        if self.is_listed {
            let list = self.list();
            let nth = |n: usize| list.get(n * list.len() / most).copied();
            let mut sample: Vec<u32> = (0..most).filter_map(nth).filter(is_linked).collect();
            sample.dedup();
            return sample;
        }
        let bits = self.bits();
        // The first member of each of as many ranges of slots.
        let first = |n: usize| {
            let (from, to) = (n * bits.len() / most, (n + 1) * bits.len() / most);
            let at = bits.get(from..to)?.iter().position(|word| *word != 0)?;
            Some(64 * (from + at) as u32 + bits[from + at].trailing_zeros())
        };
        (0..most).filter_map(first).filter(is_linked).collect()
    }

    /// The members as a bitmap.
    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        self.list().iter().copied().collect()
    }
}

/// About how many of some ids the index has, by a sample: what can be known of many ids before they
/// are looked up. `None` of few.
pub(super) fn given<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    items: &RoaringBitmap,
) -> Result<Option<u64>> {
    let len = items.len();
    if len < MIN_GIVEN {
        return Ok(None);
    }
    let mut known = 0;
    for nth in 0..SAMPLED {
        let place = (2 * nth + 1) * len / (2 * SAMPLED);
        let item = u32::try_from(place).ok().and_then(|place| items.select(place));
        known += u64::from(item.map(|item| view.slot(item)).transpose()?.flatten().is_some());
    }
    Ok(Some(len * known / SAMPLED))
}

/// The slots of a snapshot that hold a live item and are pending, but for some.
pub(crate) fn pending_but<'a>(
    pending: &'a [u32],
    is_barred: impl Fn(Slot) -> bool,
) -> Cow<'a, [u32]> {
    if pending.iter().any(|slot| is_barred(Slot(*slot))) {
        return Cow::Owned(
            pending.iter().copied().filter(|slot| !is_barred(Slot(*slot))).collect(),
        );
    }
    Cow::Borrowed(pending)
}
