//! An index as one transaction sees it: its metadata, what is pending and removed, and the tables
//! of what has been found so far.
//!
//! Opening costs O(1) plus the pending and removed slots; it reads META and those two sets, and
//! verifies them. Everything else is found on first touch.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::code_tables::CodeTables;
use super::strided::Strided;
use super::table::{Memory, Table};
use super::{Place, sets};
use crate::codec::{Bf16, Bits, Codec, F16, F32, I8, Signs};
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::format::block::Divisor;
use crate::format::delta::LISTS;
use crate::format::ids::{SLOT_GROUP, group_bytes};
use crate::format::meta::{Connectivity, Meta, Torn};
use crate::format::set::SetKind;
use crate::format::{Key, Kind};

/// What is wrong with a set that is not as large as META says.
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

/// As [`read_meta`], but a marked META is no error: it is returned with its mark.
pub(crate) fn read_marked(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
) -> Result<Option<(Meta, Option<Torn>)>> {
    let Place { index, metric, .. } = place;
    // Verified as it is decoded, once it is known to be ours.
    let Some(value) = place.unverified(rtxn, Key::meta(index))? else {
        return match place.first(rtxn)? {
            Some(_) => Err(Error::Foreign { index, what: "it has keys and no metadata" }),
            None => Ok(None),
        };
    };
    let (meta, torn) = Meta::decode(index, value)?;
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

/// What a codec is called.
pub(crate) fn form_name(codec: u8) -> &'static str {
    let all = [
        (F32::ID, F32::NAME),
        (F16::ID, F16::NAME),
        (Bf16::ID, Bf16::NAME),
        (I8::ID, I8::NAME),
        (Bits::ID, Bits::NAME),
        (Signs::ID, Signs::NAME),
    ];
    all.into_iter().find(|(id, _)| *id == codec).map_or("an unknown form", |(_, name)| name)
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Snapshot<'t> {
    pub(crate) index: u16,
    pub(crate) metric: &'static Metric,
    pub(crate) meta: Meta,
    pub(crate) memory: Memory,
    /// The number of the transaction.
    pub(crate) id: usize,
    /// Live items that are not in the graph, ascending.
    pub(crate) pending: Vec<u32>,
    /// Slots in the graph that must not be found.
    pub(crate) removed: RoaringBitmap,
    pub(super) vectors: Strided<'t>,
    /// The full groups of SLOT_IDS, and the last, partial one.
    pub(super) slot_ids: [Table<'t>; 2],
    /// Slots in a LINKS group, if it is known.
    pub(super) group: Option<Divisor>,
    /// LINKS and SPILL of each layer.
    pub(super) links: Vec<[Table<'t>; 2]>,
    /// Where codes are, if there are any.
    pub(super) codes: Option<CodeTables<'t>>,
    /// Whether all tables of vectors, codes and the graph have been filled.
    pub(super) is_resolved: AtomicBool,
    /// The keys of items, by item id, once one is asked for.
    pub(super) item_keys: OnceLock<Table<'t>>,
}

impl<'t> Snapshot<'t> {
    /// # Errors
    /// [`Error::MissingIndex`], and those of [`read_meta`].
    pub(crate) fn open(place: Place<'_>, rtxn: &'t RoTxn<'_>, memory: Memory) -> Result<Self> {
        let meta = read_meta(place, rtxn)?.ok_or(Error::MissingIndex(place.index))?;
        let read = |set, count| {
            if count == 0 { Ok(RoaringBitmap::new()) } else { sets::read(place, rtxn, set) }
        };
        let pending = read(SetKind::Pending, meta.pending)?;
        let removed = read(SetKind::Removed, meta.removed)?;
        for (set, found, expected) in
            [(SetKind::Pending, &pending, meta.pending), (SetKind::Removed, &removed, meta.removed)]
        {
            if found.len() != u64::from(expected)
                || found.max().is_some_and(|max| max >= meta.slots)
            {
                let key = Key::new(place.index, Kind::Sets, set as u8, 0);
                return Err(Error::corrupt(key, MISCOUNTED));
            }
        }
        let slots = meta.slots as usize;
        let groups = meta.connectivity.map_or(0, |c| slots.div_ceil(usize::from(c.links_group)));
        Ok(Self {
            index: place.index,
            metric: place.metric,
            id: rtxn.id(),
            pending: pending.iter().collect(),
            removed,
            vectors: Strided::new(
                memory,
                meta.geometry,
                meta.slots,
                (Kind::Vectors, 0),
                (Kind::Tail, 0),
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
            item_keys: OnceLock::new(),
            memory,
            meta,
        })
    }

    /// Takes over what the tables of an earlier snapshot remember, except what was `rewritten`
    /// since, in the lists of DELTA.
    ///
    /// # Safety
    /// See [`Table::carry`].
    pub(super) unsafe fn carry(
        &self,
        earlier: &Snapshot<'_>,
        rewritten: &[Vec<u32>; LISTS],
        page_bytes: usize,
    ) {
        let [blocks, links, slot_ids, codes] = rewritten;
        // SAFETY: the caller's promise, for all four.
        unsafe {
            self.vectors.blocks.carry(&earlier.vectors.blocks, blocks, page_bytes);
            self.slot_ids[0].carry(&earlier.slot_ids[0], slot_ids, page_bytes);
            if let ([[table, _], ..], [[earlier, _], ..]) = (&self.links[..], &earlier.links[..]) {
                table.carry(earlier, links, page_bytes);
            }
            if let (Some(now), Some(earlier)) = (&self.codes, &earlier.codes) {
                now.values.blocks.carry(&earlier.values.blocks, codes, page_bytes);
            }
        }
    }

    /// How many values the tables remember that can be carried over, if all have been found.
    pub(super) fn values(&self) -> usize {
        let codes = self.codes.as_ref().map_or(0, |codes| codes.values.blocks.len());
        let links = self.links.first().map_or(0, |[links, _]| links.len());
        self.vectors.blocks.len() + self.slot_ids[0].len() + links + codes
    }

    /// Whether every value that was carried over lies where a lookup finds it.
    pub(super) fn is_where(&self, place: Place<'_>, rtxn: &RoTxn<'_>) -> Result<bool> {
        let tables = [(Kind::Vectors, &self.vectors.blocks), (Kind::SlotIds, &self.slot_ids[0])];
        let links = self.links.first().map(|[links, _]| (Kind::Links, links));
        let codes = self.codes.as_ref().map(|codes| (Kind::Codes, &codes.values.blocks));
        for (kind, table) in tables.into_iter().chain(links).chain(codes) {
            for number in 0..table.len() {
                let Some(value) = table.get(number) else { continue };
                let found = place.unverified(rtxn, Key::new(self.index, kind, 0, number as u32))?;
                if !found.is_some_and(|found| std::ptr::eq(found, value)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// For a build: with the connectivity that the graph will have, and without the graph if all is
    /// linked anew.
    pub(crate) fn prepare_build(&mut self, connectivity: Connectivity, anew: bool) {
        self.meta.connectivity = Some(connectivity);
        self.group = Some(connectivity.group());
        if anew {
            self.meta.roots.clear();
            self.links.clear();
        }
    }
}
