//! The inputs and results of sections that rewrite their values with new slots.

use std::cell::Cell;

use super::codes::encoded::Encoded;
use super::graph::changes::Before;
use crate::graph::working::Working;
use crate::store::GoOn;
use crate::store::target::Put;
use crate::types::Slot;

/// The entry of a slot map for "no slot".
pub(crate) const NONE: u32 = u32::MAX;

/// An index whose slots are being renumbered.
pub(crate) struct Relabel<'a, 's, 't> {
    /// The index before.
    pub(crate) view: &'a Before<'s, 't>,
    /// The new graph, by old slots.
    pub(crate) working: &'a Working<'a>,
    /// Old slots, indexed by new ones.
    pub(crate) order: &'a [Slot],
    pub(crate) numbers: Numbers,
    /// The new codes, if they have been computed.
    pub(crate) encoded: Cell<Option<Encoded>>,
    /// Called once per node; an error cancels the work.
    pub(crate) go_on: &'a GoOn<'a>,
}

/// The values of a section by new slots.
pub(crate) enum Relabelled {
    /// Unchanged: they refer to no slots.
    Unchanged,
    /// Exactly these values.
    Puts(Vec<Put>),
    /// The vectors, which wait in the spool.
    Spooled,
}

/// The map from old to new slots and ranks.
pub(crate) struct Numbers {
    /// New slots, indexed by old ones.
    pub(crate) new: Vec<u32>,
    /// New ranks, indexed by old slots.
    pub(crate) ranks: Vec<u32>,
}

impl Relabel<'_, '_, '_> {
    /// The values of CODES. Can be taken once.
    pub(crate) fn take_codes(&self) -> Vec<Put> {
        let encoded = self.encoded.take().map(|encoded| encoded.in_order(self.order));
        let puts = encoded.map(|encoded| encoded.puts(self.view, &Default::default()));
        puts.unwrap_or_default()
    }
}

impl Numbers {
    pub(crate) fn of(&self, slot: Slot) -> Slot {
        Slot(self.new.get(slot.index()).copied().unwrap_or(NONE))
    }

    /// The new slots, ascending.
    pub(crate) fn of_all(&self, slots: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut slots: Vec<u32> = slots.map(|slot| self.of(Slot(slot)).0).collect();
        slots.sort_unstable();
        slots
    }
}
