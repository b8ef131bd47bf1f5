//! Opening an index in a transaction: reads and verifies META and the pending and removed sets.
//! Pointer tables start empty, or are carried over from an earlier snapshot.
//!
//! Opening costs O(1) plus the pending and removed slots. Everything else is looked up on first
//! use.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::Place;
use super::sections::codes::tables::CodeTables;
use super::sections::fields::tables::FieldTables;
use super::sections::list::{SECTIONS, section_of};
use super::sections::sets::edit::read as read_set;
use super::sections::vectors;
use super::snapshot::{Snapshot, form_name, next_serial};
use super::strided::Strided;
use super::table::{Memory, Table};
use crate::error::{Error, Result};
use crate::format::delta::DATABASE;
use crate::format::ids::{SLOT_GROUP, group_bytes};
use crate::format::item_keys::{Naming, Row, bounds};
use crate::format::meta::{Connectivity, Meta, Torn};
use crate::format::set::SetKind;
use crate::format::{Key, Kind};

/// The damage of a set whose size is not the one in META.
pub(crate) const MISCOUNTED: &str = "the set is not what the metadata counts";

/// Reads META. `None` if the index does not exist.
///
/// # Errors
/// [`Error::Foreign`], [`Error::FormatVersion`], [`Error::MetricMismatch`], [`Error::Corrupt`],
/// [`Error::TornEdit`].
pub(crate) fn read_meta(place: Place<'_>, rtxn: &RoTxn<'_>) -> Result<Option<Meta>> {
    match read_marked(place, rtxn)? {
        Some((_, Some(_))) => Err(Error::TornEdit { index: place.index }),
        found => Ok(found.map(|(meta, _)| meta)),
    }
}

/// Reads META, with its torn mark, for an edit that will write it in the current version.
///
/// # Errors
/// As [`read_meta`]; [`Error::NamingMismatch`] if the caller names items in another way: the edit
/// would not update the keys of items.
pub(crate) fn read_for_change(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
) -> Result<Option<(Meta, Option<Torn>)>> {
    let Some((mut meta, torn)) = read_marked(place, rtxn)? else { return Ok(None) };
    meta.naming = naming_of(place, rtxn, &meta)?;
    if meta.naming != place.naming {
        return Err(Error::naming_mismatch(
            place.index,
            meta.naming.describe(),
            place.naming.describe(),
        ));
    }
    Ok(Some((meta, torn)))
}

/// How the items of an index are named. Earlier versions of META do not say it. The catalog does,
/// which `Index` goes by; elsewhere, there are keys or none.
pub(crate) fn naming_of(place: Place<'_>, rtxn: &RoTxn<'_>, meta: &Meta) -> Result<Naming> {
    if !meta.is_without_parts() {
        return Ok(meta.naming);
    }
    let [first, end] = bounds(place.index, Row::IdOf8(&[]));
    let keys = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
    let first = place.raw.range(rtxn, &keys)?.next().transpose()?;
    Ok(match first.and_then(|(row, _)| Row::from_bytes(row)) {
        Some(Row::IdOf8(key)) if place.naming == Naming::Ids => Naming::likely(key),
        _ => place.naming,
    })
}

/// As [`read_meta`], but a torn META is no error: it is returned with its mark.
pub(crate) fn read_marked(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
) -> Result<Option<(Meta, Option<Torn>)>> {
    let Place { index, metric, .. } = place;
    if index == DATABASE {
        return Err(Error::InvalidParameter {
            name: "the number of the index",
            value: index.into(),
            remedy: "use 0 to 65534: under 65535 lies what belongs to all indexes of a database",
        });
    }
    // Verified while it is decoded, once its magic bytes are known to be ours.
    let Some(value) = place.unverified(rtxn, Key::meta(index))? else {
        return match place.first(rtxn)? {
            Some(_) => Err(Error::Foreign { index, what: "it has keys and no metadata" }),
            None => Ok(None),
        };
    };
    let (meta, torn) = Meta::decode(index, value)?;
    if let Some((kind, _)) = meta.others.iter().find(|(kind, _)| section_of(*kind).is_none()) {
        return Err(Error::UnknownKind { index, kind: *kind });
    }
    for section in SECTIONS {
        let checked = section.check_part(&meta);
        checked.map_err(|what| Error::corrupt(Key::meta(index), what))?;
    }
    if meta.metric != metric.name() || (meta.geometry.factor > 0) != metric.has_factor {
        return Err(Error::MetricMismatch {
            index,
            stored: meta.metric,
            requested: metric.name().to_owned(),
        });
    }
    if meta.codec != metric.codec {
        let [stored, requested] = [form_name(meta.codec), metric.codec_name]
            .map(|form| format!("{} stored as {form}", meta.metric));
        return Err(Error::MetricMismatch { index, stored, requested });
    }
    Ok(Some((meta, torn)))
}

impl<'t> Snapshot<'t> {
    /// # Errors
    /// [`Error::MissingIndex`], and those of [`read_meta`].
    pub(crate) fn open(place: Place<'_>, rtxn: &'t RoTxn<'_>, memory: Memory) -> Result<Self> {
        let meta = read_meta(place, rtxn)?.ok_or(Error::MissingIndex(place.index))?;
        let read = |set, count| {
            if count == 0 { Ok(RoaringBitmap::new()) } else { read_set(place, rtxn, set) }
        };
        let pending = read(SetKind::Pending, meta.pending)?;
        let removed = read(SetKind::Removed, meta.removed)?;
        for (set, found, expected) in
            [(SetKind::Pending, &pending, meta.pending), (SetKind::Removed, &removed, meta.removed)]
        {
            if found.len() != u64::from(expected)
                || found.max().is_some_and(|max| max >= meta.slots)
            {
                let key = Key::new(place.index, Kind::SETS, set as u8, 0);
                return Err(Error::corrupt(key, MISCOUNTED));
            }
        }
        let slots = meta.slots as usize;
        let groups = meta.connectivity.map_or(0, |c| slots.div_ceil(usize::from(c.links_group)));
        Ok(Self {
            index: place.index,
            metric: place.metric,
            id: rtxn.id(),
            serial: next_serial(),
            pending: pending.iter().collect(),
            removed,
            vectors: Strided::new(
                memory,
                meta.geometry,
                meta.slots,
                vectors::BLOCK,
                vectors::SINGLE,
            ),
            slot_ids: [
                Table::fixed(memory, slots / SLOT_GROUP as usize, group_bytes(SLOT_GROUP)),
                Table::fixed(
                    memory,
                    usize::from(meta.slots % SLOT_GROUP > 0),
                    group_bytes(meta.slots % SLOT_GROUP),
                ),
            ],
            group: meta.connectivity.map(Connectivity::group),
            links: (0..meta.roots.len())
                .map(|layer| {
                    let rare = || Table::prefixed(memory, groups, false);
                    [if layer == 0 { Table::groups(memory, groups) } else { rare() }, rare()]
                })
                .collect(),
            codes: CodeTables::new(memory, &meta),
            is_resolved: AtomicBool::new(false),
            others: SECTIONS.iter().flat_map(|section| section.new_tables(memory, &meta)).collect(),
            item_keys: OnceLock::new(),
            fields: FieldTables::default(),
            kept: Default::default(),
            residency: None,
            memory,
            meta,
        })
    }

    /// Carries over the pointer tables of an earlier snapshot, except values that were `rewritten`
    /// since, by kind.
    ///
    /// # Safety
    /// See [`Table::carry`](super::table::Table::carry).
    pub(super) unsafe fn carry(
        &self,
        earlier: &Snapshot<'_>,
        rewritten: &BTreeMap<Kind, Vec<u32>>,
        page_bytes: usize,
    ) {
        for section in SECTIONS {
            // Both are of one index, so in the same order; tables that only one of them has are at
            // the end.
            for (now, earlier) in section.listed(self).iter().zip(section.listed(earlier)) {
                let ((kind, sub, now), (earlier_kind, earlier_sub, earlier)) = (now, earlier);
                if (*kind, *sub) == (earlier_kind, earlier_sub) {
                    let rewritten = rewritten.get(kind).map_or(&[][..], |numbers| numbers);
                    // SAFETY: the caller's promise, for all tables.
                    unsafe { now.carry(earlier, rewritten, page_bytes) };
                }
            }
        }
    }

    /// Number of values in the tables that can be carried over, once all have been found.
    pub(super) fn values(&self) -> usize {
        let tables = SECTIONS.iter().flat_map(|section| section.listed(self));
        tables.map(|(_, _, table)| table.len()).sum()
    }

    /// Whether every value that was carried over has the address that a lookup returns.
    pub(super) fn is_where(&self, place: Place<'_>, rtxn: &RoTxn<'_>) -> Result<bool> {
        for (kind, sub, table) in SECTIONS.iter().flat_map(|section| section.listed(self)) {
            for number in 0..table.len() {
                let Some(value) = table.get(number) else { continue };
                let found =
                    place.unverified(rtxn, Key::new(self.index, kind, sub, number as u32))?;
                if !found.is_some_and(|found| std::ptr::eq(found, value)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
