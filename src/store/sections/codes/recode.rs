//! Recoding: blocks of codes follow the newest training, a few with every build.
//!
//! When the training has a new generation, the tail is encoded with it at once. The blocks follow
//! from the first to the last; until the last one has, two generations coexist (`coders.rs`). So a
//! commit recodes O(what it adds), 4 blocks at least.

use std::ops::Range;

use super::coders::{coder, trained_key};
use super::training::judge;
use super::{BLOCK, SINGLE};
use crate::codes::{Coder, Scratch};
use crate::error::Result;
use crate::format::meta::Training;
use crate::format::set::SetKind;
use crate::store::GoOn;
use crate::store::source::AnySource;
use crate::store::target::Put;
use crate::store::view::View;
use crate::types::Slot;

/// Minimum number of blocks that a build recodes, if so many are left.
const MIN_BLOCKS: u32 = 4;
/// A build recodes at least this many times as many vectors as it links, so that the blocks have
/// followed long before the index has doubled again.
const RECODED_PER_LINKED: u64 = 2;

/// The view of a build.
type Before<'s, 't> = View<'s, 't, AnySource<'s, 't>>;

/// Judges the training, and recodes blocks that have not followed the newest: as many as hold
/// twice the `linked` vectors of the build, 4 at least. Returns what META says from now on, and the
/// values to put. Empty if there is nothing to do.
pub(crate) fn recode<'t>(
    view: &Before<'_, 't>,
    linked: u64,
    go_on: &GoOn<'_>,
) -> Result<(Training, Vec<Put>)> {
    let meta = &view.snapshot.meta;
    let (Some(geometry), Some(trained)) = (meta.code_geometry(), view.trained()?) else {
        return Ok((meta.training, Vec::new()));
    };
    let (mut training, fresh) = judge(view, &trained, || view.slots_in_use())?;
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
    fn tail(&mut self, slots: Range<u32>) -> Result<()> {
        let free = self.view.set(SetKind::Free)?;
        for slot in slots.filter(|slot| !free.contains(*slot)) {
            let code = self.code(slot)?;
            self.puts.push((self.view.key(SINGLE.0, SINGLE.1, slot), Some(code)));
        }
        Ok(())
    }
}
