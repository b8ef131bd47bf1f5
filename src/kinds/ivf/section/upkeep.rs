//! Making lists, and splitting and dissolving them at the end of a build (SPFresh, Xu et al. 2023).
//!
//! A list that has grown too large is split in two, by 2-means; then items of it and of the lists
//! around it go to the nearest of their centers (reassignment), because those of a neighbor may be
//! nearer to one of the new centers. A list that has become too small is dissolved: each of its
//! items goes to the nearest other list. Sizes follow from the number of items, so that their
//! number grows with the index. What is read and written is bounded by the lists concerned, not by
//! the index.

use std::collections::{BTreeMap, BTreeSet};

use super::moves::{Groups, list_puts};
use super::stored::Stored;
use super::view::Lists;
use super::{Space, codes, part, usual_sizes, wanted_lists};
use crate::error::{Error, Result};
use crate::format::checksum::unverified;
use crate::format::{Key, Kind};
use crate::kinds::ivf::format::list_codes::Entries;
use crate::kinds::ivf::format::{CENTERS, MAX_LISTS, NONE, Part, SIZES, SLOTS, geometry};
use crate::kmeans::{Comparer, Rows, k_means, mean};
use crate::store::GoOn;
use crate::store::sections::upkeep::{Upkeep, Upkept};
use crate::store::source::AnySource;
use crate::store::target::Put;
use crate::store::view::View;
use crate::threads::{self, SEARCHES};
use crate::types::Slot;

/// Rows of the training sample for each list.
pub(super) const ROWS_PER_LIST: u64 = 40;
/// Slots that a thread assigns at a time.
const TASK: usize = 256;
/// The lists around a split one whose items are looked at: with 16, some items of data that have
/// drifted stay in lists far from them.
const NEIGHBORS: usize = 64;
/// The smaller part of a split list has at least one in this many of its slots.
const LEAST_PART: usize = 4;
/// The rows of a list that its split is computed from.
const SPLIT_SAMPLE: usize = 4096;

/// A view that any thread can read.
type AnyView<'v, 's, 't> = View<'s, 't, AnySource<'v, 't>>;

/// Lists that are being changed.
struct Work<'a, 's, 't> {
    view: &'a AnyView<'a, 's, 't>,
    go_on: &'a GoOn<'a>,
    space: Space,
    comparer: Comparer,
    /// The lists as they are stored. `None` if they are made anew.
    stored: Option<Lists<'s, 't>>,
    centers: Rows,
    /// By list; `NONE` for a vacant one.
    sizes: Vec<u32>,
    /// The members of lists that have been read or changed.
    members: BTreeMap<u32, BTreeSet<u32>>,
    changed: BTreeSet<u32>,
    moved: BTreeMap<u32, u32>,
    new_centers: BTreeSet<u32>,
    seed: u64,
}

/// Makes the lists if there are none, and splits and dissolves those whose size asks for it. Packs
/// the codes of those that have changed, or of all.
pub(super) fn keep_up(upkeep: &Upkeep<'_, '_, '_>) -> Result<Option<Upkept>> {
    let (view, meta) = (upkeep.view, &upkeep.view.snapshot.meta);
    let Some(before) = part(meta, view.snapshot.index)? else { return Ok(None) };
    let mut work = Work::new(upkeep)?;
    let makes = before.lists == 0 || upkeep.anew;
    if makes {
        if meta.items == 0 {
            return Ok(None);
        }
        work.make()?;
    }
    work.balance()?;
    let stride = codes::stride(meta);
    let mut puts = match stride {
        Some(stride) if upkeep.of_codes => work.code_puts(stride, before.has_codes, makes)?,
        Some(stride) if before.has_codes => work.without_codes(stride),
        _ => Vec::new(),
    };
    let part = Part {
        lists: work.sizes.len() as u32,
        vacant: work.sizes.iter().filter(|size| **size == NONE).count() as u32,
        trained_on: if makes { meta.items } else { before.trained_on },
        is_due: false,
        has_codes: stride.is_some() && upkeep.of_codes,
        calibration: before.calibration.filter(|_| !makes),
    };
    puts.extend(work.puts(makes)?);
    puts.sort_by_key(|(key, _)| *key);
    Ok(Some(Upkept { puts, part: part.encode() }))
}

impl<'a, 's, 't> Work<'a, 's, 't> {
    fn new(upkeep: &Upkeep<'a, 's, 't>) -> Result<Self> {
        let view = upkeep.view;
        let snapshot = view.snapshot;
        let dimensions = snapshot.meta.dimensions as usize;
        let stored = view.lists()?;
        let mut centers = Rows::new(dimensions);
        let mut sizes = Vec::new();
        if let Some(lists) = stored.as_ref().filter(|_| !upkeep.anew) {
            sizes.extend(lists.sizes());
            for list in 0..lists.part().lists {
                centers.push(&lists.components(snapshot.index, list)?);
            }
        }
        Ok(Self {
            view,
            go_on: upkeep.go_on,
            space: Space::of(snapshot.metric, &snapshot.meta),
            comparer: Comparer::new(dimensions),
            stored,
            centers,
            sizes,
            members: BTreeMap::new(),
            changed: BTreeSet::new(),
            moved: BTreeMap::new(),
            new_centers: BTreeSet::new(),
            seed: upkeep.seed,
        })
    }

    fn row(&self, slot: u32) -> Result<Vec<f32>> {
        Ok(self.space.row(self.view.query_of(Slot(slot))?.prepared().0))
    }

    fn rows(&self, slots: &[u32]) -> Result<Rows> {
        let mut rows = Rows::new(self.view.snapshot.meta.dimensions as usize);
        for slot in slots {
            rows.push(&self.row(*slot)?);
        }
        Ok(rows)
    }

    /// Makes the centers by a sample of all slots, and assigns each slot to the nearest.
    fn make(&mut self) -> Result<()> {
        let slots: Vec<u32> = self.view.slots_in_use()?.into_iter().collect();
        let count = wanted_lists(self.view.snapshot.meta.items) as usize;
        let size = slots.len().min(count.saturating_mul(ROWS_PER_LIST as usize));
        let sample: Vec<u32> = (0..size).map(|at| slots[at * slots.len() / size]).collect();
        let sample = self.rows(&sample)?;
        let are_directions = self.space.are_directions;
        self.centers = k_means(&sample, count, are_directions, self.seed, &|| (self.go_on)())?;
        drop(sample);
        let tasks: Vec<&[u32]> = slots.chunks(TASK).collect();
        let this = &*self;
        let lists = threads::map(&tasks, SEARCHES, |task| -> Result<Vec<u32>> {
            (this.go_on)()?;
            let mut buffer = Vec::new();
            let nearest = task.iter().map(|slot| -> Result<u32> {
                let row = this.row(*slot)?;
                let found = this.comparer.nearest(&row, &this.centers, |_| true, &mut buffer);
                Ok(found.map_or(0, |(list, _)| list as u32))
            });
            nearest.collect()
        })?;
        self.sizes = vec![0; self.centers.len()];
        for (slot, list) in slots.iter().zip(lists.into_iter().flatten()) {
            self.sizes[list as usize] += 1;
            self.members.entry(list).or_default().insert(*slot);
            self.moved.insert(*slot, list);
        }
        let all = 0..self.centers.len() as u32;
        // Also lists without members, whose center nobody is nearest to.
        all.clone().for_each(|list| {
            self.members.entry(list).or_default();
        });
        self.changed.extend(all.clone());
        self.new_centers.extend(all);
        Ok(())
    }

    /// Dissolves small lists and splits large ones, until there are none.
    fn balance(&mut self) -> Result<()> {
        let [least, most] = usual_sizes(self.view.snapshot.meta.items);
        let is_small = |(_, size): &(u32, &u32)| **size != NONE && **size < least;
        let small: Vec<u32> =
            (0..).zip(&self.sizes).filter(is_small).map(|(list, _)| list).collect();
        for list in small {
            (self.go_on)()?;
            // Others may have joined it meanwhile.
            if self.sizes[list as usize] < least {
                self.dissolve(list)?;
            }
        }
        // Each split adds a list of at least a few slots, so that they end.
        let bound = 2 * self.view.snapshot.meta.slots / most.max(1) + 64;
        for _ in 0..bound {
            (self.go_on)()?;
            let sizes = (0..).zip(&self.sizes).filter(|(_, size)| **size != NONE);
            let largest = sizes.max_by_key(|(list, size)| (**size, std::cmp::Reverse(*list)));
            let Some((list, size)) = largest.map(|(list, size): (u32, &u32)| (list, *size)) else {
                break;
            };
            if size <= most || self.sizes.len() >= MAX_LISTS as usize {
                break;
            }
            self.split(list)?;
        }
        Ok(())
    }

    fn members(&mut self, list: u32) -> Result<Vec<u32>> {
        if !self.members.contains_key(&list) {
            let mut slots = Vec::new();
            if let Some(stored) = &self.stored {
                self.view.list_slots(list, stored.size(list), &mut slots)?;
            }
            self.members.insert(list, slots.into_iter().collect());
        }
        Ok(self.members.get(&list).into_iter().flatten().copied().collect())
    }

    /// Moves a slot to a list, both of which have been read.
    fn move_to(&mut self, slot: u32, from: u32, to: u32) {
        for (list, is_in) in [(from, false), (to, true)] {
            let members = self.members.entry(list).or_default();
            match is_in {
                true => _ = members.insert(slot),
                false => _ = members.remove(&slot),
            }
            self.sizes[list as usize] = members.len() as u32;
            self.changed.insert(list);
        }
        self.moved.insert(slot, to);
    }

    /// Moves each slot of a list to the nearest other one, and leaves the list vacant, unless it is
    /// the only one.
    fn dissolve(&mut self, list: u32) -> Result<()> {
        let others = self.sizes.iter().filter(|size| **size != NONE).count();
        if others <= 1 {
            return Ok(());
        }
        let mut buffer = Vec::new();
        for slot in self.members(list)? {
            let row = self.row(slot)?;
            let is_other = |other: usize| other != list as usize && self.sizes[other] != NONE;
            let nearest = self.comparer.nearest(&row, &self.centers, is_other, &mut buffer);
            if let Some((to, _)) = nearest {
                self.members(to as u32)?;
                self.move_to(slot, list, to as u32);
            }
        }
        self.sizes[list as usize] = NONE;
        self.changed.insert(list);
        self.centers.set(list as usize, &vec![0.0; self.view.snapshot.meta.dimensions as usize]);
        self.new_centers.insert(list);
        Ok(())
    }

    /// Splits a list in two, and reassigns what is around it.
    fn split(&mut self, list: u32) -> Result<()> {
        let slots = self.members(list)?;
        let rows = self.rows(&slots)?;
        let old_center = self.centers.get(list as usize).to_vec();
        let [first, second] = self.halves(&rows)?;
        let center = |side: &[usize]| {
            let rows_of = side.iter().map(|row| rows.get(*row));
            mean(rows_of, old_center.len(), self.space.are_directions)
        };
        let [a, b] =
            [&first[..], &second[..]].map(|side| center(side).unwrap_or(old_center.clone()));
        let new = match self.sizes.iter().position(|size| *size == NONE) {
            Some(vacant) => vacant as u32,
            None => {
                self.sizes.push(0);
                self.centers.push(&b);
                self.sizes.len() as u32 - 1
            }
        };
        self.members.insert(new, BTreeSet::new());
        self.sizes[new as usize] = 0;
        self.centers.set(list as usize, &a);
        self.centers.set(new as usize, &b);
        self.new_centers.extend([list, new]);
        for row in second {
            self.move_to(slots[row], list, new);
        }
        self.reassign(&old_center, [list, new])
    }

    /// The rows of each half of a list: by 2-means, but none of them tiny.
    fn halves(&self, rows: &Rows) -> Result<[Vec<usize>; 2]> {
        let step = rows.len().div_ceil(SPLIT_SAMPLE);
        let mut sample = Rows::new(self.view.snapshot.meta.dimensions as usize);
        (0..rows.len()).step_by(step.max(1)).for_each(|row| sample.push(rows.get(row)));
        let seed = self.seed ^ self.sizes.len() as u64;
        let two = k_means(&sample, 2, self.space.are_directions, seed, &|| (self.go_on)())?;
        let mut order: Vec<(f32, usize)> = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let distance = |center: usize| self.comparer.distance(rows.get(row), two.get(center));
            let nearer = if two.len() == 2 { distance(0) - distance(1) } else { 0.0 };
            order.push((nearer, row));
        }
        order.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(x.cmp(y)));
        // Equal rows, which no center can tell apart, are halved.
        let is_alike = order.first().map(|(a, _)| *a) == order.last().map(|(a, _)| *a);
        let natural = order.iter().filter(|(nearer, _)| *nearer <= 0.0).count();
        let cut = if is_alike { rows.len() / 2 } else { natural };
        let least = rows.len() / LEAST_PART;
        let cut = cut.clamp(least, rows.len() - least);
        let (first, second) = order.split_at(cut);
        Ok([first, second].map(|side| side.iter().map(|(_, row)| *row).collect()))
    }

    /// Moves slots of two new lists, and of those around them, to the nearest of their centers.
    fn reassign(&mut self, old_center: &[f32], new: [u32; 2]) -> Result<()> {
        let mut distances = Vec::new();
        self.comparer.distances(old_center, &self.centers, &mut distances);
        let is_other = |list: &u32| !new.contains(list) && self.sizes[*list as usize] != NONE;
        let mut around: Vec<u32> = (0..self.sizes.len() as u32).filter(is_other).collect();
        around.sort_by(|a, b| distances[*a as usize].total_cmp(&distances[*b as usize]));
        around.truncate(NEIGHBORS);
        for from in new.into_iter().chain(around.iter().copied()) {
            // A slot of a neighbor can only have come nearer to a new center.
            let others: Vec<u32> = match new.contains(&from) {
                true => new.iter().chain(&around).copied().filter(|to| *to != from).collect(),
                false => new.to_vec(),
            };
            for slot in self.members(from)? {
                let row = self.row(slot)?;
                let to = |list: u32| {
                    (self.comparer.distance(&row, self.centers.get(list as usize)), list)
                };
                let own = to(from).0;
                let nearest = others.iter().map(|list| to(*list));
                let nearest = nearest.min_by(|(a, x), (b, y)| a.total_cmp(b).then(x.cmp(y)));
                if let Some((_, to)) = nearest.filter(|(distance, _)| *distance < own) {
                    self.members(to)?;
                    self.move_to(slot, from, to);
                }
            }
        }
        Ok(())
    }

    /// The blocks of codes of the lists that have changed, or of all, if the lists are new or had
    /// no codes.
    fn code_puts(&mut self, stride: usize, had_codes: bool, makes: bool) -> Result<Vec<Put>> {
        let view = self.view;
        let lists: Vec<u32> = match had_codes && !makes {
            true => self.changed.iter().copied().collect(),
            false => (0..self.sizes.len() as u32).collect(),
        };
        // Of earlier lists there may have been more.
        let earlier = self.stored.as_ref().filter(|_| had_codes);
        let earlier = earlier.map_or(0, |lists| lists.part().lists);
        let mut puts = Vec::new();
        for list in lists.into_iter().chain(self.sizes.len() as u32..earlier) {
            (self.go_on)()?;
            let mut entries = Entries::new(stride);
            if (list as usize) < self.sizes.len() {
                for slot in self.members(list)? {
                    let code = view.code_of(Slot(slot))?;
                    let lacking = Error::corrupt(Key::meta(view.snapshot.index), "it has no codes");
                    entries.push(slot, code.ok_or(lacking)?);
                }
            }
            let before = self.stored.as_ref().filter(|_| had_codes);
            let before = before.map_or(0, |lists| lists.size(list));
            puts.extend(codes::packed(view.snapshot.index, list, before, &entries, stride));
        }
        Ok(puts)
    }

    /// The puts that delete the codes of all lists.
    fn without_codes(&self, stride: usize) -> Vec<Put> {
        let (index, none) = (self.view.snapshot.index, Entries::new(stride));
        let Some(lists) = &self.stored else { return Vec::new() };
        let puts = |list| codes::packed(index, list, lists.size(list), &none, stride);
        lists.all().flat_map(puts).collect()
    }

    /// The values that have changed; all, if the lists are new.
    fn puts(self, makes: bool) -> Result<Vec<Put>> {
        let index = self.view.snapshot.index;
        let read = |key: Key| -> Result<Option<Vec<u8>>> {
            Ok(self.view.source.get(key)?.map(|value| unverified(value).to_vec()))
        };
        let stored = Stored { index, read: &read };
        let mut puts = self.center_puts(makes);
        let size_before = |list| self.stored.as_ref().map_or(0, |lists| lists.size(list));
        for list in &self.changed {
            let members = self.members.get(list).into_iter().flatten();
            let slots: Vec<u32> = members.copied().collect();
            puts.extend(list_puts(index, *list, size_before(*list), &slots));
        }
        let (mut of_slots, mut sizes) = (Groups::new(stored, SLOTS), Groups::new(stored, SIZES));
        for (slot, list) in &self.moved {
            of_slots.set(*slot, *list)?;
        }
        for (list, size) in (0..).zip(&self.sizes) {
            sizes.set(list, *size)?;
        }
        // Of earlier lists there may have been more.
        let earlier = self.stored.as_ref().map_or(0, |lists| lists.part().lists);
        for list in self.sizes.len() as u32..earlier {
            puts.extend(list_puts(index, list, size_before(list), &[]));
            sizes.set(list, NONE)?;
        }
        puts.extend(of_slots.into_puts());
        puts.extend(sizes.into_puts());
        Ok(puts)
    }

    fn center_puts(&self, makes: bool) -> Vec<Put> {
        let meta = &self.view.snapshot.meta;
        let (geometry, mut puts) = (geometry(meta.dimensions), Vec::new());
        let changed: BTreeSet<u32> =
            self.new_centers.iter().map(|list| geometry.place(Slot(*list)).0 as u32).collect();
        for block in &changed {
            let mut body = geometry.new_block(*block);
            let first = block * geometry.vectors;
            let lists = first..(first + geometry.vectors).min(self.sizes.len() as u32);
            for (place, list) in lists.enumerate() {
                let center: &[u8] = bytemuck::cast_slice(self.centers.get(list as usize));
                geometry.put_value(&mut body, place, center);
            }
            puts.push((self.view.key(Kind::IVF, CENTERS, *block), Some(body)));
        }
        if let Some(stored) = self.stored.as_ref().filter(|_| makes) {
            let blocks = stored.center_blocks().count() as u32;
            let left = (0..blocks).filter(|block| !changed.contains(block));
            puts.extend(left.map(|block| (self.view.key(Kind::IVF, CENTERS, block), None)));
        }
        puts
    }
}
