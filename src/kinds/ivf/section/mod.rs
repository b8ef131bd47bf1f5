//! IVF: inverted lists ("IVFADC" of Jégou, Douze & Schmid 2011, with the codes of the index in
//! place of its own). Each slot that is not free is in the list of a center near its vector. If the
//! index has codes, each list has those of its slots, one after the other.
//!
//! Edits add a slot to the list of the nearest center, and take it out again: O(centers *
//! dimensions), and a page of each of three values. The end of a build splits lists that have grown
//! too large, and dissolves those that have become too small (SPFresh, Xu et al. 2023), so that the
//! centers follow the data, and nothing is trained again. Under inner products, items belong to the
//! center at the smallest Euclidean distance, and lists are probed by the largest product.
//!
//! `view`: what searches read; `tables`: what a snapshot has found of it; `edit`: the write buffer;
//! `moves`: moves slots between `stored` lists; `codes`: the codes of lists; `upkeep`: makes,
//! splits and dissolves lists; `check`: the invariants.
//!
//! Invariant: until META has a number of lists, there is no value of this kind, and searches go
//! another way; from then on every slot that is not free is in exactly one list.

mod check;
mod codes;
mod edit;
mod moves;
mod stored;
pub(crate) mod tables;
mod upkeep;
pub(crate) mod view;

use self::edit::IvfEdit;
use self::moves::{Groups, list_puts};
use crate::distance::{Form, Metric};
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::format::{Damage, Key, Kind};
use crate::kinds::ivf::format::{
    CENTERS, GROUP, LISTS, MAX_LISTS, NONE, Part, SIZES, SLOTS, center_blocks, geometry, list_n,
    pieces,
};
use crate::kinds::ivf::stats::ListStats;
use crate::kmeans::to_direction;
use crate::store::checker::Checker;
use crate::store::sections::relabel::{NONE as NO_SLOT, Relabel, Relabelled};
use crate::store::sections::repair::Repair;
use crate::store::sections::section::{AnyView, Listed, Rescaled, Section, SectionEdit};
use crate::store::sections::upkeep::{Footprint, Upkeep, Upkept};
use crate::store::stats::Stats;
use crate::store::table::{Memory, Table};
use crate::store::target::Put;
use crate::types::{IndexKind, Slot};

/// An index of fewer items has no lists: a scan of them is quicker than a choice among them.
const LEAST_ITEMS: u32 = 1000;
/// A list splits beyond this factor of the usual size, and is dissolved below one in this many of
/// it.
const MAX_FACTOR: u32 = 2;
const MIN_DIVISOR: u32 = 8;

/// Lists, times the square root of the number of items.
const LISTS_PER_ROOT: u64 = 2;
/// Bytes of an item in a piece of its list and in a group, its part of pages that are not full, and
/// half of what a build keeps of it in memory while it makes lists.
const ITEM_BYTES: u64 = 24;

/// The section of inverted lists: see the module.
pub(crate) struct IvfSection;

/// The number of lists of so many items: twice the square root. A search then compares about as
/// many centers as items, at the usual recall.
pub(super) fn wanted_lists(items: u32) -> u32 {
    (LISTS_PER_ROOT as u32 * items.isqrt()).clamp(1, MAX_LISTS / 2)
}

/// The sizes between which a list of an index of so many items is left as it is.
pub(super) fn usual_sizes(items: u32) -> [u32; 2] {
    let usual = (items / wanted_lists(items)).max(8);
    [usual / MIN_DIVISOR, usual.saturating_mul(MAX_FACTOR)]
}

/// What META says of the lists; `None` if the index does not have the kind.
pub(crate) fn part(meta: &Meta, index: u16) -> Result<Option<Part>> {
    let part = meta.part(Kind::IVF).map(Part::decode).transpose();
    part.map_err(|what| Error::corrupt(Key::meta(index), what))
}

/// A stored vector as it is compared with centers.
pub(super) struct Space {
    metric: &'static Metric,
    dimensions: usize,
    pub(super) are_directions: bool,
}

impl Space {
    pub(super) fn of(metric: &'static Metric, meta: &Meta) -> Self {
        let are_directions = metric.form == Form::Cosine;
        Self { metric, dimensions: meta.dimensions as usize, are_directions }
    }

    /// The components of a decoded vector, at length 1 if directions count.
    pub(super) fn row(&self, decoded: &[u8]) -> Vec<f32> {
        let mut row = self.metric.floats(decoded, self.dimensions);
        if self.are_directions {
            to_direction(&mut row);
        }
        row
    }
}

impl Section for IvfSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::IVF]
    }

    fn index_kind(&self) -> Option<IndexKind> {
        Some(IndexKind::Ivf)
    }

    fn supports(&self, metric: &Metric) -> Result<(), &'static str> {
        let has_means =
            [Form::SquaredDifferences, Form::Cosine, Form::NegatedProducts].contains(&metric.form);
        let can = "the metric euclidean, cosine or dot product, over floats or i8";
        if has_means && metric.is_known { Ok(()) } else { Err(can) }
    }

    fn check_part(&self, meta: &Meta) -> Result<(), Damage> {
        let Some(part) = meta.part(Kind::IVF).map(Part::decode).transpose()? else {
            return Ok(());
        };
        match part.has_codes && codes::stride(meta).is_none() {
            true => Err("it says that lists have codes, and there are none for them"),
            false => Ok(()),
        }
    }

    fn new_part(&self) -> Vec<u8> {
        Part::default().encode()
    }

    fn is_due(&self, meta: &Meta) -> bool {
        match meta.part(Kind::IVF).map(Part::decode) {
            Some(Ok(part)) if part.lists == 0 => meta.items >= LEAST_ITEMS,
            Some(Ok(part)) => part.is_due || !part.has_codes && codes::stride(meta).is_some(),
            _ => false,
        }
    }

    fn footprint(&self, meta: &Meta, code: u64) -> Footprint {
        if !self.is_present(meta) {
            return Footprint::default();
        }
        let packed = if code > 0 { code + size_of::<u32>() as u64 } else { 0 };
        let row = size_of::<f32>() as u64 * u64::from(meta.dimensions);
        Footprint { item: ITEM_BYTES + packed, root: LISTS_PER_ROOT * upkeep::ROWS_PER_LIST * row }
    }

    fn upkeep(&self, upkeep: &Upkeep<'_, '_, '_>) -> Result<Option<Upkept>> {
        upkeep::keep_up(upkeep)
    }

    fn order(&self, view: &AnyView<'_, '_, '_>) -> Result<Option<Vec<Slot>>> {
        let Some(lists) = view.lists()? else { return Ok(None) };
        let (dead, mut order, mut slots) = (view.dead()?, Vec::new(), Vec::new());
        for list in lists.all() {
            slots.clear();
            view.list_slots(list, lists.size(list), &mut slots)?;
            order
                .extend(slots.iter().filter(|slot| !dead.contains(**slot)).map(|slot| Slot(*slot)));
        }
        Ok(Some(order))
    }

    fn is_listed(&self, key: Key) -> bool {
        key.sub == CENTERS
    }

    fn looked_up(&self) -> &'static [Kind] {
        &[Kind::IVF]
    }

    fn new_tables<'t>(&self, memory: Memory, meta: &Meta) -> Vec<Listed<Table<'t>>> {
        let lists = meta.part(Kind::IVF).and_then(|part| Part::decode(part).ok());
        let Some(Part { lists: lists @ 1.., .. }) = lists else { return Vec::new() };
        let geometry = geometry(meta.dimensions);
        let blocks = center_blocks(&geometry, lists) as usize;
        vec![(Kind::IVF, CENTERS, Table::blocks(memory, blocks, geometry.block_bytes))]
    }

    /// The centers, which every search compares, the lists, and their codes.
    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        let Some(lists) = view.lists()? else { return Ok(true) };
        for block in lists.center_blocks() {
            if !visit(block) {
                return Ok(false);
            }
        }
        if !view.each_block_of_codes(&lists, visit)? {
            return Ok(false);
        }
        for list in lists.all() {
            for piece in 0..pieces(lists.size(list) as usize) {
                if !visit(view.require(view.key(Kind::IVF, LISTS, list_n(list, piece)))?) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn edit(&self, meta: &Meta) -> Option<Box<dyn SectionEdit>> {
        let part = Part::decode(meta.part(Kind::IVF)?).ok().filter(|part| part.lists > 0)?;
        Some(Box::new(IvfEdit::new(meta, part)))
    }

    /// The vectors are the same, but for rounding.
    fn rescaled(&self) -> Rescaled {
        Rescaled::Kept
    }

    fn is_hot(&self, _kind: Kind, _meta: &Meta) -> bool {
        true
    }

    /// The same lists, of the new slots, without codes; centers as they are.
    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        let view = relabel.view.on_any_source();
        let Some(lists) = view.lists()? else { return Ok(Relabelled::Puts(Vec::new())) };
        let mut puts: Vec<Put> = Vec::new();
        for (number, block) in (0..).zip(lists.center_blocks()) {
            let body = crate::format::checksum::unverified(block).to_vec();
            puts.push((view.key(Kind::IVF, CENTERS, number), Some(body)));
        }
        let (mut sizes, mut of_slots) = (lists.sizes().to_vec(), vec![NONE; relabel.order.len()]);
        let mut slots = Vec::new();
        for list in lists.all() {
            slots.clear();
            view.list_slots(list, lists.size(list), &mut slots)?;
            let mut new: Vec<u32> =
                slots.iter().map(|slot| relabel.numbers.of(Slot(*slot)).0).collect();
            // Those of removed items.
            new.retain(|slot| *slot != NO_SLOT);
            new.sort_unstable();
            for slot in &new {
                if let Some(entry) = of_slots.get_mut(*slot as usize) {
                    *entry = list;
                }
            }
            sizes[list as usize] = new.len() as u32;
            puts.extend(list_puts(view.snapshot.index, list, 0, &new));
        }
        puts.extend(Groups::of_all(view.snapshot.index, SLOTS, &of_slots));
        puts.extend(Groups::of_all(view.snapshot.index, SIZES, &sizes));
        Ok(Relabelled::Puts(puts))
    }

    fn forget_codes(&self, index: u16, meta: &mut Meta) -> Option<[Key; 2]> {
        let part = meta.part(Kind::IVF).and_then(|part| Part::decode(part).ok());
        let part = part.filter(|part| part.has_codes)?;
        meta.set_part(Kind::IVF, Some(Part { has_codes: false, ..part }.encode()));
        Some(codes::all_keys(index))
    }

    fn forget(&self, meta: &mut Meta) -> bool {
        let is_present = self.is_present(meta);
        self.set_present(meta, is_present);
        is_present
    }

    fn centers(&self, view: &AnyView<'_, '_, '_>) -> Result<Vec<Vec<f32>>> {
        let Some(lists) = view.lists()? else { return Ok(Vec::new()) };
        (0..lists.part().lists).map(|list| lists.components(view.snapshot.index, list)).collect()
    }

    fn changes_early(&self) -> bool {
        true
    }

    /// Nothing to restore: a torn edit leaves no lists.
    fn repair(&self, _: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        Ok(Vec::new())
    }

    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool> {
        Ok(checker.ivf_value(key, value))
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_lists()
    }

    fn stats(&self, view: &AnyView<'_, '_, '_>, stats: &mut Stats) -> Result<()> {
        let Some(lists) = view.lists()? else { return Ok(()) };
        let sizes: Vec<u64> = lists.all().map(|list| u64::from(lists.size(list))).collect();
        let (slots, squares) = sizes
            .iter()
            .fold((0, 0.0), |(sum, squares), n| (sum + n, squares + (*n as f64).powi(2)));
        stats.lists = Some(ListStats {
            lists: sizes.len() as u64,
            smallest: sizes.iter().copied().min().unwrap_or_default(),
            largest: sizes.iter().copied().max().unwrap_or_default(),
            imbalance: squares * sizes.len() as f64 / (slots as f64).powi(2).max(1.0),
            trained_on: lists.part().trained_on.into(),
        });
        Ok(())
    }
}

/// The key of a group that has the entry of a number.
pub(super) fn group_of(number: u32) -> (u32, usize) {
    (number / GROUP, (number % GROUP) as usize)
}
