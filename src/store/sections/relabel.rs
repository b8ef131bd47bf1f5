//! What sections give their values other slots with.

use std::cell::Cell;

use super::codes::encoded::Encoded;
use super::graph::changes::Before;
use crate::graph::working::Working;
use crate::store::GoOn;
use crate::store::target::Put;
use crate::types::Slot;

/// What an entry of a map from slots is where there is no slot.
pub(crate) const NONE: u32 = u32::MAX;

/// An index whose slots get other numbers.
pub(crate) struct Relabel<'a, 's, 't> {
    /// The index as it is.
    pub(crate) view: &'a Before<'s, 't>,
    /// The graph that it is to have, by the slots as they are.
    pub(crate) working: &'a Working<'a>,
    /// Old slots, by new.
    pub(crate) order: &'a [Slot],
    pub(crate) numbers: Numbers,
    /// The codes that it is to have, if they have been made.
    pub(crate) encoded: Cell<Option<Encoded>>,
    /// Asked for every node.
    pub(crate) go_on: &'a GoOn<'a>,
}

/// The values of a section by new slots.
pub(crate) enum Relabelled {
    /// As they are: they name no slots.
    Unchanged,
    /// These and no others.
    Puts(Vec<Put>),
    /// The vectors, which wait in the spool.
    Spooled,
}

/// The slots of a graph by their new numbers.
pub(crate) struct Numbers {
    /// New slots, by old.
    pub(crate) new: Vec<u32>,
    /// New ranks, by old slot.
    pub(crate) ranks: Vec<u32>,
}

impl Relabel<'_, '_, '_> {
    /// The values of CODES, for the section that keeps them.
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

    /// New slots, ascending.
    pub(crate) fn of_all(&self, slots: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut slots: Vec<u32> = slots.map(|slot| self.of(Slot(slot)).0).collect();
        slots.sort_unstable();
        slots
    }
}
