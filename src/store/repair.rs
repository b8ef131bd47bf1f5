//! Undoing a torn edit: restores the items and vectors from before it.
//!
//! A marked META is the META from before the edit, and records how far the edit had come
//! (`target`). Before its end, an edit leaves three things intact (`edit`, `blocks`): the sets, and
//! for each slot that was not free its vector with its code and its entry in SLOT_IDS. So repair
//! deletes values that belong to no slot, and rebuilds ID_SLOTS from SLOT_IDS. It keeps graph and
//! codes unless the edit had begun to write them ([`Torn::Derived`]); then all items become
//! pending, without codes. It keeps no values of sections that edits change before their end
//! (`changes_early`): builds make them anew.
//!
//! All reads precede the first put. Values that are rewritten are verified first. Vectors and graph
//! are only looked up, not read, so that damage in them stays visible to `check`. O(items) time,
//! about 16 bytes of memory per item.

use heed::{RoTxn, RwTxn};
use roaring::RoaringBitmap;

use super::Place;
use super::open::{MISCOUNTED, read_for_change};
use super::sections::item_keys::edit::KeysEdit;
use super::sections::list::{SECTIONS, is_listed};
use super::sections::repair::Repair;
use super::sections::section::Section;
use super::sections::sets::edit::read as read_set;
use super::target::{Journal, Target};
use crate::error::{Error, Result};
use crate::format::meta::{Meta, Torn};
use crate::format::set::SetKind;
use crate::format::{Key, Kind};

/// Undoes a torn edit. `false` if there is none.
///
/// # Errors
/// [`Error::Corrupt`] if a value from before the edit is missing or damaged, and those of reading
/// META. Nothing has been changed then.
pub(crate) fn repair(place: Place<'_>, wtxn: &mut RwTxn<'_>) -> Result<bool> {
    let Some((before, Some(torn))) = read_for_change(place, wtxn)? else { return Ok(false) };
    if torn == Torn::Lost {
        let what = "an edit that rewrites the whole index failed half-way, and cannot be undone";
        return Err(Error::corrupt(Key::meta(place.index), what));
    }
    let mut meta = before.clone();
    let [mut pending, mut removed, mut free] = sets(place, wtxn, &before)?;
    let is_derived = torn == Torn::Derived;
    let mut forgotten: Vec<&dyn Section> = Vec::new();
    if is_derived {
        free |= &removed;
        removed.clear();
        (meta.removed, meta.free) = (0, free.len() as u32);
        if meta.has_graph {
            pending.insert_range(0..meta.slots);
            pending -= &free;
            meta.pending = meta.items;
        }
    }
    let is_lost = |section: &&dyn Section| is_derived || section.changes_early();
    for section in SECTIONS.iter().copied().filter(is_lost) {
        if section.forget(&mut meta) {
            forgotten.push(section);
        }
    }
    let mut kept = RoaringBitmap::new();
    kept.insert_range(0..meta.slots);
    kept -= &free;
    let repair = Repair {
        place,
        rtxn: wtxn,
        meta: &meta,
        sets: &[pending, removed, free],
        are_sets_new: is_derived,
        kept: &kept,
    };
    let mut puts = Vec::new();
    for section in SECTIONS {
        puts.extend(section.repair(&repair)?);
    }

    let rows = KeysEdit::default().finish(place, wtxn)?;

    let mut journal = Journal::of_everything(before, is_listed);
    let mut target = Target { place, wtxn, journal: &mut journal };
    target.mark(torn)?;
    for kind in forgotten.iter().flat_map(|section| section.kinds()) {
        target.delete_derived(*kind)?;
    }
    target.complete(puts, rows, &meta)?;
    Ok(true)
}

/// The sets, by [`SetKind`].
fn sets(place: Place<'_>, rtxn: &RoTxn<'_>, meta: &Meta) -> Result<[RoaringBitmap; 3]> {
    let read = |set, count: u32| {
        let members = read_set(place, rtxn, set)?;
        match members.len() == u64::from(count) && members.max().is_none_or(|max| max < meta.slots)
        {
            true => Ok(members),
            false => {
                Err(Error::corrupt(Key::new(place.index, Kind::SETS, set as u8, 0), MISCOUNTED))
            }
        }
    };
    Ok([
        read(SetKind::Pending, meta.pending)?,
        read(SetKind::Removed, meta.removed)?,
        read(SetKind::Free, meta.free)?,
    ])
}
