//! Giving every item another slot: what `optimize` does.
//!
//! Everything that a slot names is computed first, from the graph of a build, and then written in
//! the place of what there was. The vectors, which may be more than memory holds, wait in a
//! temporary file meanwhile. O(items).
//!
//! Writing cannot be undone, so nothing may stop it after the first delete. A panic of the progress
//! closure is held back until the end. The temporary file is read once before the first delete, so
//! that only LMDB, or a file that becomes unreadable in between, can stop it half-way.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use roaring::RoaringBitmap;

use super::GoOn;
use super::codes::Encoded;
use super::edit::Edit;
use super::links::Before;
use super::source::AnySource;
use super::spool::Spool;
use super::target::Put;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::ids::{self, IdGroup, SLOT_GROUP};
use crate::format::links::{OneWay, Record, encode_group, encode_record};
use crate::format::{Key, Kind};
use crate::graph::locality;
use crate::graph::working::Working;
use crate::threads::{self, LISTS};
use crate::types::{ItemId, Layer, Slot};

/// Vectors that wait in memory and not on disk.
const SPOOL_BYTES: usize = 64 << 20;
/// What an entry of a map from slots is where there is no slot.
const NONE: u32 = u32::MAX;

/// Vectors and their factors in a new order, and the slots that they have been in until now.
pub(crate) struct Spooled {
    order: Vec<Slot>,
    vectors: Spool,
}

/// A whole index with other slots, ready to be written.
pub(crate) struct Renumbered {
    /// Everything but META and vectors, in key order.
    puts: Vec<Put>,
    /// Whether there are codes among them.
    is_coded: bool,
    /// Vectors and their factors, by new slot.
    vectors: Spool,
    slots: u32,
    next_rank: u32,
    roots: Vec<Slot>,
}

/// The slots of a graph by their new numbers, and back.
struct Numbers<'a> {
    /// Old slots, by new.
    order: &'a [Slot],
    /// New slots, by old.
    new: Vec<u32>,
    /// New ranks, by old slot.
    ranks: Vec<u32>,
}

impl Numbers<'_> {
    fn of(&self, slot: Slot) -> Slot {
        Slot(self.new.get(slot.index()).copied().unwrap_or(NONE))
    }

    /// New slots, ascending.
    fn of_all(&self, slots: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut slots: Vec<u32> = slots.map(|slot| self.of(Slot(slot)).0).collect();
        slots.sort_unstable();
        slots
    }
}

/// The index that `working` is the graph of, with slots in the order of the vectors that were put
/// aside, and these codes if they are known. Nothing is written; `go_on` is asked for every node.
pub(crate) fn renumber<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    working: &Working<'_>,
    Spooled { order, vectors }: Spooled,
    encoded: Option<Encoded>,
    go_on: &GoOn<'_>,
) -> Result<Renumbered> {
    let order = order.as_slice();
    let codes = encoded.map(|encoded| encoded.in_order(order).puts(view, &RoaringBitmap::new()));
    let slots = view.snapshot.meta.slots as usize;
    let mut numbers = Numbers { order, new: vec![NONE; slots], ranks: vec![NONE; slots] };
    let mut by_rank = Vec::with_capacity(order.len());
    for (new, old) in order.iter().enumerate() {
        numbers.new[old.index()] = new as u32;
        by_rank.push((
            working.rank_and_child_count(Layer(0), *old)?.map(|(rank, _)| rank),
            old.index(),
        ));
    }
    by_rank.sort_unstable();
    for (rank, (_, old)) in by_rank.into_iter().enumerate() {
        numbers.ranks[old] = rank as u32;
    }
    let mut puts = Vec::new();
    for layer in (0..working.roots.len()).map(|layer| Layer(layer as u8)) {
        puts.extend(layer_puts(view, working, &numbers, layer, go_on)?);
    }
    puts.extend(id_puts(view, order)?);
    let is_coded = codes.is_some();
    puts.extend(codes.into_iter().flatten());
    threads::sort_by_key(&mut puts, |(key, _)| *key);
    Ok(Renumbered {
        puts,
        is_coded,
        vectors,
        slots: order.len() as u32,
        next_rank: order.len() as u32,
        roots: working.roots.iter().map(|root| numbers.of(*root)).collect(),
    })
}

/// The values of a layer of the graph.
fn layer_puts(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    numbers: &Numbers<'_>,
    layer: Layer,
    go_on: &GoOn<'_>,
) -> Result<Vec<Put>> {
    let record = |new: usize| -> Result<Option<(u32, Record)>> {
        go_on()?;
        let old = numbers.order[new];
        let Some(node) = working.get(layer, old)? else { return Ok(None) };
        let neighbors = numbers.of_all(node.edges.iter().map(|edge| edge.slot));
        let children = numbers.of_all(node.children.iter().map(|child| child.0));
        let children =
            neighbors.iter().map(|neighbor| children.binary_search(neighbor).is_ok()).collect();
        let (parent, rank) = (numbers.of(node.parent), numbers.ranks[old.index()]);
        Ok(Some((
            new as u32,
            Record { neighbors, parent, rank, children, one_way: OneWay::Here(Vec::new()) },
        )))
    };
    let records = threads::map_range(numbers.order.len(), LISTS, record)?;
    let mut records: Vec<(u32, Record)> = records.into_iter().flatten().collect();
    let mut places = vec![NONE; numbers.order.len()];
    for (place, (slot, _)) in records.iter().enumerate() {
        places[*slot as usize] = place as u32;
    }
    let damaged = || {
        Error::corrupt(
            view.key(Kind::Links, layer.0, 0),
            "a list names a slot that is no node of its layer",
        )
    };
    let mut one_way: Vec<Vec<u32>> = vec![Vec::new(); records.len()];
    for (slot, record) in &records {
        for neighbor in &record.neighbors {
            let place = places.get(*neighbor as usize).map_or(NONE, |place| *place) as usize;
            let (_, back) = records.get(place).ok_or_else(damaged)?;
            if back.neighbors.binary_search(slot).is_err() {
                one_way[place].push(*slot);
            }
        }
    }
    let mut puts = Vec::new();
    for ((slot, record), one_way) in records.iter_mut().zip(one_way) {
        let (one_way, body) = OneWay::place(one_way);
        record.one_way = one_way;
        puts.extend(body.map(|body| (view.key(Kind::In, layer.0, *slot), Some(body))));
    }
    let size = view.group_size()?;
    let group = |records: &[(u32, Record)]| {
        let number = records[0].0 / size as u32;
        let mut bytes = vec![Vec::new(); size];
        for (slot, record) in records {
            encode_record(record, &mut bytes[*slot as usize % size]);
        }
        let [links, spill] = encode_group(&bytes);
        Ok::<[Put; 2], Error>(
            [(Kind::Links, links), (Kind::Spill, spill)]
                .map(|(kind, body)| (view.key(kind, layer.0, number), body)),
        )
    };
    let groups: Vec<&[(u32, Record)]> =
        records.chunk_by(|(a, _), (b, _)| *a as usize / size == *b as usize / size).collect();
    let groups = threads::map(&groups, LISTS, |records| group(records))?;
    puts.extend(groups.into_iter().flatten().filter(|(_, body)| body.is_some()));
    Ok(puts)
}

/// The two maps between items and slots.
fn id_puts(view: &Before<'_, '_>, order: &[Slot]) -> Result<Vec<Put>> {
    let items: Vec<ItemId> = order.iter().map(|slot| view.item(*slot)).collect::<Result<_>>()?;
    let groups = items.chunks(SLOT_GROUP as usize).enumerate();
    let mut puts: Vec<Put> = groups
        .map(|(number, items)| {
            (view.key(Kind::SlotIds, 0, number as u32), Some(ids::encode_slots(items)))
        })
        .collect();
    let mut items: Vec<(ItemId, Slot)> = items.into_iter().zip((0..).map(Slot)).collect();
    items.sort_unstable();
    for items in items.chunk_by(|(a, _), (b, _)| ids::id_place(*a).0 == ids::id_place(*b).0) {
        let mut group = IdGroup::default();
        for (item, slot) in items {
            group.set(ids::id_place(*item).1, Some(*slot));
        }
        puts.push((view.key(Kind::IdSlots, 0, ids::id_place(items[0].0).0), Some(group.encode())));
    }
    Ok(puts)
}

/// Puts the vectors aside in the order that the graph gives them: in a temporary file in `folder`,
/// if there are many.
///
/// # Errors
/// Those of the file system, and [`Error::Corrupt`].
pub(crate) fn spool<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    working: &Working<'_>,
    folder: Option<&Path>,
    go_on: &GoOn<'_>,
) -> Result<Spooled> {
    let order = locality::order(working)?;
    let mut vectors = Spool::new(SPOOL_BYTES, folder);
    for slot in &order {
        go_on()?;
        let vector = view.vector(*slot)?;
        vectors.write(vector.bytes)?;
        if view.snapshot.metric.has_factor {
            vectors.write(&vector.factor.to_le_bytes())?;
        }
    }
    Ok(Spooled { order, vectors })
}

impl Renumbered {
    /// Writes everything in the place of what the index holds; `report` is told how many values of
    /// how many.
    pub(crate) fn write(
        mut self,
        mut edit: Edit<'_, '_, '_>,
        report: impl Fn(u64, u64),
    ) -> Result<()> {
        let index = edit.index();
        let bound = |kind, sub, n| Key::new(index, kind, sub, n);
        let geometry = edit.meta.geometry;
        let sealed = self.slots / geometry.vectors;
        let total = self.puts.len() as u64 + u64::from(sealed);
        let mut bytes = vec![0; geometry.stride + geometry.factor];
        self.vectors.read_through(u64::from(self.slots) * bytes.len() as u64)?;
        let mut told = Told { report, panic: None };
        let mut vectors = self.vectors.read()?;
        // Blocks are written over: where the transaction has added the vectors itself, the file
        // does not grow.
        edit.delete_over(bound(Kind::Vectors, 0, sealed), bound(Kind::Sets, u8::MAX, u32::MAX))?;
        for block in 0..sealed {
            let mut body = geometry.new_block(block);
            for in_block in 0..geometry.vectors as usize {
                vectors.read_exact(&mut bytes)?;
                geometry.put_value(&mut body, in_block, &bytes);
            }
            edit.put_over(bound(Kind::Vectors, 0, block), Some(body))?;
            told.tell(u64::from(block) + 1, total);
        }
        for slot in sealed * geometry.vectors..self.slots {
            vectors.read_exact(&mut bytes)?;
            edit.put_over(bound(Kind::Tail, 0, slot), Some(bytes.clone()))?;
        }
        for (done, (key, body)) in (u64::from(sealed) + 1..).zip(self.puts) {
            edit.put_over(key, body)?;
            told.tell(done, total);
        }
        let meta = &mut edit.meta;
        (meta.slots, meta.sealed, meta.items) = (self.slots, sealed, self.slots);
        (meta.pending, meta.removed, meta.free, meta.reuse_from) = (0, 0, 0, 0);
        (meta.next_rank, meta.roots) = (self.next_rank, self.roots);
        // Older ones were of the old slots, and of a center that the vectors may have left.
        meta.is_coded = self.is_coded;
        edit.finish()?;
        told.panic.map_or(Ok(()), |panic| resume_unwind(panic))
    }
}

/// Who is told of the progress, until it panics.
struct Told<F> {
    report: F,
    panic: Option<Box<dyn Any + Send>>,
}

impl<F: Fn(u64, u64)> Told<F> {
    fn tell(&mut self, done: u64, total: u64) {
        if self.panic.is_none() {
            self.panic = catch_unwind(AssertUnwindSafe(|| (self.report)(done, total))).err();
        }
    }
}
