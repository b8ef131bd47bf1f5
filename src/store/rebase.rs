//! Rebasing a build that was computed on one commit onto a later commit.
//!
//! The graph is derived from the items, so it need not be merged: the computed graph is what is
//! stored in the end, whatever other builds have done to the one before it, and the items are
//! reconciled with it:
//!
//! - Items that have been added since, linked meanwhile or not, become pending.
//! - Items of the computed graph that have been deleted since become removed, and the next build
//!   deletes them. If another item has taken the slot of such an item, it is moved to another slot,
//!   and the slot gets back the vector that the graph was built with.
//! - Removed slots that are not in the computed graph become free.
//!
//! O(values of the graph + items) reads if there was another commit, O(changes) writes.

use std::cmp::Ordering;

use heed::{RoTxn, RwTxn};
use roaring::RoaringBitmap;

use super::Place;
use super::edit::Edit;
use super::open::read_meta;
use super::owned_snapshot::OwnedSnapshot;
use super::sections::graph::changes::Changes;
use super::sections::list::built_kinds;
use super::snapshot::Snapshot;
use super::source::{Calling, Source, Verified};
use super::table::Memory;
use super::target::Put;
use super::view::View;
use crate::error::Result;
use crate::format::Key;
use crate::format::checksum::Sound;
use crate::format::set::SetKind;
use crate::types::{ItemId, Slot};

/// A build is not worth linking if more than one in this many items of its graph are gone.
const MAX_GONE_DIVISOR: u64 = 8;
/// Number of items that may be gone in any case.
const GONE_FEW: u64 = 1000;

/// The reconciliation of a build with later commits: see the module.
#[derive(Debug, Default)]
pub(crate) struct Rebased {
    /// Values of the graph that other commits have changed, restored to those of the build's
    /// snapshot.
    restored: Vec<Put>,
    /// Nodes whose item was deleted.
    gone: Vec<Node>,
    /// Items that have taken the slots of such nodes.
    moved: Vec<Moved>,
    linked: RoaringBitmap,
    unlinked: RoaringBitmap,
    taken_out: RoaringBitmap,
}

/// A node of the computed graph, with the vector that the graph was built with.
#[derive(Debug)]
struct Node {
    slot: Slot,
    vector: Vec<u8>,
    factor: f32,
}

/// An item that has taken the slot of a node, in its stored form.
#[derive(Debug)]
struct Moved {
    item: ItemId,
    vector: Vec<u8>,
    factor: f32,
    node: Node,
}

impl Rebased {
    /// For a build with no commit since its snapshot. Slots in `left` stay pending, and removed
    /// slots in `kept` stay in the graph.
    pub(crate) fn nothing_between(
        snapshot: &Snapshot<'_>,
        left: &RoaringBitmap,
        kept: &RoaringBitmap,
    ) -> Self {
        let pending: RoaringBitmap = snapshot.pending.iter().copied().collect();
        Self {
            // In a build anew, items that were linked may stay pending.
            unlinked: left - &pending,
            linked: pending - left,
            taken_out: &snapshot.removed - kept,
            ..Self::default()
        }
    }

    /// What `wtxn` must write besides `changes`, which were computed on `held`. Slots in `left`
    /// stay pending, and removed slots in `kept` stay in the graph. `None` if the build must be
    /// retried.
    ///
    /// # Errors
    /// Those of opening an index, and of damaged values.
    pub(crate) fn new(
        held: &OwnedSnapshot<'_>,
        changes: &Changes,
        left: &RoaringBitmap,
        kept: &RoaringBitmap,
        wtxn: &RwTxn<'_>,
    ) -> Result<Option<Self>> {
        let place = held.place();
        // Bounded: the addresses of all vectors are compared, but hardly any vector is read.
        let before = held.verified_view(Memory::Bounded);
        // LMDB numbers the commits of an environment consecutively.
        if wtxn.id() == before.snapshot.id + 1 {
            return Ok(Some(Self::nothing_between(before.snapshot, left, kept)));
        }
        let is_comparable = read_meta(place, wtxn)?.is_some_and(|now| {
            let then = held.meta();
            now.dimensions == then.dimensions
                && now.scale == then.scale
                && now.slots >= then.slots
                && now.has_graph
                && now.connectivity.is_none_or(|now| Some(now) == then.connectivity)
        });
        if !is_comparable {
            return Ok(None);
        }
        let snapshot = Snapshot::open(place, wtxn, Memory::Full)?;
        let now = View::new(
            &snapshot,
            Verified::new(Calling::new(place, wtxn, snapshot.id)?, Memory::Bounded),
        );
        // The nodes of the computed graph: all live items that were not left pending, and the
        // removed ones that were kept.
        let nodes = (before.live()? - left) | kept;
        let free = now.set(SetKind::Free)?;
        let pending: RoaringBitmap = snapshot.pending.iter().copied().collect();
        let mut rebased = Self {
            linked: &pending & &nodes,
            unlinked: now.live()? - &nodes - &pending,
            taken_out: &snapshot.removed - &nodes,
            ..Self::default()
        };
        let others = replaced(&before, &now, &(&nodes - &free))?;
        let gone = &nodes & &free;
        if gone.len() + others.len() > GONE_FEW + nodes.len() / MAX_GONE_DIVISOR {
            return Ok(None);
        }
        let node = |slot: u32| -> Result<Node> {
            let address = before.sound_vector(Slot(slot))?;
            Ok(Node { slot: Slot(slot), vector: address.bytes.to_vec(), factor: address.factor })
        };
        for slot in gone | (&others & &snapshot.removed) {
            rebased.gone.push(node(slot)?);
        }
        for slot in others - &snapshot.removed {
            rebased.linked.remove(slot);
            let address = now.sound_vector(Slot(slot))?;
            let moved = Moved {
                item: now.item(Slot(slot))?,
                vector: address.bytes.to_vec(),
                factor: address.factor,
                node: node(slot)?,
            };
            rebased.moved.push(moved);
        }
        if !changes.anew {
            rebased.restored = held.lend(|txn| restored(place, txn, wtxn, changes))?;
        }
        Ok(Some(rebased))
    }

    /// Applies it to the edit that also stores the computed values.
    pub(crate) fn write(&self, edit: &mut Edit<'_, '_, '_>) -> Result<()> {
        for (key, body) in &self.restored {
            edit.put_derived(*key, body.clone())?;
        }
        for node in &self.gone {
            edit.left_in(node.slot, &node.vector, node.factor)?;
        }
        for Moved { item, vector, factor, node } in &self.moved {
            edit.add_stored(*item, vector.clone(), *factor)?;
            edit.left_in(node.slot, &node.vector, node.factor)?;
        }
        edit.linked(&self.linked)?;
        edit.unlinked(&self.unlinked)?;
        edit.taken_out(&self.taken_out)
    }
}

/// The members of `slots` that have another vector now.
fn replaced<'b, 'n>(
    before: &View<'_, 'b, impl Source<'b>>,
    now: &View<'_, 'n, impl Source<'n>>,
    slots: &RoaringBitmap,
) -> Result<RoaringBitmap> {
    let mut replaced = RoaringBitmap::new();
    for slot in slots {
        let [then, now] = [before.vector(Slot(slot))?, now.vector(Slot(slot))?];
        // Mostly both are the same page.
        let is_same = std::ptr::eq(then.bytes, now.bytes)
            || then.bytes == now.bytes && then.factor.to_bits() == now.factor.to_bits();
        if !is_same {
            replaced.insert(slot);
        }
    }
    Ok(replaced)
}

/// The old values of the graph that others have changed since and the build has not.
fn restored(
    place: Place<'_>,
    before: &RoTxn<'_>,
    now: &RoTxn<'_>,
    changes: &Changes,
) -> Result<Vec<Put>> {
    let mut restored = Vec::new();
    let mut restore = |key: Key, value: Option<&[u8]>| -> Result<()> {
        if !changes.has(key) {
            let sound = value.map(|value| Sound::of(key, value)).transpose()?;
            restored.push((key, sound.map(|sound| sound.body().to_vec())));
        }
        Ok(())
    };
    for kind in built_kinds() {
        let (first, last) = Key::all_of(place.index, kind);
        let all = |txn| place.range(txn, first, last);
        let (mut before, mut now) = (all(before)?, all(now)?);
        let (mut then, mut later) = (before.next().transpose()?, now.next().transpose()?);
        loop {
            let order = match (&then, &later) {
                (Some((then, _)), Some((later, _))) => then.cmp(later),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match (order, then, later) {
                (Ordering::Less, Some((key, value)), _) => restore(key, Some(value))?,
                (Ordering::Greater, _, Some((key, _))) => restore(key, None)?,
                (_, Some((key, value)), Some((_, other)))
                    if !std::ptr::eq(value, other) && value != other =>
                {
                    restore(key, Some(value))?
                }
                _ => {}
            }
            if order.is_le() {
                then = before.next().transpose()?;
            }
            if order.is_ge() {
                later = now.next().transpose()?;
            }
        }
    }
    Ok(restored)
}
