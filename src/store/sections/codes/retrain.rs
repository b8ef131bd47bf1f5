//! Training again, by itself: when the index has doubled, or its new vectors lie elsewhere.
//!
//! The codes are judged when the number of items has doubled since they were trained, and when the
//! vectors added since then are farther from the center than those of the training: both are
//! counts in META, so that the same changes give the same index. If a new center is enough nearer
//! to the vectors, it is the next *generation* of the training. The tail is encoded with it at
//! once, the blocks follow a few with every build; until the last one has, two generations coexist
//! (`coders.rs`). So a commit recodes O(what it adds), 4 blocks at least.

use roaring::RoaringBitmap;

use super::coders::{coder, trained_key};
use super::encoded::train;
use super::{BLOCK, SINGLE};
use crate::codes::{Coder, Scratch};
use crate::error::Result;
use crate::format::codes::Trained;
use crate::format::meta::{Meta, Training};
use crate::format::set::SetKind;
use crate::store::GoOn;
use crate::store::source::AnySource;
use crate::store::target::Put;
use crate::store::view::View;
use crate::types::Slot;

/// Minimum number of codes made since the training before their distances from the center are
/// judged. Also at least 1 in [`WINDOW_DIVISOR`] of the items of the training.
const MIN_WINDOW: u32 = 1024;
const WINDOW_DIVISOR: u32 = 8;
/// New vectors have moved if their mean squared distance from the center is larger than that of the
/// training by this factor.
const MOVED_FACTOR: f64 = 2.0;
/// A new training pays if its center lies this fraction of the mean squared distance away from the
/// old one: the squared error of the codes falls by as much.
const LEAST_GAIN: f64 = 0.1;
/// Minimum number of blocks that a build recodes, if so many are left.
const MIN_BLOCKS: u32 = 4;
/// A build recodes at least this many times as many vectors as it links, so that the blocks have
/// followed long before the index has doubled again.
const RECODED_PER_LINKED: u64 = 2;

/// The view of a build.
type Before<'s, 't> = View<'s, 't, AnySource<'s, 't>>;

/// Whether the training must be judged. One generation must have been replaced before the next.
pub(crate) fn is_due(meta: &Meta) -> bool {
    meta.is_coded && !meta.training.has_older() && (has_doubled(meta) || has_window(meta))
}

fn has_doubled(meta: &Meta) -> bool {
    u64::from(meta.items) >= 2 * u64::from(meta.training.items)
}

fn has_window(meta: &Meta) -> bool {
    let Training { items, added, .. } = meta.training;
    added >= MIN_WINDOW.max(items / WINDOW_DIVISOR)
}

/// Judges the training of an index with codes, if it is due. Returns what META says of it from now
/// on, and a new training if that pays. O(sample) vectors are read, O(1) unless the index has
/// doubled or moved.
pub(super) fn judge<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    slots: impl FnOnce() -> Result<RoaringBitmap>,
) -> Result<(Training, Option<Trained>)> {
    let meta = &view.snapshot.meta;
    let kept = |items| Training { items, added: 0, squares: 0.0, ..meta.training };
    let Some(trained) = view.trained()?.filter(|_| is_due(meta)) else {
        return Ok((meta.training, None));
    };
    let Training { generation, added, squares, .. } = meta.training;
    let has_moved =
        has_window(meta) && squares > MOVED_FACTOR * f64::from(trained.spread) * f64::from(added);
    if !has_doubled(meta) && !has_moved {
        return Ok((kept(meta.training.items), None));
    }
    let fresh = train(view, &slots()?, trained.seed)?;
    let shift: f64 = fresh
        .center
        .iter()
        .zip(&trained.center)
        .map(|(new, old)| f64::from(new - old).powi(2))
        .sum();
    if shift <= LEAST_GAIN * f64::from(fresh.spread) {
        return Ok((kept(meta.items), None));
    }
    let training = Training { generation: generation + 1, items: meta.items, ..Default::default() };
    Ok((training, Some(fresh)))
}

/// Judges the training, and recodes blocks that have not followed the newest: as many as hold
/// twice the `linked` vectors of the build, 4 at least. Returns what META says from now on, and the
/// values to put. Empty if there is nothing to do.
pub(crate) fn step<'t>(
    view: &Before<'_, 't>,
    linked: u64,
    go_on: &GoOn<'_>,
) -> Result<(Training, Vec<Put>)> {
    let meta = &view.snapshot.meta;
    let (Some(geometry), Some(trained)) = (meta.code_geometry(), view.trained()?) else {
        return Ok((meta.training, Vec::new()));
    };
    let (mut training, fresh) = judge(view, || view.slots_in_use())?;
    let index = view.snapshot.index;
    let coder = coder(view.snapshot.metric, index, meta, fresh.clone().unwrap_or(trained))?;
    let mut recoder = Recoder { view, coder, scratch: Scratch::default(), puts: Vec::new() };
    if let Some(fresh) = fresh {
        let sealed = meta.slots / geometry.vectors;
        training.older = [0, sealed];
        recoder.puts.push((trained_key(index, training.generation), Some(fresh.encode())));
        recoder.tail(sealed * geometry.vectors..meta.slots)?;
    }
    let [from, to] = training.older;
    let wanted = (RECODED_PER_LINKED * linked / u64::from(geometry.vectors))
        .clamp(MIN_BLOCKS.into(), u32::MAX.into()) as u32;
    let end = to.min(from.saturating_add(wanted));
    for block in from..end {
        go_on()?;
        recoder.block(block, training.generation)?;
    }
    training.older = [end, to];
    if end == to && training.generation > 0 {
        training.older = [0, 0];
        recoder.puts.push((trained_key(index, training.generation - 1), None));
    }
    Ok((training, recoder.puts))
}

/// Computes codes of the newest training.
struct Recoder<'v, 's, 't> {
    view: &'v Before<'s, 't>,
    coder: Coder,
    scratch: Scratch,
    puts: Vec<Put>,
}

impl Recoder<'_, '_, '_> {
    fn code(&mut self, slot: u32) -> Result<Vec<u8>> {
        let address = self.view.vector(Slot(slot))?;
        let mut code = Vec::new();
        self.coder.encode(address.bytes, address.factor, &mut self.scratch, &mut code);
        Ok(code)
    }

    /// The codes of a block. Those of its free slots do not matter.
    fn block(&mut self, block: u32, generation: u32) -> Result<()> {
        let Some(geometry) = self.view.snapshot.meta.code_geometry() else { return Ok(()) };
        let mut body = geometry.new_block_of(block, generation);
        for place in 0..geometry.vectors {
            let code = self.code(block * geometry.vectors + place)?;
            geometry.put_value(&mut body, place as usize, &code);
        }
        self.puts.push((self.view.key(BLOCK.0, BLOCK.1, block), Some(body)));
        Ok(())
    }

    /// The codes of the tail, in which free slots have none.
    fn tail(&mut self, slots: std::ops::Range<u32>) -> Result<()> {
        let free = self.view.set(SetKind::Free)?;
        for slot in slots.filter(|slot| !free.contains(*slot)) {
            let code = self.code(slot)?;
            self.puts.push((self.view.key(SINGLE.0, SINGLE.1, slot), Some(code)));
        }
        Ok(())
    }
}
