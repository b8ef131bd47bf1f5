//! How many slots an index has after a load within a memory budget, before that adds anything: what
//! links the rows takes memory for each slot, and a load that cannot be linked must commit nothing.
//!
//! A row takes a slot unless the index has its vector under its name, bit for bit. What replaces a
//! vector takes one, too: the old one leaves the graph only when that is linked. So a load that is
//! repeated after a kill needs no more than it did at first.

use std::collections::HashSet;

use super::ordered::Rows;
use super::{Loader, REPORT_ITEMS};
use crate::codec::{Component, Components};
use crate::error::{Error, Result};
use crate::format::item_keys::Naming;
use crate::store::edit::slots_after;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::types::ItemId;

impl<D, K: ?Sized> Loader<'_, D, K> {
    /// The number of slots that the index has once all rows but the `replaced` ones are added, at
    /// most. O(rows) lookups.
    pub(super) fn slots_with<T: Component>(
        &self,
        held: &OwnedSnapshot<'static>,
        rows: &Rows<T>,
        replaced: &HashSet<u32>,
    ) -> Result<u64> {
        let mut stored = 0;
        for (row, (name, vector, _)) in (0u32..).zip(rows.all()) {
            if u64::from(row).is_multiple_of(REPORT_ITEMS) && (self.cancel)() {
                return Err(Error::Cancelled);
            }
            if !replaced.contains(&row) && !has(held, &name, &vector)? {
                stored += 1;
            }
        }
        Ok(slots_after(held.meta(), stored))
    }
}

/// Whether a snapshot has this vector under this name, in its stored form.
fn has<T: Component>(held: &OwnedSnapshot<'_>, name: &[u8], vector: &[T]) -> Result<bool> {
    let (place, meta) = (held.place(), held.meta());
    if meta.slots == meta.free {
        return Ok(false);
    }
    let item = match place.naming {
        Naming::Ids => name.first_chunk().map(|bytes| ItemId::from_le_bytes(*bytes)),
        _ => held.lend(|txn| ItemKeys::of(place).id(txn, name))?,
    };
    let Some(item) = item else { return Ok(false) };
    let view = held.view();
    let Some(slot) = view.slot(item)? else { return Ok(false) };
    // What cannot be stored is told when it is added.
    let Ok(encoded) = place.metric.encode(Components::of(vector), meta.scale) else {
        return Ok(false);
    };
    Ok(view.vector(slot)?.bytes == encoded.bytes)
}
