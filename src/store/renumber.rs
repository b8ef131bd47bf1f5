//! Renumbering: gives every item another slot, for `optimize`.
//!
//! All values that refer to slots are first computed from the graph of a build, and then written in
//! place of the old ones. The vectors, which may not fit in memory, are spooled to a temporary file
//! meanwhile. O(items).
//!
//! Writing cannot be undone, so nothing may stop it after the first delete. A panic of the progress
//! callback is caught and resumed at the end. The temporary file is read once before the first
//! delete, so that only LMDB, or a file that becomes unreadable in between, can stop it half-way.

#[cfg(test)]
#[path = "../../tests/unit/norms.rs"]
mod norms;

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use super::GoOn;
use super::edit::Edit;
use super::sections::codes::encoded::Encoded;
use super::sections::list::SECTIONS;
use super::sections::relabel::{NONE, Numbers, Relabel, Relabelled};
use super::snapshot::Snapshot;
use super::source::AnySource;
use super::spool::Spool;
use super::target::Put;
use super::view::View;
use crate::error::Result;
use crate::format::meta::Training;
use crate::format::{Key, Kind};
use crate::graph::working::Working;
use crate::threads;
use crate::types::{Layer, Slot};

/// Bytes of spooled vectors that are kept in memory instead of on disk.
const SPOOL_BYTES: usize = 64 << 20;
/// The spooled vectors with their factors in the new order, and their old slots.
pub(crate) struct Spooled {
    order: Vec<Slot>,
    vectors: Spool,
    /// An upper bound of their norms; 0 if the metric needs none.
    norm_bound: f32,
}

/// A whole renumbered index, ready to be written.
pub(crate) struct Renumbered {
    /// All values but META and vectors, in key order.
    puts: Vec<Put>,
    /// The kinds of these values. All other values of these kinds are deleted.
    replaced: Vec<Kind>,
    /// What META says of the codes among them. `None` if there are none.
    training: Option<Training>,
    /// Vectors and their factors, by new slot.
    vectors: Spool,
    norm_bound: f32,
    slots: u32,
    next_rank: u32,
    roots: Vec<Slot>,
}

/// Renumbers the index with the graph `working`: its slots get the order of the spooled vectors.
/// Codes are included if `encoded` has them. Nothing is written; `go_on` is called for every node.
pub(crate) fn renumber<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    working: &Working<'_>,
    Spooled { order, vectors, norm_bound }: Spooled,
    encoded: Option<Encoded>,
    go_on: &GoOn<'_>,
) -> Result<Renumbered> {
    let order = order.as_slice();
    let slots = view.snapshot.meta.slots as usize;
    let mut numbers = Numbers { new: vec![NONE; slots], ranks: vec![NONE; slots] };
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
    let training = encoded.as_ref().map(Encoded::training);
    let encoded = Cell::new(encoded);
    let relabel = Relabel { view, working, order, numbers, encoded, go_on };
    let (mut puts, mut replaced) = (Vec::new(), Vec::new());
    for section in SECTIONS {
        match section.relabel(&relabel)? {
            Relabelled::Unchanged | Relabelled::Spooled => {}
            Relabelled::Puts(values) => {
                replaced.extend(section.kinds());
                puts.extend(values);
            }
        }
    }
    let roots = working.roots.iter().map(|root| relabel.numbers.of(*root)).collect();
    threads::sort_by_key(&mut puts, |(key, _)| *key);
    Ok(Renumbered {
        puts,
        replaced,
        training,
        vectors,
        norm_bound,
        slots: order.len() as u32,
        next_rank: order.len() as u32,
        roots,
    })
}

/// Spools the vectors in an order: to a temporary file in `folder`, if there are many.
///
/// # Errors
/// Those of the file system, and [`Error::Corrupt`].
pub(crate) fn spool<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    order: Vec<Slot>,
    folder: Option<&Path>,
    go_on: &GoOn<'_>,
) -> Result<Spooled> {
    let (mut vectors, mut norm_bound) = (Spool::new(SPOOL_BYTES, folder), 0f32);
    let Snapshot { metric, meta, .. } = view.snapshot;
    for slot in &order {
        go_on()?;
        let vector = view.vector(*slot)?;
        vectors.write(vector.bytes)?;
        if let Some(norm) = metric.norm_bound(vector.bytes, meta.scale) {
            norm_bound = norm_bound.max(norm);
        }
        if metric.has_factor {
            vectors.write(&vector.factor.to_le_bytes())?;
        }
    }
    Ok(Spooled { order, vectors, norm_bound })
}

impl Renumbered {
    /// Replaces all values of the index. `report` is called with the number of values done and the
    /// total.
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
        // Blocks are overwritten in place: if the transaction has added the vectors itself, the
        // file does not grow.
        edit.delete_over(bound(Kind::VECTORS, 0, sealed), bound(Kind::TAIL, 0, u32::MAX))?;
        for kind in self.replaced {
            let (first, last) = Key::all_of(index, kind);
            edit.delete_over(first, last)?;
        }
        for block in 0..sealed {
            let mut body = geometry.new_block(block);
            for in_block in 0..geometry.vectors as usize {
                vectors.read_exact(&mut bytes)?;
                geometry.put_value(&mut body, in_block, &bytes);
            }
            edit.put_over(bound(Kind::VECTORS, 0, block), Some(body))?;
            told.tell(u64::from(block) + 1, total);
        }
        for slot in sealed * geometry.vectors..self.slots {
            vectors.read_exact(&mut bytes)?;
            edit.put_over(bound(Kind::TAIL, 0, slot), Some(bytes.clone()))?;
        }
        for (done, (key, body)) in (u64::from(sealed) + 1..).zip(self.puts) {
            edit.put_over(key, body)?;
            told.tell(done, total);
        }
        // Those values have been deleted.
        edit.forget_made_of_codes();
        let meta = &mut edit.meta;
        (meta.slots, meta.sealed, meta.items) = (self.slots, sealed, self.slots);
        (meta.pending, meta.removed, meta.free, meta.reuse_from) = (0, 0, 0, 0);
        (meta.next_rank, meta.roots) = (self.next_rank, self.roots);
        // Old codes refer to old slots, and to a center that the vectors may have left.
        meta.norm_bound = self.norm_bound;
        meta.is_coded = self.training.is_some();
        meta.training = self.training.unwrap_or_default();
        edit.finish()?;
        told.panic.map_or(Ok(()), |panic| resume_unwind(panic))
    }
}

/// The progress callback, which is not called again once it has panicked.
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
