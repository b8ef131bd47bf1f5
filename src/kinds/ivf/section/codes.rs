//! The codes of the lists: those of the index, of the slots of a list one after the other, so that
//! a search reads them in sequence (`kinds/ivf/format/list_codes`).
//!
//! Lists have codes whenever all codes of the index are of one training: builds pack them
//! (`upkeep`), and edits change the blocks that they touch. What replaces the codes of an index
//! deletes these, and the next build packs them anew.

use std::collections::{BTreeMap, BTreeSet};

use super::stored::Stored;
use crate::codes::{Coder, Scratch};
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::kinds::ivf::format::list_codes::{Entries, block_entries, blocks};
use crate::kinds::ivf::format::{CODES, list_n};
use crate::store::address::Address;
use crate::store::sections::codes::newest_coder;
use crate::store::target::{Put, Target};
use crate::types::Slot;

/// The length of the codes that lists can have; `None` if they can have none now.
pub(super) fn stride(meta: &Meta) -> Option<usize> {
    let geometry = meta.code_geometry().filter(|_| !meta.training.has_older());
    geometry.map(|geometry| geometry.stride)
}

/// The keys of all blocks of codes.
pub(super) fn all_keys(index: u16) -> [Key; 2] {
    [0, u32::MAX].map(|n| Key::new(index, Kind::IVF, CODES, n))
}

/// The codes of the slots that an edit has stored since it last changed the lists.
pub(super) struct NewCodes {
    pub(super) stride: usize,
    /// Read from disk when the first vector is encoded.
    coder: Option<Coder>,
    scratch: Scratch,
    codes: BTreeMap<u32, Vec<u8>>,
}

impl NewCodes {
    pub(super) fn new(stride: usize) -> Self {
        Self { stride, coder: None, scratch: Scratch::default(), codes: BTreeMap::new() }
    }

    /// Encodes the vector of a slot.
    pub(super) fn store(
        &mut self,
        target: &Target<'_, '_, '_>,
        meta: &Meta,
        slot: Slot,
        vector: Address<'_>,
    ) -> Result<()> {
        if self.coder.is_none() {
            self.coder = newest_coder(target.place, target.wtxn, meta)?;
        }
        let lacking = Error::corrupt(Key::meta(target.place.index), "its lists have codes alone");
        let coder = self.coder.as_ref().ok_or(lacking)?;
        let mut code = Vec::with_capacity(self.stride);
        coder.encode(vector.bytes, vector.factor, &mut self.scratch, &mut code);
        self.codes.insert(slot.0, code);
        Ok(())
    }

    pub(super) fn release(&mut self, slot: Slot) {
        self.codes.remove(&slot.0);
    }

    pub(super) fn has(&self, slot: u32) -> bool {
        self.codes.contains_key(&slot)
    }

    pub(super) fn bytes(&self) -> usize {
        self.codes.len() * self.stride
    }

    pub(super) fn clear(&mut self) {
        self.codes.clear();
    }
}

/// The slots that leave a list, those that join it, and those that stay in it with another code.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) gone: BTreeSet<u32>,
    pub(super) come: BTreeSet<u32>,
    pub(super) kept: BTreeSet<u32>,
}

/// The puts of the blocks of a list of `size` slots that change. Where slots only come, one block
/// is read.
pub(super) fn changed_blocks(
    stored: Stored<'_>,
    new: &NewCodes,
    (list, size): (u32, u32),
    change: &Change,
) -> Result<Vec<Put>> {
    let (stride, before) = (new.stride, size as usize);
    let key = |block: u32| Key::new(stored.index, Kind::IVF, CODES, list_n(list, block));
    let after = (before + change.come.len()).saturating_sub(change.gone.len());
    let per_block = block_entries(stride, after);
    let appends = change.gone.is_empty()
        && change.kept.is_empty()
        && per_block == block_entries(stride, before);
    let first = if appends { (before / per_block) as u32 } else { 0 };
    let (mut entries, mut old) = (Entries::new(stride), Vec::new());
    for block in first..blocks(stride, before) {
        let (key, body) = stored.body(CODES, list_n(list, block))?;
        entries.append(&body).map_err(|what| Error::corrupt(key, what))?;
        old.push(body);
    }
    if entries.slots.len() + first as usize * per_block != before {
        let what = "the codes of the list are not as many as its slots";
        return Err(Error::corrupt(key(first), what));
    }
    let code = |slot: &u32| -> Result<&[u8]> {
        let code = new.codes.get(slot).map(Vec::as_slice);
        code.ok_or(Error::corrupt(key(0), "a slot comes to the list without a code"))
    };
    entries.change(|slot| match change.gone.contains(&slot) {
        true => Some(None),
        false if change.kept.contains(&slot) => new.codes.get(&slot).map(|code| Some(&code[..])),
        false => None,
    });
    for slot in &change.come {
        entries.push(*slot, code(slot)?);
    }
    let bodies: Vec<Vec<u8>> = entries.bodies(per_block).collect();
    let left = (bodies.len()..old.len()).map(|nth| (key(first + nth as u32), None));
    let mut puts: Vec<Put> = left.collect();
    for (nth, body) in bodies.into_iter().enumerate() {
        if old.get(nth) != Some(&body) {
            puts.push((key(first + nth as u32), Some(body)));
        }
    }
    Ok(puts)
}

/// The puts that pack the codes of a list that had `before` slots with codes: `entries` has all.
pub(super) fn packed(
    index: u16,
    list: u32,
    before: u32,
    entries: &Entries,
    stride: usize,
) -> Vec<Put> {
    let key = |block: u32| Key::new(index, Kind::IVF, CODES, list_n(list, block));
    let bodies = entries.bodies(block_entries(stride, entries.slots.len()));
    let mut puts: Vec<Put> =
        (0..).zip(bodies).map(|(block, body)| (key(block), Some(body))).collect();
    let left = puts.len() as u32..blocks(stride, before as usize).max(puts.len() as u32);
    puts.extend(left.map(|block| (key(block), None)));
    puts
}
