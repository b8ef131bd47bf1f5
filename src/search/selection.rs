//! The items that may be results of a search: its candidates, exclusions and predicate, resolved to
//! slots of the snapshot once a search.
//!
//! Candidates and exclusions become a set of slots, so that a walk of the graph asks a bit instead
//! of looking up an id. Few exclusions are kept as such, beside the removed slots (tombstones).
//! A predicate cannot be resolved: it is asked last, and only of what would be a result.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::deadline::Due;
use super::slot_set::{SlotSet, given, pending_but};
use crate::error::{Error, Result};
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::{ItemId, Slot};

/// Exclusions of at most one in this many items are kept as such: a search hardly meets them.
const ITEMS_PER_EXCLUSION: usize = 32;

/// The number of items that a predicate is asked about between two looks at the stop condition.
const ASKED_TOGETHER: usize = 64;

/// A predicate: whether an item may be a result. It may fail, as it may have to look a key up.
pub(crate) type Predicate<'a> = &'a (dyn Fn(ItemId) -> Result<bool> + Sync);

/// A set of items, resolved or not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Items<'a> {
    Ids(&'a RoaringBitmap),
    /// Slots of the snapshot that is searched.
    Slots(&'a Arc<SlotSet>),
}

impl Items<'_> {
    fn resolve<'t, S: Source<'t>>(self, view: &View<'_, 't, S>, due: Due) -> Result<Arc<SlotSet>> {
        match self {
            Self::Ids(items) => SlotSet::of(view, items, due).map(Arc::new),
            Self::Slots(slots) => Ok(Arc::clone(slots)),
        }
    }
}

/// The restrictions of a request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Restrictions<'a> {
    /// The items that may be results (prefilter); `None` for all.
    pub(crate) candidates: Option<Items<'a>>,
    /// A second such set: results are in both.
    pub(crate) prefix: Option<Items<'a>>,
    /// Items that may not.
    pub(crate) excluded: Option<Items<'a>>,
    pub(crate) predicate: Option<Predicate<'a>>,
}

impl fmt::Debug for Restrictions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restrictions")
            .field("candidates", &self.candidates)
            .field("prefix", &self.prefix)
            .field("excluded", &self.excluded)
            .field("predicate", &self.predicate.map(|_| ".."))
            .finish()
    }
}

impl Restrictions<'_> {
    /// Whether items have to be looked up to resolve them.
    pub(super) fn are_looked_up(&self) -> bool {
        [self.candidates, self.prefix, self.excluded]
            .iter()
            .any(|items| matches!(items, Some(Items::Ids(_))))
    }
}

/// What candidates and exclusions have been resolved to, for one snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settled {
    /// `None` if all live slots that are not excluded may be results.
    only: Option<Arc<SlotSet>>,
    /// If `only` is `None`: excluded slots, which are few.
    excluded: Option<Arc<SlotSet>>,
}

impl Settled {
    /// The same restrictions, without anything to look up.
    pub(crate) fn restrictions<'a>(&'a self, predicate: Option<Predicate<'a>>) -> Restrictions<'a> {
        let [candidates, excluded] =
            [&self.only, &self.excluded].map(|slots| slots.as_ref().map(Items::Slots));
        Restrictions { candidates, excluded, prefix: None, predicate }
    }

    /// The same without some slots.
    pub(crate) fn without(&self, slots: Vec<u32>, pending: &[u32]) -> Self {
        let slots = SlotSet::listed(slots, pending);
        match (&self.only, &self.excluded) {
            (Some(only), _) => {
                Self { only: Some(Arc::new(only.without(&slots, pending))), excluded: None }
            }
            (None, Some(excluded)) => {
                let all = slots.to_bitmap() | excluded.to_bitmap();
                let all = SlotSet::listed(all.into_iter().collect(), pending);
                Self { only: None, excluded: Some(Arc::new(all)) }
            }
            (None, None) => Self { only: None, excluded: Some(Arc::new(slots)) },
        }
    }

    /// The slots that restrict the results, and those that are excluded.
    pub(crate) fn slots(&self) -> [Option<&[u32]>; 2] {
        [&self.only, &self.excluded].map(|slots| slots.as_ref().map(|slots| slots.list()))
    }
}

/// The slots that may be results: see the module.
pub(crate) struct Selection<'a> {
    settled: Settled,
    /// If no candidates restrict the slots: removed and excluded ones.
    barred: Cow<'a, RoaringBitmap>,
    /// The pending slots among them, but `own`, ascending.
    pending: Cow<'a, [u32]>,
    /// The slot that is the query of a search by item.
    own: Option<Slot>,
    /// The number of items, not counting what the predicate refuses.
    count: usize,
    /// Candidates that are not resolved: they are asked for the id of a slot.
    asked: Option<&'a RoaringBitmap>,
    /// About how many candidates were given by ids, if nothing else restricts the results and these
    /// are many.
    given: Option<u64>,
    predicate: Option<Predicate<'a>>,
}

impl<'a> Selection<'a> {
    /// Resolves the restrictions of a search on a view: not all of them, if the time is over.
    pub(crate) fn of<'t, S: Source<'t>>(
        view: &View<'a, 't, S>,
        Restrictions { candidates, prefix, excluded, predicate }: Restrictions<'a>,
        own: Option<Slot>,
        due: Due,
    ) -> Result<Self> {
        let snapshot = view.snapshot;
        let items = snapshot.meta.items as usize;
        let mut only = candidates.map(|items| items.resolve(view, due)).transpose()?;
        if let Some(prefix) = prefix.map(|items| items.resolve(view, due)).transpose()? {
            only = Some(match only {
                Some(only) => Arc::new(only.within(&prefix, &snapshot.pending)),
                None => prefix,
            });
        }
        let is_alone = prefix.is_none() && excluded.is_none() && predicate.is_none();
        let given = only.as_ref().filter(|_| is_alone).and_then(|only| only.given());
        let (mut barred, mut few) = (Cow::Borrowed(&snapshot.removed), None);
        if let Some(excluded) = excluded.map(|items| items.resolve(view, due)).transpose()? {
            let all = match &only {
                Some(only) => Some(Arc::clone(only)),
                None if excluded.len() * ITEMS_PER_EXCLUSION > items => {
                    Some(Arc::new(SlotSet::all(view)?))
                }
                None => None,
            };
            match all {
                Some(all) => only = Some(Arc::new(all.without(&excluded, &snapshot.pending))),
                None => {
                    *barred.to_mut() |= excluded.to_bitmap();
                    few = Some(excluded);
                }
            }
        }
        let (pending, count): (Cow<'_, [u32]>, _) = match &only {
            Some(only) => {
                let is_other = |slot: &u32| own != Some(Slot(*slot));
                (only.pending().iter().copied().filter(is_other).collect(), only.len())
            }
            // Removed slots are not counted as items, excluded ones are.
            None => (
                pending_but(&snapshot.pending, |slot| barred.contains(slot.0) || own == Some(slot)),
                (items + snapshot.removed.len() as usize).saturating_sub(barred.len() as usize),
            ),
        };
        let is_own = |own: &Slot| match &only {
            Some(only) => only.contains(own.0),
            None => !barred.contains(own.0),
        };
        let count = count - usize::from(own.is_some_and(|own| is_own(&own)));
        let settled = Settled { only, excluded: few };
        Ok(Self { settled, barred, pending, own, count, asked: None, given, predicate })
    }

    /// Candidates alone, given by their ids, which are not resolved. The number of items is then
    /// the most that there may be. `None` for so few ids that resolving them costs nothing.
    pub(crate) fn unresolved<'t, S: Source<'t>>(
        view: &View<'a, 't, S>,
        ids: &'a RoaringBitmap,
        own: Option<Slot>,
    ) -> Result<Option<Self>> {
        let snapshot = view.snapshot;
        let given = given(view, ids)?;
        if given.is_none() {
            return Ok(None);
        }
        let mut pending = Vec::new();
        for slot in snapshot.pending.iter().map(|slot| Slot(*slot)) {
            if own != Some(slot)
                && !snapshot.removed.contains(slot.0)
                && ids.contains(view.item(slot)?)
            {
                pending.push(slot.0);
            }
        }
        Ok(Some(Self {
            settled: Settled::default(),
            barred: Cow::Borrowed(&snapshot.removed),
            pending: pending.into(),
            own,
            count: ids.len().min(snapshot.meta.items.into()) as usize,
            asked: Some(ids),
            given,
            predicate: None,
        }))
    }

    /// No slot may be a result.
    pub(crate) fn nothing() -> Self {
        Self {
            settled: Settled { only: Some(Arc::default()), excluded: None },
            barred: Cow::Owned(RoaringBitmap::new()),
            pending: Cow::Borrowed(&[]),
            own: None,
            count: 0,
            asked: None,
            given: None,
            predicate: None,
        }
    }

    /// What it was resolved to, for more searches of the snapshot.
    pub(crate) fn settled(&self) -> &Settled {
        &self.settled
    }

    /// The maximum number of results.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The restrictions with the answers of the predicate about every item.
    ///
    /// # Errors
    /// Those of the predicate; [`Error::Cancelled`] if `stop` ends it.
    pub(crate) fn settled_by_predicate<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        stop: impl Fn() -> bool,
    ) -> Result<Settled> {
        let Some(predicate) = self.predicate else { return Ok(self.settled.clone()) };
        let all = match &self.settled.only {
            Some(only) => Arc::clone(only),
            None => Arc::new(SlotSet::all(view)?),
        };
        let mut accepted = Vec::new();
        for (nth, slot) in all.list().iter().enumerate() {
            if nth % ASKED_TOGETHER == 0 && stop() {
                return Err(Error::Cancelled);
            }
            if self.admits(Slot(*slot)) && predicate(view.item(Slot(*slot))?)? {
                accepted.push(*slot);
            }
        }
        let only = SlotSet::listed(accepted, &view.snapshot.pending);
        Ok(Settled { only: Some(Arc::new(only)), excluded: None })
    }

    /// The slots, if candidates restrict them.
    pub(crate) fn only(&self) -> Option<&SlotSet> {
        self.settled.only.as_deref()
    }

    /// The slots that a search of all does not return, though it meets them in the graph.
    pub(crate) fn barred(&self) -> &RoaringBitmap {
        &self.barred
    }

    /// Whether the query is an item, which is none of its results.
    pub(crate) fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// Whether this slot is the query.
    #[inline]
    pub(crate) fn is_own(&self, slot: Slot) -> bool {
        self.own == Some(slot)
    }

    /// Whether a search of all meets slots that it does not return.
    pub(crate) fn bars_nodes(&self) -> bool {
        self.has_own() || !self.barred.is_empty()
    }

    /// The pending slots that may be results, ascending.
    pub(crate) fn pending(&self) -> &[u32] {
        &self.pending
    }

    pub(crate) fn predicate(&self) -> Option<Predicate<'a>> {
        self.predicate
    }

    /// The ids of the candidates, if these are not resolved.
    pub(crate) fn asked(&self) -> Option<&'a RoaringBitmap> {
        self.asked
    }

    /// About how many candidates were given by ids, if nothing else restricts the results and these
    /// are many: known without resolving them.
    pub(crate) fn given(&self) -> Option<u64> {
        self.given
    }

    /// Whether a slot of a live item may be a result, as far as the predicate and candidates that
    /// are not resolved are not concerned.
    #[inline]
    pub(crate) fn admits(&self, slot: Slot) -> bool {
        let admitted = match &self.settled.only {
            Some(only) => only.contains(slot.0),
            None => self.barred.is_empty() || !self.barred.contains(slot.0),
        };
        admitted && self.own != Some(slot)
    }

    /// Some linked slots that may be results, evenly spread, at most `most`.
    pub(crate) fn sample<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        most: usize,
    ) -> Result<Vec<u32>> {
        let mut sample = match &self.settled.only {
            Some(only) => only.sample(most),
            None => {
                let slots = u64::from(view.snapshot.meta.slots);
                (0..most as u64).map(|n| (n * slots / most as u64) as u32).collect()
            }
        };
        sample.dedup();
        let mut linked = Vec::with_capacity(sample.len());
        for slot in sample {
            // Pending and free slots are not nodes.
            if self.admits(Slot(slot)) && view.is_node(Slot(slot))? {
                linked.push(slot);
            }
        }
        Ok(linked)
    }
}
